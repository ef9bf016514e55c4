"""Onto the disk, as it happens, all that a run receives and publishes.

One thread writes what is put, first in, first out, so that a run never waits for the
disk. What a message was made of is on the disk before the message is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Literal

from numpy.typing import NDArray

from rtfeedback.online.whole_file import WholeFile
from rtfeedback.signals import Float64
from rtfeedback.xdf import StreamHeader, writing
from rtfeedback.xdf.chunks import DTYPES

SYNC = 1.0  # s after which what was written must be on the disk itself
BOUNDARY = 10.0  # s between the marks by which a damaged XDF file is read on
WAITING = 256 * 2**20  # bytes that may wait for the disk; more, and recording is lost
CLOSING = 10.0  # s that the end of a run waits for the disk
_OVERHEAD = 256  # bytes that anything costs while it waits

_Item = tuple[Callable[..., None], tuple[Any, ...]]


class Recorder:
    """The record of one run: `STEM.xdf`, `messages.jsonl` and `run.log`.

    All but `close` return at once, whatever the disk does. Where recording is lost, what
    was recorded until then stays whole, and the run goes on.

    Parameters
    ----------
    folder : Path
        There already.
    stem : str
        Of the XDF file's name.

    Attributes
    ----------
    lost : str
        Why recording was lost, `""` while it was not.

    Raises
    ------
    OSError
        A file is there already, or cannot be written.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self.lost = ""
        self._disk = _Disk(folder, stem)
        self._items: list[_Item] = []
        self._size = 0  # bytes in `_items`
        self._streams = 0
        # Bytes handed over, and written: each is counted by one thread only.
        self._given, self._taken = 0, 0
        self._queue: SimpleQueue[tuple[list[_Item], int] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def stream(self, header_xml: str) -> int:
        """Begin a stream, and return its number in the XDF file: 1, 2, ...

        Parameters
        ----------
        header_xml : str
            What the stream says of itself. One without a rate is a stream of labels.
        """
        self._streams += 1
        self._put(len(header_xml), self._disk.begin, self._streams, header_xml)
        return self._streams

    def samples(self, stream: int, stamps: Float64, samples: NDArray[Any]) -> None:
        """Append numbers as received; the arrays are not copied, and must not change.

        Parameters
        ----------
        stream : int
        stamps : float64, shape (n_times,)
            In seconds.
        samples : array, shape (n_times, n_channels)
            Of the format that the stream states, or one that it holds exactly.
        """
        self._put(stamps.nbytes + samples.nbytes, self._disk.samples, stream, stamps, samples)

    def markers(self, stream: int, stamps: Sequence[float], labels: Sequence[str]) -> None:
        """Append labels, each with its stamp in seconds."""
        self._put(_OVERHEAD * len(labels), self._disk.markers, stream, stamps, labels)

    def line(self, file: Literal["messages", "log"], text: str) -> None:
        """Append a line to one of the text files."""
        self._put(len(text), self._disk.line, file, text)

    def end_stream(self, stream: int) -> None:
        """End a stream, and count its samples in the file."""
        self._put(0, self._disk.end, stream)

    def flush(self) -> None:
        """Hand over all that was put since the last time, as one piece of work."""
        if not self._items:
            return
        items, size = self._items, self._size
        self._items, self._size = [], 0
        if self._given - self._taken + size > WAITING:
            self._lose(f"the disk is too slow: {WAITING >> 20} MiB wait to be written")
        if not self.lost:
            self._given += size
            self._queue.put((items, size))

    def close(self) -> None:
        """Write what is left, end every stream and close the files, within some seconds."""
        self.flush()
        self._queue.put(None)
        self._thread.join(CLOSING)
        if self._thread.is_alive():
            self._lose(f"the disk did not take the rest within {CLOSING:g} s")

    def _put(self, size: int, write: Callable[..., None], *what: Any) -> None:
        if not self.lost:
            self._items.append((write, what))
            self._size += size + _OVERHEAD

    def _lose(self, why: str) -> None:
        self.lost = self.lost or why

    # --- in the thread -------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (batch := self._next()) is not None:
                items, size = batch
                self._try(self._disk.write, items)
                self._taken += size
            self._try(self._disk.finish)
        except BaseException as error:  # a bug; the run goes on, and the bug is told
            self._lose(f"{type(error).__name__}: {error}")
            raise
        finally:
            self._disk.close()

    def _next(self) -> tuple[list[_Item], int] | None:
        """Wait for work, and meanwhile see to it that what was written is on the disk."""
        while True:
            if self._disk.sync_in == 0:
                self._try(self._disk.sync)
            with suppress(Empty):
                return self._queue.get(timeout=self._disk.sync_in)

    def _try(self, act: Callable[..., None], *what: Any) -> None:
        """Do something, unless the disk has failed before."""
        if self._disk.failed:
            return
        try:
            act(*what)
        except OSError as error:
            self._disk.failed = True
            self._lose(error.strerror or str(error))


class _Disk:
    """The files of a record, which the thread has to itself."""

    def __init__(self, folder: Path, stem: str) -> None:
        self.failed = False
        self._files: dict[str, WholeFile] = {}
        # In the order in which they are written.
        names = {"messages": "messages.jsonl", "log": "run.log"}
        try:
            for key, name in {"xdf": f"{stem}.xdf", **names}.items():
                self._files[key] = WholeFile(folder / name)
            self._xdf = self._files["xdf"]
            self._xdf.pieces.append(writing.file_header())
            self._xdf.write()
        except OSError:
            self.close()
            raise
        self._streams: dict[int, _Stream] = {}
        self._synced = self._marked = time.monotonic()

    @property
    def sync_in(self) -> float | None:
        """Return the seconds until `sync` is due; None where there is nothing to sync."""
        if self.failed or not any(file.unsynced for file in self._files.values()):
            return None
        return max(0.0, self._synced + SYNC - time.monotonic())

    def begin(self, stream: int, xml: str) -> None:
        header = writing.described(stream, xml)
        self._streams[stream] = _Stream(header)
        self._xdf.pieces.append(writing.stream_header(header))

    def samples(self, stream: int, stamps: Float64, values: NDArray[Any]) -> None:
        self._xdf.pieces.append(self._streams[stream].numbers(stamps, values))

    def markers(self, stream: int, stamps: Sequence[float], labels: Sequence[str]) -> None:
        self._xdf.pieces.append(self._streams[stream].labels(stamps, labels))

    def line(self, file: str, text: str) -> None:
        self._files[file].pieces.append((text + "\n").encode("utf-8", "backslashreplace"))

    def end(self, stream: int) -> None:
        self._xdf.pieces.append(self._streams.pop(stream).footer())

    def write(self, items: list[_Item]) -> None:
        """Write a batch; each file gets its part in one go."""
        for encode, what in items:
            encode(*what)
        now = time.monotonic()
        if self._xdf.pieces and now - self._marked >= BOUNDARY:
            self._xdf.pieces.append(writing.boundary())
            self._marked = now
        for file in self._files.values():
            file.write()

    def finish(self) -> None:
        self.write([(self.end, (stream,)) for stream in self._streams])
        self.sync()

    def sync(self) -> None:
        for file in self._files.values():
            file.sync()
        self._synced = time.monotonic()

    def close(self) -> None:
        for file in self._files.values():
            file.close()


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

    def labels(self, stamps: Sequence[float], labels: Sequence[str]) -> bytes:
        if self._header.channel_format != "string":
            raise ValueError(f"labels in a stream of {self}")
        self._saw(stamps)
        rows = [(label,) for label in labels]
        return writing.texts(self._header.stream, stamps, rows)

    def footer(self) -> bytes:
        return writing.stream_footer(self._header.stream, self._first, self._last, self._count)

    def __str__(self) -> str:
        return f"{self._header.n_channels} channels of {self._header.channel_format}"

    def _saw(self, stamps: Sequence[float] | Float64) -> None:
        if len(stamps):
            self._first = self._first if self._count else float(stamps[0])
            self._last = float(stamps[-1])
            self._count += len(stamps)
