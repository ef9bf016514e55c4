"""Samples in memory as a stream: as fast as they are pulled, the same each time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from rtfeedback.online.description import compose, compose_markers
from rtfeedback.online.source import Idle, StreamOver
from rtfeedback.signals import Chunk, Float64, Marker, StreamInfo

CHUNK = 0.04  # s of samples in a chunk, as amplifiers send them


class MemorySource:
    """A stream, and markers, of samples that are there already.

    It can be opened again until its samples are over, and then goes on where it was.

    Parameters
    ----------
    info : StreamInfo
        What the stream says of itself.
    samples : array_like, shape (n_times, n_channels)
        As they would be on the wire, in the units that `info` states.
    stamps : array_like, shape (n_times,), optional
        On the LSL clock, in seconds; without them sample k is at k / sfreq.
    markers : sequence of Marker
        On the same clock. Those whose stamp is no number are left out, and noted.
    chunk : int, optional
        Samples in a chunk; without it, 40 ms of them.
    markers_name : str, optional
        What messages call the marker stream; without it there is one if there are markers.
    notes : sequence of str
        What was done to get at the samples.

    Raises
    ------
    ValueError
        Samples, stamps and channels do not go together.
    """

    def __init__(
        self,
        info: StreamInfo,
        samples: ArrayLike,
        *,
        stamps: ArrayLike | None = None,
        markers: Sequence[Marker] = (),
        chunk: int | None = None,
        markers_name: str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        timed = [marker for marker in markers if math.isfinite(marker.stamp)]
        self.info = info
        self.notes = (*notes, *_left_out(len(markers) - len(timed)))
        self.samples = np.ascontiguousarray(samples, np.float32)
        self.stamps = _stamps(info, len(self.samples), stamps)
        self.chunk = chunk or max(1, round(CHUNK * info.sfreq))
        self.markers = sorted(timed, key=lambda marker: marker.stamp)
        self.markers_name = markers_name or (f"{info.name}-markers" if markers else None)
        self._next = 0  # the first sample that was not pulled yet
        if self.samples.shape != (len(self.stamps), len(info.channels)) or self.chunk < 1:
            raise ValueError(
                f"{self.samples.shape} samples in chunks of {self.chunk} do not go with"
                f" {len(self.stamps)} stamps and {len(info.channels)} channels"
            )

    @property
    def name(self) -> str:
        """What messages call the EEG stream."""
        return self.info.name

    def open_stream(
        self, *, timeout: float, idle: Idle, first: Callable[[], object] = lambda: None
    ) -> MemoryStream:
        """Open the stream where it was left; see `source.Source`."""
        if not self.left:
            raise self.over()
        idle()
        first()
        return MemoryStream(self)

    def open_markers(self, *, timeout: float, idle: Idle) -> MemoryMarkers:
        """Open the markers from the first on; see `source.Source`."""
        if self.markers_name is None:
            raise ValueError("there are no markers")
        idle()
        return MemoryMarkers(self, self.markers_name)

    @property
    def left(self) -> int:
        """Samples that were not pulled yet."""
        return len(self.samples) - self._next

    def take(self) -> Chunk:
        """Return the next chunk."""
        first, self._next = self._next, min(self._next + self.chunk, len(self.samples))
        samples, stamps = self.samples[first : self._next], self.stamps[first : self._next]
        return Chunk(samples, stamps, time.monotonic())

    def horizon(self) -> float:
        """Return the stamp up to which markers have come: that of the next chunk's end."""
        upcoming = self._next + self.chunk
        return float(self.stamps[upcoming - 1]) if upcoming < len(self.stamps) else np.inf

    def over(self) -> StreamOver:
        """Return what says that there is no more."""
        return StreamOver(
            f"'{self.name}' is over",
            found=f"All of its {len(self.samples)} samples were read",
            do="Give another recording, or a live stream",
        )


class MemoryStream:
    """The open stream of a `MemorySource`."""

    def __init__(self, source: MemorySource) -> None:
        self.info, self.notes = source.info, source.notes
        self.description = compose(source.info)
        self._source = source

    def pull(self, timeout: float, wanted: int = 1) -> Chunk | None:
        """Return the next chunk, at once.

        Raises
        ------
        StreamOver
            There is none.
        """
        if not self._source.left:
            raise self._source.over()
        return self._source.take()

    def close(self) -> None:
        """Leave the stream."""


class MemoryMarkers:
    """The open markers of a `MemorySource`, each before the chunk that holds its sample."""

    def __init__(self, source: MemorySource, name: str) -> None:
        self.name, self.description = name, compose_markers(name)
        self._source, self._told = source, 0

    def pull(self) -> list[Marker]:
        """Return the markers up to the end of the chunk that is pulled next."""
        horizon, markers, first = self._source.horizon(), self._source.markers, self._told
        while self._told < len(markers) and markers[self._told].stamp <= horizon:
            self._told += 1
        return markers[first : self._told]

    def close(self) -> None:
        """Leave the stream."""


def _left_out(n: int) -> tuple[str, ...]:
    return (f"markers without a time are left out: {n}",) if n else ()


def _stamps(info: StreamInfo, n_times: int, stamps: ArrayLike | None) -> Float64:
    if stamps is None:
        return np.arange(n_times) / info.sfreq
    return np.array(stamps, np.float64)
