"""What was written, put on the disk itself, beside the writing.

A write ends in the memory of the system, which outlives a killed program; only a sync
outlives a power cut. A sync may take seconds, so it has a thread of its own.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Thread

from rtfeedback.online.whole_file import WholeFile

SYNC = 1.0  # s after which what was written must be on its way to the disk itself
_UNKNOWN = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # a network's disk, for a folder


class Syncing:
    """Syncs a folder's entries once, and its files again and again while they are written.

    Files are synced in their order. What is written during a sync may reach the disk with
    a later file before it does with an earlier one, so a power cut, other than a kill, may
    leave a last message of whose making a part is missing.

    Parameters
    ----------
    folder : Path
    files : sequence of WholeFile
        Another thread writes them.
    fail : callable
        Told, in the thread, what went wrong; nothing is synced after it.
    """

    def __init__(
        self, folder: Path, files: Sequence[WholeFile], fail: Callable[[Exception], None]
    ) -> None:
        self._folder, self._files, self._fail = folder, files, fail
        self._since: float | None = None  # when the sync under way began
        self._written, self._over = Event(), Event()
        self._written.set()  # their beginnings, it may be
        self._thread = Thread(target=self._work, name="syncing", daemon=True)
        self._thread.start()

    @property
    def hanging(self) -> float:
        """Return for how many seconds the sync under way has lasted; 0 where none is."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def wake(self) -> None:
        """Take note that something was written."""
        self._written.set()

    def close(self) -> None:
        """Sync what is left, and wait until that is done."""
        self._over.set()
        self._written.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            self._sync(sync_folder, self._folder)
            over = False
            while not over:
                self._written.wait()
                self._written.clear()  # before the sync: what is written during it is next
                over = self._over.wait(SYNC)
                for file in self._files:
                    self._sync(file.sync)
        except OSError as error:
            self._fail(error)
        except Exception as error:  # a bug; the run goes on, and the bug is told
            self._fail(error)
            raise

    def _sync(self, sync: Callable[..., None], *what: Path) -> None:
        self._since = time.monotonic()
        try:
            sync(*what)
        finally:
            self._since = None


def sync_folder(folder: Path) -> None:
    """Have a folder's entries put on the disk itself, where the system can do that.

    Parameters
    ----------
    folder : Path
        Its files must be synced for themselves; so must the folder that it is in.

    Raises
    ------
    OSError
    """
    if os.name != "nt":  # there a folder cannot be opened
        _sync_path(folder, or_not=_UNKNOWN)


def sync_tree(path: Path) -> None:
    """Have a file, or a folder and all below it, put on the disk itself.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OSError
    """
    if not path.is_dir():
        _sync_path(path)
        return
    for each in path.iterdir():
        sync_tree(each)
    sync_folder(path)


def _sync_path(path: Path, *, or_not: tuple[int, ...] = ()) -> None:
    opened = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in or_not:
            raise
    finally:
        os.close(opened)
