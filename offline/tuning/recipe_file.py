"""A recipe written as TOML, whole or not at all."""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import tomli_w

from rtfeedback.config import Config
from rtfeedback.errors import OutputError
from rtfeedback.folders import unwritable


def check_free_file(path: Path) -> None:
    """Refuse a file that is there.

    Raises
    ------
    OutputError
    """
    if path.exists():
        raise OutputError(f"{path} is there already", do="Name a new file, or remove it")


def _holds(path: Path, config: Config) -> bool:
    """Return whether a file is there and of this very recipe."""
    with suppress(OSError, ValueError):
        return type(config).model_validate(tomllib.loads(path.read_text("utf-8"))) == config
    return False


def write_recipe(path: Path, config: Config, comment: Sequence[str]) -> None:
    """Write a recipe below lines of comment, unless another worker has just written it.

    Parameters
    ----------
    path : Path
        New file.
    config : Config
        Every key of it is written.
    comment : sequence of str
        Lines.

    Raises
    ------
    OutputError
        If the file is there already, of another recipe, or cannot be written.
    """
    if _holds(path, config):
        return
    values = config.model_dump(mode="json", exclude_none=True)
    lines = [f"# {line}" for text in comment for line in text.splitlines()]
    text = "\n".join(lines) + "\n\n" + tomli_w.dumps(values)
    assert type(config).model_validate(tomllib.loads(text)) == config
    check_free_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, begun = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(begun, 0o644)
        os.replace(begun, path)
    except OSError as error:
        Path(begun).unlink(missing_ok=True)
        raise unwritable(path, error) from error
