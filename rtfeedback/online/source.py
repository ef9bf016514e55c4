"""Where EEG and markers come from: the seam between the line and what feeds it.

LSL, a FieldTrip buffer, a recording and memory are behind it alike. Knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rtfeedback.errors import StreamError
from rtfeedback.signals import Chunk, Marker, StreamInfo

Idle = Callable[[], object]
"""What is called while something is waited for, at least every 50 ms."""


class StreamLost(StreamError):  # noqa: N818 (it says what happened, as pylsl's LostError)
    """A stream that was there and has ended or broken off."""


class StreamOver(StreamLost):
    """A recording that has come to its end: there is nothing to wait for."""


def conversion(dtype: str) -> tuple[str, ...]:
    """Return what is to be told of values that come in another type than float32."""
    if dtype == "float32":
        return ()
    exact = dtype in ("int8", "uint8", "int16", "uint16")
    return (f"{dtype} values become float32" + ("" if exact else ", which keeps 24 bits"),)


class Stream(Protocol):
    """An open EEG stream."""

    @property
    def info(self) -> StreamInfo:
        """What the stream says of itself, with the names that its channels were given."""

    @property
    def description(self) -> str:
        """All that the stream says of itself, as LSL's XML; see `description.parse`."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to read it, each a sentence to be logged."""

    def pull(self, timeout: float, wanted: int = 1) -> Chunk | None:
        """Wait up to `timeout` seconds for `wanted` samples, and return those there are.

        Every column comes as received, auxiliary channels too. It returns within
        `timeout` whatever became of the stream.

        Raises
        ------
        StreamLost
            The stream has ended or broken off; it may be opened again.
        StreamOver
            It has come to its end for good.
        """

    def close(self) -> None:
        """Leave the stream; a closed one cannot be pulled."""


class Markers(Protocol):
    """An open marker stream."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def description(self) -> str:
        """All that the stream says of itself, as LSL's XML."""

    def pull(self) -> list[Marker]:
        """Return the markers that have come, without waiting.

        Raises
        ------
        StreamLost
        """

    def close(self) -> None:
        """Leave the stream; a closed one cannot be pulled."""


class Source(Protocol):
    """What can open one EEG stream and, where it has one, its marker stream."""

    @property
    def name(self) -> str:
        """What messages call the EEG stream."""

    @property
    def markers_name(self) -> str | None:
        """What messages call the marker stream; None where there is none."""

    def open_stream(
        self, *, timeout: float, idle: Idle, first: Callable[[], object] = lambda: None
    ) -> Stream:
        """Wait for the EEG stream, and open it.

        Parameters
        ----------
        timeout : float
            Seconds to wait for it to appear; may be infinite.
        idle : callable
            Called at least every 50 ms while waiting.
        first : callable
            Called once the stream is found and before it is opened, so that markers can be
            opened before its first sample; again if it was lost between the two.

        Raises
        ------
        StreamError
            There is none in time, or none that can be read.
        StreamOver
            It has come to its end for good.
        """

    def open_markers(self, *, timeout: float, idle: Idle) -> Markers:
        """Wait for the marker stream, and open it; see `open_stream`."""
