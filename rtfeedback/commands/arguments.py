"""What the commands share of arguments and options, and where they look without them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Toml = Annotated[Path | None, typer.Option("--config", help="Settings, as TOML.")]
SKIPPED = 3  # exit code where some of a dataset's runs could not be used
ENDPOINT = "tcp://127.0.0.1:5556"


def settings_of(path: Path | None, model: type[Any]) -> Any:
    """Return the settings of a TOML file, or the defaults without one."""
    from rtfeedback.config import load_config

    return load_config(path, model) if path else model()


def newest(folder: Path, file: str, how: str) -> Path:
    """Return the newest folder of a kind, and say which it is."""
    from rtfeedback.errors import DatasetError

    # A name with a dot is a folder that is being written, or was when a process died.
    found = sorted(folder.glob(f"[!.]*/{file}"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise DatasetError(
            f"There is nothing below ./{folder}", do=f"Name one, or first: {how}"
        )
    print(f"taking the newest: {found[-1].parent}", file=sys.stderr)  # noqa: T201
    return found[-1].parent


def next_folder(parent: Path, name: str, suffix: str = "") -> Path:
    """Return the first of `name`, `name-2`, `name-3`... that is not there yet."""
    taken, path = 1, parent / f"{name}{suffix}"
    while path.exists():
        taken += 1
        path = parent / f"{name}-{taken}{suffix}"
    return path


def check_positive(**options: float | None) -> None:
    """Refuse an option that is no number above 0."""
    for name, value in options.items():
        if value is not None and not 0 < value < float("inf"):
            raise typer.BadParameter(f"--{name} takes a number above 0, not {value:g}")


def warn_semi_synthetic(semi_synthetic: bool) -> None:
    """Say on stderr that data are no claim of skill, where they are none."""
    from offline.store.dataset import SEMI_SYNTHETIC

    if semi_synthetic:
        print(SEMI_SYNTHETIC, file=sys.stderr)  # noqa: T201
