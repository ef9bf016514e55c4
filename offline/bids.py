"""Find the runs of a BIDS dataset that have both EEG and BOLD, with their sidecars."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from mne_bids import BIDSPath, find_matching_paths

from offline.recordings import Recording, read_recording
from rtfeedback.channels import canonical, kind_of
from rtfeedback.errors import DatasetError
from rtfeedback.naming import name_channels
from rtfeedback.signals import Float64, Marker

EEG_EXTENSIONS = [".vhdr", ".edf", ".bdf", ".set", ".fif"]
BOLD_EXTENSIONS = [".nii.gz", ".nii"]
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


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
    stated = str(sidecar(run.eeg, "eeg").get("EEGReference", ""))
    if stated.strip().lower() == "n/a":  # BIDS's word for nothing
        stated = ""
    info = replace(info, kinds=kinds, reference=info.reference or canonical(stated))
    return replace(recording, info=info)


def named_markers(run: PairedRun) -> tuple[Marker, ...]:
    """Return the rows of the events.tsv beside a run's EEG as markers, by their names.

    A file made by mne-bids calls its markers `S  1`; what they mean is in that table only.
    """
    path = Path(run.eeg.fpath).parent / f"{run.name}_events.tsv"
    if not path.is_file():
        return ()
    table = read_table(path)
    names = table.get("trial_type") or table.get("value") or []
    try:
        onsets = [float(onset) for onset in table.get("onset", [])]
    except ValueError as error:
        raise DatasetError(
            f"{path} has an onset that is no number", found=str(error), do="Mend the table"
        ) from error
    pairs = zip(onsets, names, strict=False)
    found = [Marker(onset, name) for onset, name in pairs if isfinite(onset)]
    return tuple(sorted(found, key=lambda marker: marker.stamp))


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


def read_confounds(run: PairedRun, n_volumes: int) -> dict[str, Float64]:
    """Return a run's `motion`, shape (n_volumes, 6), and `global_signal`, where known.

    Raises
    ------
    DatasetError
        If the table cannot be read, or does not go with the volumes.
    """
    if run.confounds is None:
        return {}
    table = read_table(run.confounds)
    found: dict[str, Float64] = {}
    try:
        if all(name in table for name in MOTION):
            found["motion"] = np.array([table[name] for name in MOTION], dtype=np.float64).T
        if "global_signal" in table:
            found["global_signal"] = np.array(table["global_signal"], dtype=np.float64)
    except ValueError as error:
        raise DatasetError(
            f"{run.confounds} has a cell that is no number",
            found=str(error),
            do="Take the confounds again from the processing that made them",
        ) from error
    for name, values in found.items():
        if len(values) != n_volumes:
            raise DatasetError(
                f"{run.confounds} does not go with its BOLD",
                found=f"{len(values)} rows of {name}, {n_volumes} volumes",
                do="Take confounds and BOLD from the same processing",
            )
    return found


def events_file(run: PairedRun) -> Path | None:
    """Return the events beside a run's BOLD, or None."""
    found = _inherited(run.bold, "events.tsv")
    return found[-1] if found else None


def sidecar(path: BIDSPath, suffix: str) -> dict[str, Any]:
    """Return what a file's JSON sidecars say together, by BIDS inheritance."""
    content: dict[str, Any] = {}
    for file in _inherited(path, f"{suffix}.json"):
        content |= read_json(file)
    return content


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
    """Read a BIDS table as columns of text.

    Raises
    ------
    DatasetError
        If it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="\t")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"The table {path} cannot be read",
            found=getattr(error, "strerror", None) or str(error),
            do="Mend it, or take it anew",
        ) from error
    return {name: [row[name] or "" for row in rows] for name in reader.fieldnames or ()}


def _inherited(path: BIDSPath, ending: str) -> list[Path]:
    """Return the sidecars that apply to a file, the one that counts most last."""
    file, root = Path(path.fpath), Path(path.root)
    entities = set(file.name.split("_")[:-1])
    found: list[Path] = []
    for folder in (root, *reversed([each for each in file.parents if root in each.parents])):
        named = sorted(folder.glob(f"*{ending}"), key=lambda each: (len(each.name), each.name))
        for sidecar in named:
            *labels, last = sidecar.name.split("_")
            if last == ending and entities.issuperset(labels):
                found.append(sidecar)
    return found


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
    found = _inherited(eeg, "channels.tsv")
    table = read_table(found[-1]) if found else {}
    if "name" not in table or "type" not in table:
        return {}
    names = name_channels(table["name"], table["type"]).channels
    return dict(zip(names, table["type"], strict=True))
