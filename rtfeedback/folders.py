"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rtfeedback.errors import OutputError


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill, which takes its name only when all of it is written.

    Raises
    ------
    OutputError
        If `path` holds something already, or cannot be written.
    """
    folder, made = _begun(path)
    try:
        yield folder
        folder.chmod(0o755)
        os.replace(folder, path)
    except OSError as error:
        # A file elsewhere that cannot be read is not this folder's fault.
        if error.filename is not None and folder.name not in str(error.filename):
            raise
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        remove_empty(made)


def check_new(path: Path) -> None:
    """Refuse, before there is work to lose, a path at which nothing new can be written.

    Raises
    ------
    OutputError
        If it holds something already, or cannot be written.
    """
    folder, made = _begun(path)
    folder.rmdir()
    remove_empty(made)


def _begun(path: Path) -> tuple[Path, list[Path]]:
    """Return a new folder beside a path, and the ones that were made for it."""
    made: list[Path] = []
    try:
        check_free(path)
        made += [parent for parent in path.parents if not parent.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent)), made
    except OSError as error:
        remove_empty(made)
        raise unwritable(path, error) from error


def check_free(path: Path) -> None:
    """Refuse a folder that is there and holds something.

    Raises
    ------
    OutputError
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputError(f"{path} is there already", do="Name a new folder, or remove it")


def remove_empty(folders: list[Path]) -> None:
    """Remove those of some folders that are empty, the deepest first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def unwritable(path: Path, error: OSError) -> OutputError:
    """Return what is said of a path that cannot be written."""
    return OutputError(
        f"{path} cannot be written", found=error.strerror or str(error), do="Choose another"
    )
