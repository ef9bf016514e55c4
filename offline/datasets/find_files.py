"""The files of a dataset's EEG, or BOLD, by the run that they are of."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from mne_bids import find_matching_paths

from offline.datasets.layout import (
    BIDS,
    Entities,
    LayoutConfig,
    RunFile,
    find_by_pattern,
    run_file,
)
from rtfeedback.errors import DatasetError

EXTENSIONS = {  # of several formats of one run the first
    "eeg": (".vhdr", ".edf", ".bdf", ".set", ".fif"),
    "bold": (".nii.gz", ".nii"),
}

Modality = Literal["eeg", "bold"]
FilesByRun = dict[Entities, list[RunFile]]


def find_files(
    root: Path, modality: Modality, layout: LayoutConfig, task: str | None = None
) -> FilesByRun:
    """Return the files of a modality by the run; of the first pattern that has any of it.

    Parameters
    ----------
    root : Path
    modality : "eeg" or "bold"
    layout : LayoutConfig
        Where they are, and what is left out.
    task : str, optional
        Only this one.
    """
    found: FilesByRun = {}
    for pattern in layout.eeg if modality == "eeg" else layout.bold:
        files = (
            _find_bids(root, modality)
            if pattern == BIDS
            else find_by_pattern(root, pattern, layout.tasks)
        )
        of_pattern: FilesByRun = {}
        for file in files:
            if task in (None, file.entities.task) and not is_excluded(file.name, layout):
                of_pattern.setdefault(file.entities, []).append(file)
        found = of_pattern | found
    return found


def check_root(root: Path, layout: LayoutConfig) -> None:
    """Refuse a folder that is no dataset of a layout.

    Raises
    ------
    DatasetError
    """
    described = (root / "dataset_description.json").is_file()
    if described or (root.is_dir() and not layout.all_bids):
        return
    raise DatasetError(
        f"{root} is not a BIDS dataset",
        found="No dataset_description.json in it" if root.is_dir() else "No such folder",
        do="Name the folder that holds it; 'rtfeedback simulate' makes one",
    )


def is_excluded(name: str, layout: LayoutConfig) -> bool:
    """Tell whether a layout leaves a run out."""
    return any(fnmatchcase(name, pattern) for pattern in layout.exclude)


def labels_of(name: str) -> Iterable[str]:
    """Return a run's subject, session, task and run by its name, `""` where there is none."""
    parts = dict(part.split("-", 1) for part in name.split("_") if "-" in part)
    return tuple(parts.get(short, "") for short in ("sub", "ses", "task", "run"))


def _find_bids(root: Path, modality: Modality) -> list[RunFile]:
    """Return the raw data's files."""
    extensions = EXTENSIONS[modality]
    paths = find_matching_paths(
        root, suffixes=modality, extensions=list(extensions), ignore_nosub=True
    )
    whole = [path for path in paths if path.split in (None, "1", "01")]
    whole.sort(key=lambda path: extensions.index(path.extension))
    found: dict[str, RunFile] = {}
    for path in whole:
        name = path.basename.rsplit("_", 1)[0]
        found.setdefault(name, run_file(Path(path.fpath), name))
    return [found[name] for name in sorted(found)]
