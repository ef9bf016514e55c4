"""What an XDF file is made of: its kinds of chunks, and its types of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from rtfeedback.signals import Float64

MAGIC = b"XDF:"
BOUNDARY = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")
FILE_HEADER, STREAM_HEADER, SAMPLES, CLOCK_OFFSET, BOUNDARY_TAG, STREAM_FOOTER = range(1, 7)
# By what a header calls them; a stream of `string` has none.
DTYPES: dict[str, np.dtype[Any]] = {
    "int8": np.dtype("<i1"),
    "int16": np.dtype("<i2"),
    "int32": np.dtype("<i4"),
    "float32": np.dtype("<f4"),
    "int64": np.dtype("<i8"),
    "double64": np.dtype("<f8"),
}


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What the file says of itself."""

    xml: str


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """What a stream says of itself; `stream` is by what its other chunks name it."""

    stream: int
    xml: str
    n_channels: int
    channel_format: str
    sfreq: float


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Samples that were written together.

    Attributes
    ----------
    stream : int
    stamps : float64, shape (n_times,)
        In seconds, on the clock of the stream.
    values : array, shape (n_times, n_channels)
        C-contiguous, in the stream's own format; of `str` objects for strings.
    """

    stream: int
    stamps: Float64
    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """What takes a stream's clock to the recorder's, in seconds, measured at `time`."""

    stream: int
    time: float
    value: float


@dataclass(frozen=True, slots=True)
class Boundary:
    """A mark by which readers of a damaged file find the next chunk."""


@dataclass(frozen=True, slots=True)
class StreamFooter:
    """What was said of a stream when it ended."""

    stream: int
    xml: str


XDFChunk = FileHeader | StreamHeader | Samples | ClockOffset | Boundary | StreamFooter


def row_dtype(channel_format: str, n_channels: int) -> np.dtype[np.void]:
    """Return how a sample with a stamp of its own lies in a file: size, stamp, values."""
    values = (DTYPES[channel_format], (n_channels,))
    return np.dtype([("size", "u1"), ("stamp", "<f8"), ("values", *values)])


def parse_info(xml: str) -> ElementTree.Element:
    """Parse what a stream says of itself.

    Raises
    ------
    ValueError
        It is no XML, or one that declares a document type, which can grow without bound.
    """
    if "<!DOCTYPE" in xml:
        raise ValueError("its XML declares a document type")
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        row = xml.split("\n")[error.position[0] - 1 :][:1]
        line = repr("".join(row).strip()[:80])  # so that it can be printed
        raise ValueError(f"its XML is broken ({error}): {line}") from error
