"""The folder of one run: where it lies and what is written into it as it happens."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from rtfeedback.errors import OutputError
from rtfeedback.online.recorder import Recorder
from rtfeedback.online.syncing import sync_folder, sync_tree
from rtfeedback.provenance import machine, versions


class SessionFolder:
    """`sub-XX/ses-YY/run-ZZ` below a folder: all that a run received and published.

    `NAME.xdf` holds EEG and markers as received, `messages.jsonl` what was published,
    `run.log` the log, `run.json` the locked settings, `checkpoint` a copy of that,
    `volumes.f4` the voxels of published volumes, where that is asked.

    Parameters
    ----------
    root : Path
        Usually `./sessions`.
    subject, session : str
    run : str or None
        The next free number where it is None.
    frames : bool
        Whether voxels are kept.

    Attributes
    ----------
    record : Recorder
        Writes while the run goes on.

    Raises
    ------
    OutputError
        If the run's folder is there already, or cannot be written.
    """

    def __init__(
        self, root: Path, *, subject: str, session: str, run: str | None, frames: bool = False
    ) -> None:
        visit = root / f"sub-{subject}" / f"ses-{session}"
        self.session = f"sub-{subject}_ses-{session}"
        self.run = run or _next_run(visit)
        self.path = visit / f"run-{self.run}"
        try:
            self.path.mkdir(parents=True)
            self.record = Recorder(self.path, f"{self.session}_run-{self.run}", frames=frames)
        except FileExistsError as error:
            raise OutputError(
                f"{self.path} is there already", do="Name another run, or leave it unnamed"
            ) from error
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def lock(self, options: Mapping[str, Any], checkpoint: Path, device: torch.device) -> None:
        """Write what the run was started with and on, and a copy of its checkpoint."""
        locked = {
            "options": dict(options),
            "argv": sys.argv[1:],
            "versions": versions(),
            "machine": machine(device),
        }
        try:
            text = json.dumps(locked, indent=1, default=str) + "\n"
            (self.path / "run.json").write_text(text, encoding="utf-8")
            shutil.copytree(checkpoint, self.path / "checkpoint")
            # Without these the record could not be replayed after a power cut.
            sync_tree(self.path / "run.json")
            sync_tree(self.path / "checkpoint")
            for folder in (self.path, *self.path.parents[:3]):
                sync_folder(folder)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def message(self, topic: str, encoded: str) -> None:
        """Append a published message, a JSON object."""
        self.record.line("messages", f'{{"topic":"{topic}",{encoded[1:]}')

    def frame(self, frame: bytes) -> None:
        """Append the voxels of a published volume, before its message, where they are kept."""
        self.record.frame(frame)

    def log(self, line: str) -> None:
        """Append a line to the run's log."""
        self.record.line("log", line)

    def close(self) -> None:
        """Write what is left, and close the files."""
        self.record.close()

    def discard(self) -> None:
        """Remove the folder of a run that was refused before it began."""
        shutil.rmtree(self.path, ignore_errors=True)
        for parent in self.path.parents[:2]:
            with suppress(OSError):  # other runs are in it
                parent.rmdir()


def _next_run(visit: Path) -> str:
    found = [re.fullmatch(r"run-(\d+)", path.name) for path in visit.glob("run-*")]
    return f"{max((int(match[1]) for match in found if match), default=0) + 1:02d}"


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be written",
        found=error.strerror or str(error),
        do="Choose another folder with --out, or free some space",
    )
