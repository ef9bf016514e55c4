"""The bytes of an XDF file, chunk by chunk.

Each numeric sample carries a stamp of its own, so that what is read is what was
received, whatever a reader makes of a nominal rate.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from rtfeedback.signals import Float64
from rtfeedback.xdf.chunks import (
    BOUNDARY,
    BOUNDARY_TAG,
    DTYPES,
    FILE_HEADER,
    MAGIC,
    SAMPLES,
    STREAM_FOOTER,
    STREAM_HEADER,
    StreamHeader,
    parse_info,
    row_dtype,
)

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NEEDED = ("name", "channel_count", "nominal_srate", "channel_format")
_row = lru_cache(row_dtype)


def file_header() -> bytes:
    """Return what a file begins with."""
    now = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
    xml = f"<info><version>1.0</version><datetime>{now}</datetime></info>"
    return MAGIC + _chunk(FILE_HEADER, xml.encode())


def stream_header(header: StreamHeader) -> bytes:
    """Return the header of a stream, which comes before its samples; see `described`."""
    return _chunk(STREAM_HEADER, struct.pack("<I", header.stream), header.xml.encode())


def numbers(stream: int, stamps: Float64, values: NDArray[np.generic]) -> bytes:
    """Return numeric samples, each with its own stamp.

    Parameters
    ----------
    stream : int
    stamps : float64, shape (n_times,)
        In seconds.
    values : array, shape (n_times, n_channels)
        Of the dtype that the stream's header states.

    Raises
    ------
    ValueError
        Stamps and values do not go together, or XDF has no such dtype.
    """
    if values.ndim != 2 or stamps.shape != values.shape[:1]:
        raise ValueError(f"{values.shape} values do not go with {stamps.shape} stamps")
    rows = np.empty(len(values), _row(_name(values.dtype), values.shape[1]))
    rows["size"], rows["stamp"], rows["values"] = 8, stamps, values
    return _chunk(SAMPLES, struct.pack("<IBI", stream, 4, len(rows)), rows.view(np.uint8).data)


def texts(stream: int, stamps: Sequence[float], values: Sequence[Sequence[str]]) -> bytes:
    r"""Return samples of strings, in UTF-8; what that cannot hold becomes `\udc80`.

    Parameters
    ----------
    stream : int
    stamps : sequence of float, length n_times
        In seconds.
    values : sequence of sequence of str, shape (n_times, n_channels)
    """
    parts = [struct.pack("<IBI", stream, 4, len(stamps))]
    for stamp, row in zip(stamps, values, strict=True):
        parts.append(struct.pack("<Bd", 8, stamp))
        for value in row:
            raw = value.encode("utf-8", "backslashreplace")
            parts += [_length(len(raw)), raw]
    return _chunk(SAMPLES, *parts)


def boundary() -> bytes:
    """Return the mark by which readers of a damaged file find the next chunk."""
    return _chunk(BOUNDARY_TAG, BOUNDARY)


def stream_footer(stream: int, first: float, last: float, count: int) -> bytes:
    """Return what ends a stream: its first and last stamp, and its number of samples."""
    xml = (
        f"<info><writer>rtfeedback</writer><first_timestamp>{first!r}</first_timestamp>"
        f"<last_timestamp>{last!r}</last_timestamp><sample_count>{count}</sample_count></info>"
    )
    return _chunk(STREAM_FOOTER, struct.pack("<I", stream), xml.encode())


def described(stream: int, xml: str) -> StreamHeader:
    """Return what a stream says of itself as a file can hold it.

    Its XML is changed only where XDF or its readers need it: one stream's bad name would
    make the whole file unreadable. One that states no format is a stream of one text a
    sample.

    Parameters
    ----------
    stream : int
        By what its other chunks name it.
    xml : str
        An `info`, as LSL's.
    """
    xml = _NO_XML.sub("\ufffd", xml)
    try:
        root = parse_info(xml)
    except ValueError:
        root = parse_info("<info><name>unreadable</name></info>")
    said = {key: (root.findtext(key) or "").strip() for key in _NEEDED}
    needed = _needed(**said)
    if needed != said:
        for key, text in needed.items():
            node = root.find(key)
            (ElementTree.SubElement(root, key) if node is None else node).text = text
        xml = ElementTree.tostring(root, encoding="unicode")
    return StreamHeader(
        stream,
        xml,
        n_channels=int(needed["channel_count"]),
        channel_format=needed["channel_format"],
        sfreq=float(needed["nominal_srate"]),
    )


def _needed(
    name: str, channel_count: str, nominal_srate: str, channel_format: str
) -> dict[str, str]:
    """Return what every reader needs of what a stream says."""
    counted = channel_count.isdecimal() and int(channel_count) > 0
    stated = counted and channel_format in (*DTYPES, "string")
    return {
        "name": name or "unnamed",
        "channel_count": channel_count if stated else "1",
        "nominal_srate": nominal_srate if _number(nominal_srate) >= 0 else "0",
        "channel_format": channel_format if stated else "string",
    }


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


def _name(dtype: np.dtype[np.generic]) -> str:
    for name, wire in DTYPES.items():
        if dtype.newbyteorder("<") == wire:
            return name
    raise ValueError(f"XDF has no format for {dtype}")


def _chunk(tag: int, *parts: bytes | memoryview) -> bytes:
    n_bytes = 2 + sum(map(len, parts))
    content: Iterable[bytes | memoryview] = (struct.pack("<H", tag), *parts)
    return b"".join((_length(n_bytes), *content))


def _length(n: int) -> bytes:
    if n < 2**8:
        return struct.pack("<BB", 1, n)
    return struct.pack("<BI", 4, n) if n < 2**32 else struct.pack("<BQ", 8, n)
