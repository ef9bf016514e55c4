"""A file of whole pieces: of a piece that could not be written, nothing is left."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path


class WholeFile:
    """A new file that is appended to in whole pieces, such as chunks or lines.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    pieces : list of bytes
        What `write` will append.
    unsynced : bool
        Whether something was written that may not be on the disk itself.

    Raises
    ------
    OSError
        It is there already, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._size = 0
        self.pieces: list[bytes] = []
        self.unsynced = False

    def write(self) -> None:
        """Append the pieces in one go.

        Raises
        ------
        OSError
            Not all could be written: those that could be are there, and no part of another.
        """
        if not self.pieces:
            return
        pieces, self.pieces = self.pieces, []
        rest = memoryview(b"".join(pieces))
        written = 0
        try:
            while written < len(rest):
                n = os.write(self._file.fileno(), rest[written:])
                if not n:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                written += n
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._size + _whole(pieces, written))
            raise
        finally:
            self.unsynced = True  # after it, as another thread may be syncing
        self._size += written

    def sync(self) -> None:
        """Have what was written put on the disk itself; another thread may go on writing.

        Raises
        ------
        OSError
        """
        if self.unsynced:
            self.unsynced = False  # before, as what is written meanwhile may come too late
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; what is not written yet is dropped.

        Raises
        ------
        OSError
            Something written before did not reach the disk, as a network's may say only now.
        """
        self._file.close()


def _whole(pieces: Sequence[bytes], written: int) -> int:
    """Return how many bytes the pieces have that lie within those written."""
    ends = accumulate(map(len, pieces))
    return max((end for end in ends if end <= written), default=0)
