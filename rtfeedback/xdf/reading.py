"""Read an XDF file's chunks in the order in which they were written.

A file that was cut, by a kill or a full disk, ends at its last whole chunk; one that is
damaged before its end is refused.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rtfeedback.errors import RecordingError
from rtfeedback.signals import Float64
from rtfeedback.xdf.chunks import (
    BOUNDARY,
    BOUNDARY_TAG,
    CLOCK_OFFSET,
    DTYPES,
    FILE_HEADER,
    MAGIC,
    SAMPLES,
    STREAM_FOOTER,
    STREAM_HEADER,
    Boundary,
    ClockOffset,
    FileHeader,
    Samples,
    StreamFooter,
    StreamHeader,
    XDFChunk,
    parse_info,
    row_dtype,
)

_LENGTHS = (1, 4, 8)  # bytes that may hold a length
_MOST_CHANNELS = 2**20  # more than any amplifier has: a header that says so is damaged
_BLOCK = 2**20


def whole_length(path: Path) -> int:
    """Return how many bytes of a file are whole chunks; what follows them was cut.

    Raises
    ------
    RecordingError
        It cannot be read, is no XDF file, or is damaged before its end.
    """
    with _opened(path) as file:
        return _whole_length(path, file)


def count_streams(path: Path) -> tuple[int, int]:
    """Return how many streams a file begins, and how many of them it ends.

    Raises
    ------
    RecordingError
        It cannot be read, is no XDF file, or is damaged before its end.
    """
    tags: Counter[int] = Counter()
    with _opened(path) as file:
        for start, _ in _spans(file, _whole_length(path, file)):
            file.seek(start)
            tags[int.from_bytes(file.read(2), "little")] += 1
    return tags[STREAM_HEADER], tags[STREAM_FOOTER]


def read_chunks(path: Path) -> Iterator[XDFChunk]:
    """Read a file's whole chunks in the order in which they were written.

    Nothing is allocated by what a length in the file says before the bytes are known to
    be there. Chunks of an unknown kind are passed over, as XDF asks.

    Raises
    ------
    RecordingError
        It cannot be read, is no XDF file, or is damaged before its end.
    """
    parse = _Parser()
    with _opened(path) as file:
        whole = len(MAGIC)
        for start, stop in _spans(file, _whole_length(path, file)):
            file.seek(start)
            content = file.read(stop - start)
            try:
                chunk = parse.chunk(int.from_bytes(content[:2], "little"), content[2:])
            except ValueError as error:
                raise _damaged(path, whole, str(error)) from error
            if chunk is not None:
                yield chunk
            whole = stop


# --- the walk over chunks ----------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise RecordingError(
                    f"{path} is not an XDF file",
                    found=f"{path.stat().st_size} bytes that do not begin with {MAGIC!r}",
                    do="Give the .xdf file of a recording",
                )
            yield file
    except OSError as error:
        raise RecordingError(
            f"{path} cannot be read", found=error.strerror or str(error), do="Check the path"
        ) from error


def _spans(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Yield where each whole chunk's tag starts and its content stops."""
    at = len(MAGIC)
    while at < size:
        file.seek(at)
        head = file.read(9)
        start, length = at + 1 + head[0], int.from_bytes(head[1 : 1 + head[0]], "little")
        if head[0] not in _LENGTHS or length < 2 or start + length > size:
            return
        at = start + length
        yield start, at


def _whole_length(path: Path, file: BinaryIO) -> int:
    size = os.fstat(file.fileno()).st_size
    whole = max((stop for _, stop in _spans(file, size)), default=len(MAGIC))
    if whole < size and not _is_cut(file, whole, size):
        raise _damaged(path, whole, f"what follows up to byte {size} is no chunk")
    return whole


def _is_cut(file: BinaryIO, at: int, size: int) -> bool:
    """Tell whether what follows byte `at` can be a chunk's beginning, or was never written."""
    file.seek(at)
    head = file.read(9)
    if head[0] in _LENGTHS:
        length = int.from_bytes(head[1 : 1 + head[0]], "little")
        begins = at + 1 + head[0] > size or length >= 2
        # What was written after it shows that it was not the last, but is damaged.
        return begins and not any(BOUNDARY in block for block in _blocks(file, at))
    # A machine that lost its power may leave zeros where the end would have been.
    return not any(block.strip(b"\0") for block in _blocks(file, at))


def _blocks(file: BinaryIO, at: int) -> Iterator[bytes]:
    """Yield the file from a byte on, in blocks that overlap by a boundary's length."""
    while True:
        file.seek(at)
        block = file.read(_BLOCK)
        yield block
        if len(block) < _BLOCK:
            return
        at += _BLOCK - len(BOUNDARY)


def _damaged(path: Path, whole: int, found: str) -> RecordingError:
    return RecordingError(
        f"The recording {path} is damaged before its end",
        found=f"The first {whole} bytes are whole; then {found}",
        do=f"Copy it again; to use what is whole, cut a copy: truncate -s {whole} COPY",
    )


# --- what is in a chunk ------------------------------------------------------------


class _Parser:
    """Turns chunks into values; raises ValueError at damage."""

    def __init__(self) -> None:
        self._headers: dict[int, StreamHeader] = {}
        self._last: dict[int, float] = {}  # stamp by stream

    def chunk(self, tag: int, content: bytes) -> XDFChunk | None:
        if tag == FILE_HEADER:
            return FileHeader(_text(content))
        if tag == BOUNDARY_TAG:
            return Boundary()
        if tag not in (STREAM_HEADER, SAMPLES, CLOCK_OFFSET, STREAM_FOOTER):
            return None
        cursor = _Cursor(content)
        stream = int.from_bytes(cursor.take(4), "little")
        if tag == STREAM_HEADER:
            return self._header(stream, _text(content[4:]))
        if stream not in self._headers:
            raise ValueError(f"stream {stream} has no header before it")
        if tag == SAMPLES:
            return self._samples(self._headers[stream], cursor)
        if tag == CLOCK_OFFSET:
            return ClockOffset(stream, _float64(cursor), _float64(cursor))
        return StreamFooter(stream, _text(content[4:]))

    def _header(self, stream: int, xml: str) -> StreamHeader:
        if stream in self._headers:
            raise ValueError(f"stream {stream} has two headers")
        root = parse_info(xml)
        said = [
            (root.findtext(key) or "").strip()
            for key in ("channel_count", "channel_format", "nominal_srate")
        ]
        header = StreamHeader(stream, xml, int(said[0]), said[1], float(said[2]))
        if not 0 < header.n_channels <= _MOST_CHANNELS:
            raise ValueError(f"stream {stream} states {header.n_channels} channels")
        if header.channel_format not in (*DTYPES, "string"):
            raise ValueError(f"stream {stream} states the format '{header.channel_format}'")
        self._headers[stream] = header
        return header

    def _samples(self, header: StreamHeader, cursor: _Cursor) -> Samples:
        n_times = cursor.length()
        numeric = header.channel_format in DTYPES
        width = DTYPES[header.channel_format].itemsize if numeric else 1
        least = 1 + header.n_channels * width
        if n_times * least > cursor.left:
            raise ValueError(f"{n_times} samples in {cursor.left} bytes")
        stamped = self._stamped(header, n_times, cursor) if numeric else None
        stamps, values = stamped or self._one_by_one(header, n_times, cursor)
        if cursor.left:
            raise ValueError(f"{cursor.left} bytes after its {n_times} samples")
        if n_times:
            self._last[header.stream] = float(stamps[-1])
        return Samples(header.stream, stamps, values)

    def _stamped(
        self, header: StreamHeader, n_times: int, cursor: _Cursor
    ) -> tuple[Float64, NDArray[Any]] | None:
        """Return stamps and values at once, where each sample has a stamp of its own."""
        dtype = row_dtype(header.channel_format, header.n_channels)
        if n_times * dtype.itemsize != cursor.left:
            return None
        rows = np.frombuffer(cursor.rest, dtype)
        if not (rows["size"] == 8).all():
            return None
        cursor.take(cursor.left)
        native = DTYPES[header.channel_format].newbyteorder("=")
        return rows["stamp"].astype(np.float64), rows["values"].astype(native, order="C")

    def _one_by_one(
        self, header: StreamHeader, n_times: int, cursor: _Cursor
    ) -> tuple[Float64, NDArray[Any]]:
        """Return stamps and values of strings, or where some stamps follow from the rate."""
        interval = 1 / header.sfreq if header.sfreq > 0 else 0.0
        last = self._last.get(header.stream, 0.0)
        dtype = DTYPES.get(header.channel_format)
        stamps = np.empty(n_times)
        native = object if dtype is None else dtype.newbyteorder("=")
        values = np.empty((n_times, header.n_channels), native)
        for row in range(n_times):
            size = cursor.take(1)[0]
            if size not in (0, 8):
                raise ValueError(f"a stamp of {size} bytes")
            last = stamps[row] = _float64(cursor) if size else last + interval
            if dtype is None:
                texts = [_text(cursor.take(cursor.length())) for _ in range(header.n_channels)]
                values[row] = texts
            else:
                raw = cursor.take(header.n_channels * dtype.itemsize)
                values[row] = np.frombuffer(raw, dtype)
        return stamps, values


class _Cursor:
    """Takes bytes from the front; never more than there are."""

    def __init__(self, content: bytes) -> None:
        self.rest = memoryview(content)

    @property
    def left(self) -> int:
        return len(self.rest)

    def take(self, n: int) -> memoryview:
        if n > len(self.rest):
            raise ValueError(f"{n} bytes are due where {len(self.rest)} are left")
        taken, self.rest = self.rest[:n], self.rest[n:]
        return taken

    def length(self) -> int:
        n = self.take(1)[0]
        if n not in _LENGTHS:
            raise ValueError(f"a length of {n} bytes")
        return int.from_bytes(self.take(n), "little")


def _float64(cursor: _Cursor) -> float:
    return float(struct.unpack("<d", cursor.take(8))[0])


def _text(content: bytes | memoryview) -> str:
    return bytes(content).decode("utf-8", "replace")
