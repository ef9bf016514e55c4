"""Work that goes on after a kill, and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from offline.progress import say
from rtfeedback.errors import OutputError, RtfeedbackError
from rtfeedback.folders import check_free, remove_empty, unwritable

KEY = "key"  # the file that says what the folder is being filled with
PARTS = "parts"
LOCK = "lock"  # the file that is held by the process that fills the folder
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def unfinished(path: Path, key: str) -> Iterator[Path]:
    """Give a folder for the work on a path to be; it is there again after a kill.

    What a killed process, or one that was interrupted, had written is there for the next
    one with the same key, below `parts`; so it is after a full disk, where any of it is
    whole. For another key it is thrown away, and so it is once the work is done. One process
    at a time works on a path.

    Parameters
    ----------
    path : Path
        Of what is to be.
    key : str
        All that its content depends on.

    Yields
    ------
    Path
        The folder; what lies in its `parts` was moved there whole (see `Path.replace`).

    Raises
    ------
    OutputError
        If `path` holds something already, cannot be written, or is what another process
        works on.
    """
    stage = path.parent / f".{path.name}.unfinished"
    made = [parent for parent in path.parents if not parent.exists()]
    try:
        check_free(path)
        stage.mkdir(parents=True, exist_ok=True)
        lock = os.open(stage / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        remove_empty(made)
        raise unwritable(path, error) from error
    try:
        _hold(lock, stage / LOCK, path)
        with _worked_on(path, stage, key, made) as parts:
            yield parts
    finally:
        os.close(lock)


@contextmanager
def _worked_on(path: Path, stage: Path, key: str, made: list[Path]) -> Iterator[Path]:
    try:
        _begin(stage, key)
        yield stage / PARTS
    except RtfeedbackError as error:
        if _is_full(error) and _whole(stage):
            raise _no_room(path, error) from error
        _discard(stage, made)  # it would come to the same end again
        raise
    except OSError as error:
        if _is_full(error) and _whole(stage):
            raise _no_room(path, error) from error
        _discard(stage, made)
        # A file elsewhere that cannot be read is not this folder's fault.
        if error.filename is not None and stage.name not in str(error.filename):
            raise
        raise unwritable(path, error) from error
    shutil.rmtree(stage, ignore_errors=True)


def _hold(lock: int, file: Path, path: Path) -> None:
    """Keep other processes off until the lock is closed, by whatever ends this one.

    Raises
    ------
    OutputError
        If another process is at work on the path, or ended just now.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), file.stat()):
            return
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:  # there are file systems without locks
        return
    raise OutputError(
        f"Another process is at work on {path}", do="Name another path, or wait for its end"
    )


def _is_full(error: BaseException | None) -> bool:
    """Tell whether what went wrong is that a disk has no room left."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    return error is not None and _is_full(error.__cause__)


def _no_room(path: Path, error: Exception) -> OutputError:
    return OutputError(
        f"The disk has no room left for {path}",
        found=str(error),
        do="Make room, and give the same command again: it goes on from what is there",
    )


@contextmanager
def staged_folder(path: Path, key: str) -> Iterator[Path]:
    """Give a folder to fill, which takes its name only when all of it is written.

    As `unfinished`, whose `parts` become the folder.
    """
    with unfinished(path, key) as parts:
        yield parts
        parts.chmod(0o755)
        os.replace(parts, path)


def _begin(stage: Path, key: str) -> None:
    """Make the stage, or keep what is there where it is of the same key."""
    found = stage / KEY
    if found.is_file() and found.read_text(encoding="utf-8") == key:
        if _whole(stage):
            text = f"going on where the last attempt stopped ({stage})"
            say(text)
        return
    found.unlink(missing_ok=True)
    shutil.rmtree(stage / PARTS, ignore_errors=True)
    (stage / PARTS).mkdir()
    found.write_text(key, encoding="utf-8")


def _whole(stage: Path) -> list[Path]:
    """Return what was done and can be gone on from."""
    parts = stage / PARTS
    return [p for p in parts.glob("*") if not p.name.startswith(".")]


def _discard(stage: Path, made: list[Path]) -> None:
    shutil.rmtree(stage, ignore_errors=True)
    remove_empty(made)
