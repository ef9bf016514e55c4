"""Onto the disk, as it happens, all that a run receives and publishes.

One thread writes what is put, first in, first out, and another syncs it, so that a run
never waits for the disk. What a message was made of is written before the message is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rtfeedback.online.syncing import Syncing
from rtfeedback.online.whole_file import WholeFile
from rtfeedback.signals import Float64, label_of
from rtfeedback.xdf import StreamHeader, writing
from rtfeedback.xdf.chunks import DTYPES

BOUNDARY = 10.0  # s between the marks by which a damaged XDF file is read on
LATE = 30.0  # s for which the disk may take nothing; more, and recording is lost
WAITING = 256 * 2**20  # bytes that may wait for the disk; more, and recording is lost
CLOSING = 10.0  # s that the end of a run waits for the disk
FRAMES = "volumes.f4"  # voxels of published volumes, one after the other
_OVERHEAD = 256  # bytes that anything costs while it waits

Row = tuple[Any, ...] | str  # a marker: text or number by channel
_Item = tuple[Callable[..., None], tuple[Any, ...]]


class Recorder:
    """The record of one run: `STEM.xdf`, `messages.jsonl`, `run.log`, perhaps `volumes.f4`.

    All but `close` return at once, whatever the disk does. Where recording is lost, what
    was recorded until then stays whole, and the run goes on.

    Parameters
    ----------
    folder : Path
        There already.
    stem : str
        Of the XDF file's name.
    frames : bool
        Whether frames are kept.

    Raises
    ------
    OSError
        A file is there already, or cannot be written.
    """

    def __init__(self, folder: Path, stem: str, *, frames: bool = False) -> None:
        self._why = ""  # it is lost
        self._frames = frames
        self._disk = _Disk(folder, stem, frames)
        self._since: deque[float] = deque()  # when each batch that waits was handed over
        self._items: list[_Item] = []
        self._size = 0  # bytes in `_items`
        self._streams = 0
        # Bytes handed over, and written: each is counted by one thread only.
        self._given, self._taken = 0, 0
        self._queue: SimpleQueue[tuple[list[_Item], int] | None] = SimpleQueue()
        self._syncing = Syncing(folder, self._disk.files, self._fail)
        self._thread = Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    @property
    def behind(self) -> float:
        """The age, in s, of the oldest that was handed over and is not written, or synced.

        That is 0 when all is written and no sync is under way.
        """
        if not self._thread.is_alive():
            return 0.0
        with suppress(IndexError):
            return max(time.monotonic() - self._since[0], self._syncing.hanging)
        return self._syncing.hanging

    @property
    def lost(self) -> str:
        """Why recording was lost; `""` while it was not.

        After `close`, `""` says that all that was put is on the disk.
        """
        if not self._why and self.behind > LATE:
            self._lose(f"the disk has taken nothing for {LATE:g} s")
        return self._why

    def stream(self, header_xml: str) -> int:
        """Begin a stream, and return its number in the XDF file: 1, 2, ...

        Parameters
        ----------
        header_xml : str
            What the stream says of itself.
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

    def markers(self, stream: int, stamps: Sequence[float], rows: Sequence[Row]) -> None:
        """Append markers as received, each with its stamp in seconds.

        Parameters
        ----------
        stream : int
        stamps : sequence of float, length n_times
        rows : sequence of tuple, shape (n_times, n_channels)
            Of the format that the stream states; a label alone is a row of one.
        """
        self._put(_OVERHEAD * len(rows), self._disk.markers, stream, stamps, rows)

    def line(self, file: Literal["messages", "log"], text: str) -> None:
        """Append a line to one of the text files."""
        self._put(len(text), self._disk.line, file, text)

    def frame(self, frame: bytes) -> None:
        """Append a volume's voxels as they are, where they are kept."""
        if self._frames:
            self._put(len(frame), self._disk.frame, frame)

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
            self._since.append(time.monotonic())
            self._queue.put((items, size))

    def close(self) -> None:
        """Write what is left, end every stream and close the files, within some seconds."""
        self.flush()
        self._queue.put(None)
        self._thread.join(CLOSING)
        if self._thread.is_alive():
            self._lose(f"the disk did not take the rest within {CLOSING:g} s")

    def _put(self, size: int, write: Callable[..., None], *what: Any) -> None:
        if not self._why:
            self._items.append((write, what))
            self._size += size + _OVERHEAD

    def _lose(self, why: str) -> None:
        self._why = self._why or why

    # --- in the threads ------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (batch := self._queue.get()) is not None:
                items, size = batch
                self._try(self._disk.write, items)
                self._taken += size
                self._since.popleft()
                self._syncing.wake()
            self._try(self._disk.finish)
        except Exception as error:  # a bug; the run goes on, and the bug is told
            self._fail(error)
            raise
        finally:
            self._syncing.close()
            self._try(self._disk.close)

    def _try(self, act: Callable[..., None], *what: Any) -> None:
        try:
            act(*what)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Write no more; what was written until now stays."""
        self._disk.failed = True
        said = f"{type(error).__name__}: {error}"
        self._lose((error.strerror or str(error)) if isinstance(error, OSError) else said)


class _Disk:
    """The files of a record, which one thread writes."""

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
        header = writing.described(stream, xml)
        self._streams[stream] = _Stream(header)
        self._xdf.pieces.append(writing.stream_header(header))

    def samples(self, stream: int, stamps: Float64, values: NDArray[Any]) -> None:
        self._xdf.pieces.append(self._streams[stream].numbers(stamps, values))

    def markers(self, stream: int, stamps: Sequence[float], rows: Sequence[Row]) -> None:
        self._xdf.pieces.append(self._streams[stream].labels(stamps, rows))

    def line(self, file: str, text: str) -> None:
        self._files[file].pieces.append((text + "\n").encode("utf-8", "backslashreplace"))

    def frame(self, frame: bytes) -> None:
        self._files["frames"].pieces.append(frame)

    def end(self, stream: int) -> None:
        self._xdf.pieces.append(self._streams.pop(stream).footer())

    def write(self, items: list[_Item]) -> None:
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
        self.write([(self.end, (stream,)) for stream in self._streams])

    def close(self) -> None:
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
