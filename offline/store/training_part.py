"""What may be fitted on: the training part's recordings and volumes, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from offline.bold import BoldRun, TargetMaker
from offline.eeg.fit_artefacts import Runs
from offline.eeg.recordings import Recording
from offline.splits.blocks import Interval
from offline.splits.parts import scanned
from offline.splits.split import RunKey, SplitConfig, split_runs
from offline.store.prepare_run import Checked, RunJob, read_run
from rtfeedback.signals import Bool, Float64


@dataclass(frozen=True, slots=True)
class TrainingPart:
    """The training part of a dataset.

    Attributes
    ----------
    jobs : tuple of RunJob
        The runs that have any of it.
    intervals : dict of str to tuple of (float, float)
        Seconds of each run's recording that belong to it.
    onsets : dict of str to float64, shape (n_volumes,)
        Of those runs' volumes, in the same seconds.
    """

    jobs: tuple[RunJob, ...]
    intervals: dict[str, tuple[Interval, ...]]
    onsets: dict[str, Float64]

    @classmethod
    def of(
        cls, jobs: Sequence[RunJob], checked: Mapping[str, Checked], config: SplitConfig
    ) -> TrainingPart:
        """Return the training part of these runs by a split.

        Raises
        ------
        DatasetError, ConfigError
            As `split_runs`.
        """
        keys = [
            RunKey(job.name, job.subject, job.run.session, order)
            for order, job in enumerate(jobs)
        ]
        split = split_runs(keys, config)
        intervals = {
            name: split.training_intervals(name, each.duration, scanned(each.onsets, each.tr))
            for name, each in checked.items()
        }
        own = tuple(job for job in jobs if intervals[job.name])
        onsets = {job.name: checked[job.name].onsets for job in own}
        return cls(own, {job.name: intervals[job.name] for job in own}, onsets)

    def recordings(self) -> Runs:
        """Return what reads the EEG of each run, as much of it as belongs here."""
        return {job.name: partial(_read, job, self.intervals[job.name]) for job in self.jobs}

    def fit_targets(
        self, maker: TargetMaker, localizers: Mapping[str, BoldRun] | None = None
    ) -> TargetMaker:
        """Fit what targets take; localizers on more runs, of no window, as well."""
        if not maker.takes_fitting:
            return maker.fit({})
        return maker.fit(
            {job.name: job.bold for job in self.jobs},
            parts={job.name: self._volumes(job.name) for job in self.jobs},
            localizers=localizers,
        )

    def _volumes(self, name: str) -> Bool:
        """Return which volumes of a run belong here: those whose onset does."""
        onsets = self.onsets[name]
        held = np.zeros(len(onsets), dtype=np.bool_)
        for begin, end in self.intervals[name]:
            held |= (onsets >= begin) & (onsets < end)
        return held


def _read(job: RunJob, intervals: Sequence[Interval]) -> Recording:
    """Read a run's EEG, and keep what lies in some intervals.

    Where there are several, what comes of them is put together: a step between two of them
    is one among minutes of EEG, and limits are medians.
    """
    recording = read_run(job).recording
    sfreq, n_times = recording.info.sfreq, len(recording.samples)
    edges = [
        (max(0, round(begin * sfreq)), min(n_times, round(end * sfreq)))
        for begin, end in intervals
    ]
    if edges == [(0, n_times)]:
        return recording
    kept = np.concatenate([recording.samples[first:last] for first, last in edges])
    return replace(recording, samples=kept, markers=())
