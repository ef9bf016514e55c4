"""The recordings of a dataset's EEG, whether or not there is BOLD of them."""

from __future__ import annotations

from pathlib import Path

from offline.datasets.bids import PairedRun
from offline.datasets.find_files import EXTENSIONS, check_root, find_files, labels_of
from offline.datasets.layout import LayoutConfig, RunFile
from rtfeedback.errors import DatasetError


def find_eeg(root: Path, task: str | None = None) -> list[PairedRun]:
    """Return the EEG recordings of a BIDS dataset, whether or not there is BOLD of them.

    Raises
    ------
    DatasetError
        If `root` is no BIDS dataset, or has no EEG.
    """
    layout = LayoutConfig()
    check_root(root, layout)
    by_run = find_files(root, "eeg", layout, task)
    files = sorted((file for each in by_run.values() for file in each), key=lambda f: f.name)
    if not files:
        raise DatasetError(
            f"{root} has no EEG recording" + (f" of task '{task}'" if task else ""),
            found=f"No sub-*/**/eeg/*_eeg that ends in {', '.join(EXTENSIONS['eeg'])}",
            do="Name a BIDS dataset that has EEG" + (", or another task" if task else ""),
        )
    return [_eeg_alone(root, file) for file in files]


def _eeg_alone(root: Path, file: RunFile) -> PairedRun:
    subject, session, task, run = labels_of(file.name)
    return PairedRun(
        name=file.name,
        subject=subject,
        session=session,
        task=task,
        run=run,
        bold=None,
        root=root,
        eeg=file.path,
    )
