"""The runs of a store's datasets: those to be prepared, and those for localizers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from offline.bold import BoldRun
from offline.bold.localizer import LocalizerConfig
from offline.datasets.bids import Refused, ScannedRun
from offline.datasets.find_runs import find_runs
from offline.datasets.tables import read_json
from offline.store.prepare_config import PrepareConfig
from offline.store.prepare_run import RunJob, bold_run
from rtfeedback.errors import DatasetError, listed


@dataclass(slots=True)
class FoundJobs:
    """The runs of all datasets.

    Attributes
    ----------
    jobs : list of RunJob
        Those that windows come of.
    localizers : dict of str to BoldRun
        Those that localizers alone are fitted on: reserved for them, or without EEG.
    skipped : list of Refused
        Those that are seen to be broken.
    """

    jobs: list[RunJob] = field(default_factory=list)
    localizers: dict[str, BoldRun] = field(default_factory=dict)
    skipped: list[Refused] = field(default_factory=list)


def find_jobs(root: Path, config: PrepareConfig) -> FoundJobs:
    """Return the runs of the dataset at `root`, and of those that the config names.

    Raises
    ------
    DatasetError
        If a dataset has no run that can be used, or all are reserved for localizers.
    """
    localizers = [roi.localizer for roi in config.targets if roi.localizer]
    found = FoundJobs()
    _find_in(root, config, "", localizers, found)
    for dataset in config.datasets:
        own, prefix = config.of_dataset(dataset), f"{dataset.name}_"
        _find_in(root / dataset.path, own, prefix, localizers, found)
    if not found.jobs:
        raise DatasetError(
            "No run is left that windows could come of",
            found=f"Reserved for localizers are {listed(sorted(found.localizers))}",
            do="Name fewer tasks or runs in [targets.localizer], or leave out 'reserved'",
        )
    return found


def _find_in(
    root: Path,
    config: PrepareConfig,
    prefix: str,
    localizers: Sequence[LocalizerConfig],
    found: FoundJobs,
) -> None:
    """Add the runs of one dataset."""
    runs, truth = find_runs(root, config.layout, config.task), _truth(root)
    reserved = [each for each in localizers if each.reserved]
    for run in runs.runs:
        name, subject = prefix + run.name, prefix + run.subject
        if not _add_covered(found, name, subject, run, reserved):
            job = RunJob(name, subject, run, config, truth.get(run.name, {}))
            found.jobs.append(job)
    for scan in runs.scanned:
        _add_covered(found, prefix + scan.name, prefix + scan.subject, scan, localizers)
    found.skipped += [Refused(prefix + each.run, each.error) for each in runs.skipped]


def _add_covered(
    found: FoundJobs,
    name: str,
    subject: str,
    run: ScannedRun,
    localizers: Sequence[LocalizerConfig],
) -> bool:
    """Add a run that a localizer is looked for in; return whether it is one."""
    if not localizers:
        return False
    try:
        bold = bold_run(name, subject, run)
    except DatasetError as error:  # its sidecars
        found.skipped.append(Refused(name, error))
        return True
    covered = any(each.covers(bold) for each in localizers)
    if covered:
        found.localizers[name] = bold
    return covered


def _truth(root: Path) -> dict[str, dict[str, list[float]]]:
    """Return the noise-free courses of a simulated dataset, by run and region."""
    path = root / "derivatives" / "simulated" / "truth.json"
    runs = read_json(path)["runs"] if path.is_file() else {}
    return {
        run: {roi: facts["course"] for roi, facts in rois.items()} for run, rois in runs.items()
    }
