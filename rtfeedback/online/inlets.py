"""Open LSL streams: EEG chunks and markers as they come, with only their clocks synchronised.

liblsl is never asked to smooth stamps: its dejitter hides lost samples. Which stream to
open is not decided here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pylsl
import pylsl.util

from rtfeedback.errors import StreamError
from rtfeedback.online.description import parse
from rtfeedback.online.numeric_inlet import NumericInlet
from rtfeedback.online.receipt import Receipt
from rtfeedback.online.source import Idle, StreamLost, conversion
from rtfeedback.signals import Chunk, Marker

__all__ = ["BUFFER", "SLICE", "Idle", "LSLMarkers", "LSLStream", "StreamLost", "VisibleStream"]

ResultT = TypeVar("ResultT")

SLICE = 0.04  # s that liblsl may block between two calls of `idle`
BUFFER = 360  # s of samples that wait in liblsl; older ones are dropped
_OPENING = 10.0  # s that a stream may take to answer once found
_PULL = 1.0  # s of samples taken in one pull at most, so that none takes long


@dataclass(frozen=True)
class VisibleStream:
    """What a stream tells without being opened."""

    name: str
    type: str
    n_channels: int
    sfreq: float
    host: str
    source_id: str

    def __str__(self) -> str:
        rate = f"{self.sfreq:g} Hz" if self.sfreq else "irregular"
        return (
            f"'{self.name}' (type {self.type or 'none'}, {self.n_channels} channels, {rate},"
            f" on {self.host or 'an unknown host'}, source {self.source_id or 'none'})"
        )

    @classmethod
    def of(cls, info: Any) -> VisibleStream:
        """Return what a `pylsl.StreamInfo` tells."""
        return cls(
            name=str(info.name()),
            type=str(info.type()),
            n_channels=int(info.channel_count()),
            sfreq=float(info.nominal_srate()),
            host=str(info.hostname()),
            source_id=str(info.source_id()),
        )


class LSLStream:
    """An open EEG stream.

    Attributes
    ----------
    info : StreamInfo
    description : str
        All that the stream says of itself, as XML.
    notes : tuple of str
        What was done to read it.
    """

    def __init__(self, found: Any, *, buffer: int = BUFFER, idle: Idle = lambda: None) -> None:
        inlet, self.description = _open(found, buffer, idle)
        self.info, notes = parse(self.description)
        self._inlet: Any = NumericInlet(inlet, max(1, round(self.info.sfreq * _PULL)))
        self.notes = (*notes, *conversion(np.dtype(inlet.np_dtype).name))
        self._receipt = Receipt(time.monotonic())

    def pull(self, timeout: float, wanted: int = 1) -> Chunk | None:
        """Wait for so many samples, then take what else is there, up to 1 s of samples.

        Parameters
        ----------
        timeout : float
            Seconds to wait at most; None comes back when nothing came.
        wanted : int
            With fewer it waits for the timeout.

        Raises
        ------
        StreamLost
            The stream has ended; what then waited in liblsl is gone, and is counted there.
        """
        wanted = min(wanted, self._inlet.most)
        try:
            there = self._inlet.waiting()
            samples, stamps = self._inlet.pull(timeout, wanted)
        except pylsl.util.LostError as error:
            raise _lost(self.info.name, self._inlet.unread) from error
        received = self._receipt.date(
            time.monotonic(),
            waited=timeout,
            waiting=len(stamps) >= self._inlet.most,
            lay=there >= wanted or len(stamps) < wanted,
        )
        if not len(stamps):
            return None
        if samples.dtype == np.float32:
            return Chunk(samples, stamps, received)
        with np.errstate(over="ignore"):  # a float64 beyond float32 is infinite
            return Chunk(np.array(samples, np.float32, order="C"), stamps, received, samples)

    def close(self) -> None:
        """Leave the stream; a closed one cannot be pulled."""
        self._inlet = None


class LSLMarkers:
    """An open marker stream: strings, or numbers without a rate."""

    def __init__(self, found: Any, *, buffer: int = BUFFER, idle: Idle = lambda: None) -> None:
        self.name = str(found.name())
        self._inlet, self.description = _open(found, buffer, idle)

    def pull(self) -> list[Marker]:
        """Return the markers that have come, without waiting.

        Raises
        ------
        StreamLost
        """
        try:
            values, stamps = self._inlet.pull_chunk(0.0, as_numpy=True)
        except pylsl.util.LostError as error:
            raise _lost(self.name) from error
        rows = (tuple(map(_text, row)) for row in values)
        return [Marker.of(*pair) for pair in zip(stamps.tolist(), rows, strict=True)]

    def close(self) -> None:
        """Leave the stream; a closed one cannot be pulled."""
        self._inlet = None


def _open(found: Any, buffer: int, idle: Idle) -> tuple[Any, str]:
    """Open an inlet, so that no sample from here on is lost, and return it with its XML."""
    inlet = pylsl.StreamInlet(
        found, max_buflen=buffer, recover=False, processing_flags=pylsl.proc_clocksync
    )
    try:
        deadline = time.monotonic() + _OPENING
        description = str(_patiently(inlet.info, deadline, idle).as_xml())
        # Without a first estimate the first pull would wait for one.
        _patiently(inlet.time_correction, deadline, idle)
        _patiently(inlet.open_stream, deadline, idle)
    except pylsl.util.TimeoutError as error:
        raise StreamError(
            f"The stream '{found.name()}' does not answer",
            found=f"{VisibleStream.of(found)} is announced, and silent for {_OPENING:g} s",
            do="Restart the program that sends it",
        ) from error
    return inlet, description


def _patiently(ask: Callable[[float], ResultT], deadline: float, idle: Idle) -> ResultT:
    """Ask liblsl in short slices, with `idle` between them."""
    while True:
        idle()
        try:
            return ask(SLICE)
        except pylsl.util.TimeoutError:
            if time.monotonic() > deadline:
                raise


def _text(value: Any) -> Any:
    """Return what pylsl leaves as bytes as text; a number stays what it is."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _lost(name: str, unread: int = 0) -> StreamLost:
    gone = f"; {unread} samples that had arrived could not be read any more" if unread else ""
    return StreamLost(
        f"The stream '{name}' has ended",
        found=f"Its sender closed it, crashed or became unreachable{gone}",
        do="Restart it; a run waits for it",
    )
