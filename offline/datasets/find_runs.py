"""The runs of a dataset that have both EEG and BOLD, and the files that go with each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from offline.datasets.bids import FoundRuns, PairedRun, Refused, ScannedRun, bold_sidecar
from offline.datasets.fetched import check_fetched
from offline.datasets.find_files import (
    FilesByRun,
    check_root,
    find_files,
    is_excluded,
    labels_of,
)
from offline.datasets.layout import BIDS, LayoutConfig, RunFile, find_by_pattern
from offline.datasets.pairs import read_pairs, single_pair
from offline.progress import say
from rtfeedback.errors import DatasetError, listed


def find_runs(
    root: Path, layout: LayoutConfig | None = None, task: str | None = None
) -> FoundRuns:
    """Return a dataset's runs, and those that are broken.

    What has EEG alone, or BOLD alone, is no run, and told. Runs come in the order of their
    names, and those of a session in that of their recording, where all say when that was.

    Parameters
    ----------
    root : Path
    layout : LayoutConfig, optional
        Where the files are; BIDS's places without.
    task : str, optional
        Only this one.

    Raises
    ------
    DatasetError
        If `root` is no BIDS dataset, or has no run that can be used.
    """
    layout = layout or LayoutConfig()
    if layout.pair or layout.pairs:
        return FoundRuns(_named_runs(root, layout, task), [], [])
    check_root(root, layout)
    eeg = find_files(root, "eeg", layout, task)
    bold = find_files(root, "bold", layout, task)
    pairs, skipped = _pair(eeg, bold)
    if not pairs and not skipped:
        of_task = f" of task '{task}'" if task else ""
        counts = [sum(map(len, halves.values())) for halves in (eeg, bold)]
        raise DatasetError(
            f"{root} has no run with both EEG and BOLD",
            found=f"{counts[0]} EEG and {counts[1]} BOLD files{of_task}",
            do="EEG and BOLD of a run need the same sub, ses, task and run entities",
        )
    _tell_unpaired(eeg, bold)
    tables = _Tables(
        _tables(root, layout.confounds, layout), _tables(root, layout.events, layout)
    )
    runs = []
    for pair in sorted(pairs):
        try:
            check_fetched(pair.eeg.path)
            check_fetched(pair.bold.path)
        except DatasetError as error:
            skipped.append(Refused(pair.name, error))
        else:
            runs.append(_paired_run(root, pair, layout, tables))
    if not runs:
        raise skipped[0].error
    scanned = _scanned_runs(root, bold, eeg, layout, tables)
    return FoundRuns(_as_recorded(runs), sorted(skipped, key=lambda each: each.run), scanned)


def _named_runs(root: Path, layout: LayoutConfig, task: str | None) -> list[PairedRun]:
    """Return the runs that are named file by file."""
    if layout.pair:
        return [single_pair(root, layout.pair, layout)]
    runs = read_pairs(root / layout.pairs, layout)
    found = [
        run for run in runs if task in (None, run.task) and not is_excluded(run.name, layout)
    ]
    if not found:
        raise DatasetError(
            f"{root / layout.pairs} has no run" + (f" of task '{task}'" if task else ""),
            found=", ".join(run.name for run in runs),
            do="Name another task, or exclude fewer runs",
        )
    return found


def _tables(root: Path, patterns: Sequence[str], layout: LayoutConfig) -> list[RunFile]:
    """Return the tables that patterns name, those of the first pattern first."""
    named = [each for each in patterns if each != BIDS]  # whose events go by inheritance
    return [file for each in named for file in find_by_pattern(root, each, layout.tasks)]


class _Tables(NamedTuple):
    """The tables that patterns name."""

    confounds: Sequence[RunFile]
    events: Sequence[RunFile]


class _Pair(NamedTuple):
    name: str
    eeg: RunFile
    bold: RunFile


def _pair(eeg: FilesByRun, bold: FilesByRun) -> tuple[list[_Pair], list[Refused]]:
    pairs: list[_Pair] = []
    skipped = []
    for entities in eeg.keys() & bold.keys():
        first, second = eeg[entities], bold[entities]
        if len(first) > 1 or len(second) > 1:  # their other entities tell
            named = {each.name: each for each in second}
            both = [(each, named[each.name]) for each in first if each.name in named]
            if not both:
                skipped.append(_ambiguous(first, second))
        else:
            both = [(first[0], second[0])]
        pairs += [_Pair(_name(*each), *each) for each in both]
    return pairs, skipped


def _ambiguous(eeg: Sequence[RunFile], bold: Sequence[RunFile]) -> Refused:
    files = ", ".join(each.path.name for each in (*eeg, *bold))
    error = DatasetError(
        f"Which EEG and BOLD of {eeg[0].name} go together cannot be told",
        found=files,
        do="Name the one of each by patterns in layout.eeg and layout.bold",
    )
    return Refused(eeg[0].name, error)


def _name(eeg: RunFile, bold: RunFile) -> str:
    return eeg.name if eeg.from_bids or not bold.from_bids else bold.name


def _tell_unpaired(eeg: FilesByRun, bold: FilesByRun) -> None:
    for has, lacks, missing in ((eeg, bold, "BOLD"), (bold, eeg, "EEG")):
        names = sorted(file.name for key in has.keys() - lacks.keys() for file in has[key])
        if names:
            text = f"no windows, as there is no {missing} of theirs: {listed(names)}"
            say(text)


def _paired_run(root: Path, pair: _Pair, layout: LayoutConfig, tables: _Tables) -> PairedRun:
    known = _scanned_run(root, pair.name, (pair.eeg, pair.bold), layout, tables)
    return PairedRun(
        **{each.name: getattr(known, each.name) for each in fields(known)},
        eeg=pair.eeg.path,
        onset=layout.onset,
        recording=layout.recording,
    )


def _scanned_runs(
    root: Path, bold: FilesByRun, eeg: FilesByRun, layout: LayoutConfig, tables: _Tables
) -> list[ScannedRun]:
    """Return the runs that have BOLD alone, but for those that were not fetched."""
    found = []
    for key in bold.keys() - eeg.keys():
        for file in bold[key]:
            with suppress(DatasetError):
                check_fetched(file.path)
                found.append(_scanned_run(root, file.name, (file,), layout, tables))
    return sorted(found, key=lambda run: run.name)


def _scanned_run(
    root: Path, name: str, files: Sequence[RunFile], layout: LayoutConfig, tables: _Tables
) -> ScannedRun:
    """Return a run by its files, the BOLD's the last."""
    subject, session, task, run = labels_of(name)
    return ScannedRun(
        name=name,
        subject=subject,
        session=session,
        task=task,
        run=run,
        bold=files[-1].path,
        root=root,
        tr=layout.tr,
        events=_of_run(tables.events, files),
        confounds=_of_run(tables.confounds, files),
    )


def _of_run(tables: Sequence[RunFile], files: Sequence[RunFile]) -> Path | None:
    """Return the first table of a run, and of no other acquisition of it."""
    known = {part for file in files for part in file.name.split("_")}
    for table in tables:
        own = not table.from_bids or known.issuperset(table.name.split("_"))
        if own and table.entities == files[0].entities:
            return table.path
    return None


def _as_recorded(runs: list[PairedRun]) -> list[PairedRun]:
    """Return runs with those of each session in the order of their AcquisitionTime."""
    found: list[PairedRun] = []
    for _, session in groupby(runs, lambda run: (run.subject, run.session)):
        timed = [(_time_of_day(run), run) for run in session]
        if all(time for time, _ in timed):
            timed.sort(key=lambda each: each[0])
        found += [run for _, run in timed]
    return found


def _time_of_day(run: PairedRun) -> tuple[float, ...]:
    """Return hours, minutes and seconds as the BOLD's sidecar states them, else nothing."""
    try:
        stated = str(bold_sidecar(run).get("AcquisitionTime", ""))
        return tuple(float(part) for part in stated.split(":"))
    except (DatasetError, ValueError):  # told where the run is prepared
        return ()
