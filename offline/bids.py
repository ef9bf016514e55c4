"""Find the runs of a BIDS dataset that have both EEG and BOLD, with their sidecars."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mne_bids import BIDSPath, find_matching_paths

from offline.recordings import Recording, read_recording
from rtfeedback.channels import canonical, kind_of
from rtfeedback.errors import DatasetError

EEG_EXTENSIONS = [".vhdr", ".edf", ".bdf", ".set", ".fif"]
BOLD_EXTENSIONS = [".nii.gz", ".nii"]


@dataclass(frozen=True, slots=True)
class PairedRun:
    """One run's files.

    Attributes
    ----------
    name : str
        BIDS entities, such as `sub-01_task-motorimagery_run-01`.
    subject, session, task, run : str
        The entities' values, `""` where there is none.
    eeg, bold : BIDSPath
    confounds : Path or None
        The run's confounds table, from a derivative.
    """

    name: str
    subject: str
    session: str
    task: str
    run: str
    eeg: BIDSPath
    bold: BIDSPath
    confounds: Path | None


def find_paired_runs(root: Path, *, task: str | None = None) -> list[PairedRun]:
    """Return the runs that have both EEG and BOLD, in the order of their names.

    Raises
    ------
    DatasetError
        If `root` is no BIDS dataset, or has no such run.
    """
    if not (root / "dataset_description.json").is_file():
        raise DatasetError(
            f"{root} is not a BIDS dataset",
            found="No dataset_description.json in it" if root.is_dir() else "No such folder",
            do="Name the folder that holds it; 'rtfeedback simulate' makes one",
        )
    eeg = _find(root, "eeg", EEG_EXTENSIONS, task)
    bold = _find(root, "bold", BOLD_EXTENSIONS, task)
    names = sorted(eeg.keys() & bold.keys())
    if not names:
        of_task = f" of task '{task}'" if task else ""
        raise DatasetError(
            f"{root} has no run with both EEG and BOLD",
            found=f"{len(eeg)} EEG and {len(bold)} BOLD files{of_task}",
            do="EEG and BOLD of a run need the same sub, ses, task and run entities",
        )
    return [_paired_run(root, name, eeg[name], bold[name]) for name in names]


def read_eeg(run: PairedRun) -> Recording:
    """Read a run's EEG, with the channel types and reference that its sidecars state."""
    recording = read_recording(Path(run.eeg.fpath))
    types = _channel_types(run.eeg)
    info = recording.info
    kinds = tuple(
        kind_of(label, types[label]) if types.get(label) else kind
        for label, kind in zip(info.channels, info.kinds, strict=True)
    )
    stated = canonical(str(sidecar(run.eeg, "eeg").get("EEGReference", "")))
    info = replace(info, kinds=kinds, reference=info.reference or stated)
    return replace(recording, info=info)


def repetition_time(run: PairedRun) -> float:
    """Return the TR that a BOLD run's sidecar states, in seconds.

    Raises
    ------
    DatasetError
        If it states none.
    """
    stated = sidecar(run.bold, "bold").get("RepetitionTime")
    if not isinstance(stated, int | float) or not stated > 0:
        raise DatasetError(
            f"The BOLD of {run.name} has no RepetitionTime",
            found=f"{stated!r} in its JSON sidecars",
            do="State RepetitionTime, in seconds, in the run's or the task's _bold.json",
        )
    return float(stated)


def events_file(run: PairedRun) -> Path | None:
    """Return the events beside a run's BOLD, or None."""
    found = run.bold.find_matching_sidecar(suffix="events", extension=".tsv", on_error="ignore")
    return Path(found) if found else None


def sidecar(path: BIDSPath, suffix: str) -> dict[str, Any]:
    """Return a file's JSON sidecar, found by BIDS inheritance; {} where there is none."""
    found = path.find_matching_sidecar(suffix=suffix, extension=".json", on_error="ignore")
    return read_json(Path(found)) if found else {}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    DatasetError
        If it is broken.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} is broken", found=str(error), do="Mend it, or take it anew"
        ) from error
    return content


def read_table(path: Path) -> dict[str, list[str]]:
    """Read a BIDS table as columns of text."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {key: [row[key] or "" for row in rows] for key in (rows[0] if rows else {})}


def _find(
    root: Path, suffix: str, extensions: list[str], task: str | None
) -> dict[str, BIDSPath]:
    found = find_matching_paths(root, suffixes=suffix, extensions=extensions, tasks=task)
    derivatives = root / "derivatives"
    return {
        path.basename.rsplit("_", 1)[0]: path
        for path in found
        if derivatives not in Path(path.fpath).parents
    }


def _paired_run(root: Path, name: str, eeg: BIDSPath, bold: BIDSPath) -> PairedRun:
    tables = sorted((root / "derivatives").rglob(f"{name}_desc-confounds_timeseries.tsv"))
    return PairedRun(
        name=name,
        subject=eeg.subject,
        session=eeg.session or "",
        task=eeg.task or "",
        run=eeg.run or "",
        eeg=eeg,
        bold=bold,
        confounds=tables[0] if tables else None,
    )


def _channel_types(eeg: BIDSPath) -> dict[str, str]:
    found = eeg.find_matching_sidecar(suffix="channels", extension=".tsv", on_error="ignore")
    table = read_table(Path(found)) if found else {}
    if "name" not in table or "type" not in table:
        return {}
    names = [canonical(name) for name in table["name"]]
    return dict(zip(names, table["type"], strict=True))
