"""Onto the disk, as it happens, all that a run receives and publishes.

One thread writes what is put, first in, first out, and another syncs it, so that a run
never waits for the disk. What a message was made of is written before the message is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal

from numpy.typing import NDArray

from rtfeedback.online.record_files import Item, RecordFiles, Row
from rtfeedback.online.syncing import Syncing
from rtfeedback.signals import Float64

LATE = 30.0  # s for which the disk may take nothing; more, and recording is lost
WAITING = 256 * 2**20  # bytes that may wait for the disk; more, and recording is lost
CLOSING = 10.0  # s that the end of a run waits for the disk
_OVERHEAD = 256  # bytes that anything costs while it waits


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
        self._disk = RecordFiles(folder, stem, frames)
        self._since: deque[float] = deque()  # when each batch that waits was handed over
        self._items: list[Item] = []
        self._size = 0  # bytes in `_items`
        self._streams = 0
        # Bytes handed over, and written: each is counted by one thread only.
        self._given, self._taken = 0, 0
        self._queue: SimpleQueue[tuple[list[Item], int] | None] = SimpleQueue()
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
