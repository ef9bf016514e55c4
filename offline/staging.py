"""Work that goes on after a kill, and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from offline.progress import say
from rtfeedback.errors import RtfeedbackError
from rtfeedback.folders import check_free, remove_empty, unwritable

KEY = "key"  # the file that says what the folder is being filled with
PARTS = "parts"


@contextmanager
def unfinished(path: Path, key: str) -> Iterator[Path]:
    """Give a folder for the work on a path to be; it is there again after a kill.

    What a killed process, or one that was interrupted, had written is there for the next
    one with the same key, below `parts`; for another key it is thrown away, and so it is
    once the work is done.

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
        If `path` holds something already, or cannot be written.
    """
    stage = path.parent / f".{path.name}.unfinished"
    try:
        check_free(path)
        made = [parent for parent in path.parents if not parent.exists()]
        _begin(stage, key)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield stage / PARTS
    except RtfeedbackError:
        _discard(stage, made)  # it would come to the same end again
        raise
    except OSError as error:
        _discard(stage, made)
        # A file elsewhere that cannot be read is not this folder's fault.
        if error.filename is not None and stage.name not in str(error.filename):
            raise
        raise unwritable(path, error) from error
    shutil.rmtree(stage, ignore_errors=True)


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
        n_parts = sum(1 for each in (stage / PARTS).iterdir() if not each.name.startswith("."))
        if n_parts:
            text = f"going on where the last attempt stopped ({stage})"
            say(text)
        return
    shutil.rmtree(stage, ignore_errors=True)
    (stage / PARTS).mkdir(parents=True)
    found.write_text(key, encoding="utf-8")


def _discard(stage: Path, made: list[Path]) -> None:
    shutil.rmtree(stage, ignore_errors=True)
    remove_empty(made)
