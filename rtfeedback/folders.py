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
    made: list[Path] = []
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputError(f"{path} is there already", do="Name a new folder, or remove it")
        made += [parent for parent in path.parents if not parent.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        _remove_empty(made)
        raise _unwritable(path, error) from error
    try:
        yield folder
        folder.chmod(0o755)
        os.replace(folder, path)
    except OSError as error:
        # A file elsewhere that cannot be read is not this folder's fault.
        if error.filename is not None and folder.name not in str(error.filename):
            raise
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _remove_empty(made)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be written", found=error.strerror or str(error), do="Choose another"
    )
