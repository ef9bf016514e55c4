"""Some seconds of open streams: what came, and how late; nothing is judged here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rtfeedback.online.source import Markers, Stream, StreamLost, StreamOver
from rtfeedback.signals import Chunk, Float32, Marker

PULL = 0.02  # s that a pull may wait
BACKLOG = 0.2  # s in which comes what piled up since the stream was opened
MOST = 300.0  # s of EEG that are kept: a recording comes as fast as it is read


@dataclass
class Heard:
    """What came of a stream, and of the markers beside it.

    Attributes
    ----------
    seconds : float
        For how long it was listened, by the monotonic clock.
    chunks : list of Chunk
    lags : list of float
        For each chunk but the first ones, which had to wait: seconds from its newest stamp
        to its reception, on the LSL clock.
    markers : list of Marker
    markers_ended : str
        Why the markers were not heard to the end; empty where they were.
    n_samples : int
        Of all chunks.
    ended : str
        Why the stream was not heard to the end; empty where it was.
    """

    seconds: float = 0.0
    chunks: list[Chunk] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    markers: list[Marker] = field(default_factory=list)
    markers_ended: str = ""
    n_samples: int = 0
    ended: str = ""

    @property
    def samples(self) -> Float32:
        """All samples in the stream's unit, shape (n_times, n_stream_channels)."""
        return np.concatenate([chunk.samples for chunk in self.chunks])


def listen(
    stream: Stream,
    markers: Markers | None,
    seconds: float,
    *,
    longest: float = 0.0,
    clock: Callable[[], float],
    now: Callable[[], float] = time.monotonic,
) -> Heard:
    """Take what comes for so many seconds; for longer, where markers come.

    Parameters
    ----------
    stream : Stream
    markers : Markers or None
    seconds : float
    longest : float
        Seconds to listen where any marker has come, so that they show their TR.
    clock : callable
        The LSL clock, in seconds.
    now : callable
        The monotonic clock, in seconds.
    """
    heard = Heard()
    try:
        began = now()
        while heard.seconds < (max(seconds, longest) if heard.markers else seconds):
            chunk = stream.pull(PULL)
            if chunk is not None:
                heard.chunks.append(chunk)
                heard.n_samples += len(chunk.stamps)
                if heard.seconds > BACKLOG and math.isfinite(chunk.stamps[-1]):
                    heard.lags.append(clock() - float(chunk.stamps[-1]))
            if markers is not None and not heard.markers_ended:
                _hear_markers(markers, heard)
            heard.seconds = now() - began
            if heard.n_samples > MOST * stream.info.sfreq:
                break
    except StreamOver:
        pass  # a recording: all of it was heard
    except StreamLost as error:
        heard.ended = error.wrong
    return heard


def _hear_markers(markers: Markers, heard: Heard) -> None:
    try:
        heard.markers += markers.pull()
    except StreamLost as error:
        heard.markers_ended = error.wrong
