"""The files of a record: what one thread writes of what a run hands over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtfeedback.online.whole_file import WholeFile
from rtfeedback.signals import Float64, label_of
from rtfeedback.xdf import StreamHeader, writing
from rtfeedback.xdf.chunks import DTYPES

BOUNDARY = 10.0  # s between the marks by which a damaged XDF file is read on
FRAMES = "volumes.f4"  # voxels of published volumes, one after the other

Row = tuple[Any, ...] | str  # a marker: text or number by channel
Item = tuple[Callable[..., None], tuple[Any, ...]]
"""What encodes something, and what it is to encode."""


class RecordFiles:
    """The files of a record, which one thread writes.

    What is encoded is on no disk before `write`.

    Parameters
    ----------
    folder : Path
    stem : str
        Of the XDF file's name.
    frames : bool
        Whether frames are kept.

    Attributes
    ----------
    failed : bool
        Whether nothing more is to be written.

    Raises
    ------
    OSError
        A file is there already, or cannot be written.
    """

    def __init__(self, folder: Path, stem: str, frames: bool) -> None:
        self.failed = False
        self._files: dict[str, WholeFile] = {}
        # In the order in which they are written.
        names = {"frames": FRAMES} if frames else {}
        names |= {"messages": "messages.jsonl", "log": "run.log"}
        try:
            for key, name in {"xdf": f"{stem}.xdf", **names}.items():
                self._files[key] = WholeFile(folder / name)
            self._xdf = self._files["xdf"]
            self._xdf.pieces.append(writing.file_header())
            self._xdf.write()
        except OSError:
            with suppress(OSError):
                self.close()
            raise
        self._streams: dict[int, _Stream] = {}
        self._marked = time.monotonic()

    @property
    def files(self) -> list[WholeFile]:
        """In the order in which they are written."""
        return list(self._files.values())

    def begin(self, stream: int, xml: str) -> None:
        """Encode a stream's beginning, by its own description."""
        header = writing.described(stream, xml)
        self._streams[stream] = _Stream(header)
        self._xdf.pieces.append(writing.stream_header(header))

    def samples(self, stream: int, stamps: Float64, values: NDArray[Any]) -> None:
        """Encode numbers, stamps (n_times,) and values (n_times, n_channels)."""
        self._xdf.pieces.append(self._streams[stream].numbers(stamps, values))

    def markers(self, stream: int, stamps: Sequence[float], rows: Sequence[Row]) -> None:
        """Encode markers, a row each."""
        self._xdf.pieces.append(self._streams[stream].labels(stamps, rows))

    def line(self, file: str, text: str) -> None:
        """Encode a line of a text file."""
        self._files[file].pieces.append((text + "\n").encode("utf-8", "backslashreplace"))

    def frame(self, frame: bytes) -> None:
        """Take a volume's voxels as they are."""
        self._files["frames"].pieces.append(frame)

    def end(self, stream: int) -> None:
        """Encode a stream's end."""
        self._xdf.pieces.append(self._streams.pop(stream).footer())

    def write(self, items: list[Item]) -> None:
        """Write a batch, unless the disk failed before; each file gets its part in one go."""
        if self.failed:
            return
        for encode, what in items:
            encode(*what)
        now = time.monotonic()
        if self._xdf.pieces and now - self._marked >= BOUNDARY:
            self._xdf.pieces.append(writing.boundary())
            self._marked = now
        for file in self._files.values():
            file.write()

    def finish(self) -> None:
        """End each stream that has not ended."""
        self.write([(self.end, (stream,)) for stream in self._streams])

    def close(self) -> None:
        """Close every file."""
        with ExitStack() as each:  # whatever becomes of another
            for file in self._files.values():
                each.callback(file.close)


class _Stream:
    """One stream of the XDF file, and what its footer says."""

    def __init__(self, header: StreamHeader) -> None:
        self._header = header
        self._first, self._last, self._count = 0.0, 0.0, 0

    def numbers(self, stamps: Float64, values: NDArray[Any]) -> bytes:
        dtype = DTYPES.get(self._header.channel_format)
        if dtype is None or values.shape[1:] != (self._header.n_channels,):
            raise ValueError(f"{values.shape} numbers in a stream of {self}")
        self._saw(stamps)
        exact = values.astype(dtype, casting="safe", copy=False)
        return writing.numbers(self._header.stream, stamps, exact)

    def labels(self, stamps: Sequence[float], rows: Sequence[Row]) -> bytes:
        dtype, n = DTYPES.get(self._header.channel_format), self._header.n_channels
        whole = [(row,) if isinstance(row, str) else row for row in rows]
        if any(len(row) < n for row in whole):
            raise ValueError(f"rows too short for a stream of {self}")
        if dtype is not None:
            return self.numbers(np.array(stamps, np.float64), np.array(whole, dtype))
        self._saw(stamps)
        # Where what a stream said of itself had to be mended, one channel of text is left.
        texts = [[label_of(value) for value in row[:n]] for row in whole]
        return writing.texts(self._header.stream, stamps, texts)

    def footer(self) -> bytes:
        return writing.stream_footer(self._header.stream, self._first, self._last, self._count)

    def __str__(self) -> str:
        return f"{self._header.n_channels} channels of {self._header.channel_format}"

    def _saw(self, stamps: Sequence[float] | Float64) -> None:
        if len(stamps):
            self._first = self._first if self._count else float(stamps[0])
            self._last = float(stamps[-1])
            self._count += len(stamps)
