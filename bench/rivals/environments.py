"""An environment for each rival, with the very versions that the figures come from."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = Path(__file__).parent
DONE = "installed.txt"


class NotInstallableError(RuntimeError):
    """A rival does not install here."""


def python_of(rival: str) -> Path:
    """Return the interpreter of a rival's environment, made where it is not there yet.

    Parameters
    ----------
    rival : str
        Names the file of pins beside this one, and the folder below build/rivals.

    Raises
    ------
    NotInstallableError
        With the end of what pip said.
    """
    pins = PINS / f"{rival}.txt"
    folder = ROOT / "build" / "rivals" / rival
    python, done = folder / "bin" / "python", folder / DONE
    if done.exists() and done.read_text() == pins.read_text():
        return python
    print(f"installing {rival} into {folder}", file=sys.stderr, flush=True)  # noqa: T201
    venv.create(folder, clear=True, with_pip=True)
    # What is pinned is all: NeuXus asks for versions that no longer build.
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--requirement", str(pins)]
    said = subprocess.run([str(python), *install], capture_output=True, text=True, check=False)
    if said.returncode:
        raise NotInstallableError(f"{rival} does not install: {said.stderr.strip()[-300:]}")
    done.write_text(pins.read_text())
    return python
