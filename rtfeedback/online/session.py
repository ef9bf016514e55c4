"""The folder of one run: where it lies and what is written into it as it happens."""

from __future__ import annotations

import json
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from rtfeedback.errors import OutputError

PACKAGES = ("rtfeedback", "numpy", "scipy", "torch", "pylsl", "pyzmq")


class SessionFolder:
    """`sub-XX/ses-YY/run-ZZ` below a folder, with messages, log, config and checkpoint.

    Once a line cannot be written, the run goes on without its record and says so on
    every `status` message: the subject's feedback is worth more than the log of it.

    Parameters
    ----------
    root : Path
        Usually `./sessions`.
    subject, session : str
    run : str or None
        The next free number where it is None.

    Raises
    ------
    OutputError
        If the run's folder is there already, or cannot be written.
    """

    def __init__(self, root: Path, *, subject: str, session: str, run: str | None) -> None:
        visit = root / f"sub-{subject}" / f"ses-{session}"
        self.session = f"sub-{subject}_ses-{session}"
        self.run = run or _next_run(visit)
        self.path = visit / f"run-{self.run}"
        self.lost = False
        try:
            self.path.mkdir(parents=True)
            self._messages = (self.path / "messages.jsonl").open("w", encoding="utf-8")
            # A name out of a stream may hold what no encoding takes.
            self._log = (self.path / "run.log").open(
                "w", encoding="utf-8", errors="backslashreplace"
            )
        except FileExistsError as error:
            raise OutputError(
                f"{self.path} is there already", do="Name another run, or leave it unnamed"
            ) from error
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def lock(self, options: Mapping[str, Any], checkpoint: Path) -> None:
        """Write what the run was started with, and a copy of its checkpoint."""
        locked = {
            "options": dict(options),
            "argv": sys.argv[1:],
            "versions": {name: version(name) for name in PACKAGES},
            "machine": {
                "python": platform.python_version(),
                "system": platform.platform(),
                "processor": platform.processor() or platform.machine(),
            },
        }
        try:
            text = json.dumps(locked, indent=1, default=str) + "\n"
            (self.path / "run.json").write_text(text, encoding="utf-8")
            shutil.copytree(checkpoint, self.path / "checkpoint")
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def message(self, topic: str, message: Mapping[str, Any]) -> None:
        """Append a published message."""
        self._append(self._messages, json.dumps({"topic": topic, **message}))

    def log(self, line: str) -> None:
        """Append a line to the run's log."""
        self._append(self._log, line)

    def close(self) -> None:
        """Close the files."""
        for file in (self._messages, self._log):
            try:
                file.close()
            except OSError:
                self.lost = True

    def discard(self) -> None:
        """Remove the folder of a run that was refused before it began."""
        shutil.rmtree(self.path, ignore_errors=True)
        for parent in self.path.parents[:2]:
            with suppress(OSError):  # other runs are in it
                parent.rmdir()

    def _append(self, file: IO[str], line: str) -> None:
        if self.lost:
            return
        try:
            file.write(line + "\n")
            file.flush()
        except OSError:
            self.lost = True


def _next_run(visit: Path) -> str:
    found = [re.fullmatch(r"run-(\d+)", path.name) for path in visit.glob("run-*")]
    return f"{max((int(match[1]) for match in found if match), default=0) + 1:02d}"


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be written",
        found=error.strerror or str(error),
        do="Choose another folder with --out, or free some space",
    )
