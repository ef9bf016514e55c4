"""Raw courses to what a target is measured in, by the whole run or by its past."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from offline.bold.cleaning import Cleaner
from offline.bold.settings import Scaling
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float64

UNIT = "percent signal change"
UNITS: dict[Scaling, str] = {
    "percent": UNIT,
    "zscore": f"z of {UNIT} by the training part",
    "time_course": "share above the subject's median",
    "none": "units of the image",
}
GAINS: dict[Scaling, float] = {"percent": 100.0, "zscore": 100.0, "time_course": 1.0}


def percent_signal_change(course: Float64, name: str) -> Float64:
    """Return a course, shape (n_volumes,), in per cent of its mean.

    Raises
    ------
    DatasetError
        If the mean is not positive, or smaller than the course's own changes: it was
        scaled before.
    """
    mean = course.mean()
    check_baseline(float(mean), name, "mean", least=float(np.nanstd(course)))
    return np.asarray(100 * (course / mean - 1))


def check_baseline(value: float, name: str, what: str, *, least: float = 0.0) -> None:
    """Refuse a baseline that nothing is a share of.

    Raises
    ------
    DatasetError
    """
    if not value > least:
        raise DatasetError(
            f"The BOLD of {name} has a {what} of {value:.3g}",
            do="Give an image in scanner units, not one that was z-scored or demeaned; or set"
            " scaling = 'none' in [bold]",
        )


@dataclass(frozen=True, slots=True)
class Scaler:
    """What makes targets of the raw courses of one run.

    Attributes
    ----------
    scaling : Scaling
        `time_course` is the normalisation of Bricman & Borst 2021, EEG2fMRI: a value
        divided by the subject's median volume, less 1.
    cleaner : Cleaner
    causal : bool
        Whether each volume is scaled and cleaned by those up to it alone.
    settle : float
        Seconds at the start that are NaN, where it is causal.
    """

    scaling: Scaling
    cleaner: Cleaner
    causal: bool = False
    settle: float = 0.0

    def __call__(self, raw: Float64, medians: Float64 | None = None) -> Float64:
        """Return scaled and cleaned courses, shape (n_volumes, n_courses).

        A course whose baseline is not positive is zero throughout: it has no signal to
        change. A region with such a one is refused before.

        Parameters
        ----------
        raw : float64, shape (n_volumes, n_courses)
            In the image's units.
        medians : float64, shape (n_courses,), optional
            Of the subject's training runs, for `time_course`; else they are the run's own.
        """
        if self.causal:
            return self._so_far(raw)
        if self.scaling == "none":
            return self.cleaner(raw)
        if medians is None:
            medians = self._baseline(raw)
        alive = medians > 0
        safe = np.where(alive, medians, 1.0)
        scaled = GAINS[self.scaling] * (raw / safe - 1)
        return np.asarray(np.where(alive, self.cleaner(scaled), self._dead(raw)))

    def _baseline(self, raw: Float64) -> Float64:
        """Return mean or median of each course over the volumes that are kept."""
        kept = raw if self.cleaner.keep is None else raw[self.cleaner.keep]
        if self.scaling == "time_course":
            return np.asarray(np.median(kept, axis=0))
        # One contiguous course at a time: sums over a matrix's columns round otherwise.
        return np.asarray(np.ascontiguousarray(kept.T).mean(axis=1))

    def _so_far(self, raw: Float64) -> Float64:
        """Return at each volume what the run so far would give, NaN until it has settled."""
        weights, keep = self.cleaner.causal, self._kept(len(raw))
        if self.scaling == "none":
            courses = weights @ raw
        else:
            baseline = _running(raw, keep, median=self.scaling == "time_course")
            alive = baseline > 0
            share = (weights @ raw) / np.where(alive, baseline, 1.0)
            constant = weights.sum(axis=1, keepdims=True)
            courses = np.where(alive, GAINS[self.scaling] * (share - constant), 0.0)
        unknown = ~keep
        unknown[: max(1, int(np.ceil(self.settle / self.cleaner.tr)))] = True
        courses[unknown] = np.nan
        return np.asarray(courses)

    def _kept(self, n_volumes: int) -> Bool:
        keep = self.cleaner.keep
        return np.ones(n_volumes, dtype=np.bool_) if keep is None else keep.copy()

    def _dead(self, raw: Float64) -> Float64:
        """Return zeros, NaN where a volume is scrubbed, shape (n_volumes, 1)."""
        return np.where(self._kept(len(raw)), 0.0, np.nan)[:, None]


def _running(raw: Float64, keep: Bool, *, median: bool) -> Float64:
    """Return mean or median of each course over the volumes that are kept, up to each."""
    kept = pd.DataFrame(np.where(keep[:, None], raw, np.nan)).expanding()
    found = kept.median() if median else kept.mean()
    return np.asarray(found.fillna(0.0), dtype=np.float64)
