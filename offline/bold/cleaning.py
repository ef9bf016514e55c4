"""Courses without drift, confounds and scrubbed volumes: by the whole run, or up to now."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from nilearn.signal import clean, create_cosine_drift

from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float64

FREE = 10  # volumes more than what is fitted to them, at the least, where confounds are


def without_drift(course: Float64, tr: float, period: float) -> Float64:
    """Take cosines slower than `period` seconds out of a course, shape (n_volumes,).

    A run no longer than half a period holds none of them: its mean and linear trend are
    all that can be told to be drift, and go. It looks at the whole run, so it is for
    targets and never for what is published.
    """
    return Cleaner(tr=tr, n_volumes=len(course), high_pass=period)(course[:, None])[:, 0]


@dataclass(frozen=True)
class Cleaner:
    """What takes drift, trend and confounds out of the courses of one run.

    Attributes
    ----------
    tr : float
        In seconds.
    n_volumes : int
    high_pass : float
        Period in seconds of the fastest drift; 0 for none.
    detrend : bool
    regressors : float64, shape (n_volumes, n_regressors), or None
        Confounds. They go with the drift in one regression, so that neither brings back
        what the other took (Lindquist et al. 2019, doi:10.1002/hbm.24528).
    keep : bool, shape (n_volumes,), or None
        Those that are not scrubbed; nothing is fitted to the others, which become NaN.
    """

    tr: float
    n_volumes: int
    high_pass: float = 128.0
    detrend: bool = False
    regressors: Float64 | None = None
    keep: Bool | None = None

    def __call__(self, courses: Float64) -> Float64:
        """Return courses cleaned, shape (n_volumes, n_courses)."""
        if self.keep is None:
            return self._cleaned(courses)
        cleaned = np.full(courses.shape, np.nan)
        cleaned[self.keep] = self._cleaned(courses)
        return cleaned

    def check(self, name: str) -> None:
        """Refuse a run whose volumes are too few for what is fitted to them.

        Raises
        ------
        DatasetError
        """
        if self.regressors is None and self.keep is None:
            return
        left = self.n_volumes if self.keep is None else int(self.keep.sum())
        fitted = self._columns.shape[1]
        if left - fitted < FREE:
            raise DatasetError(
                f"Too little of {name} is left to be cleaned",
                found=f"{left} of {self.n_volumes} volumes, and {fitted} columns of confounds"
                " and drift",
                do="Raise '[bold] scrub', name fewer confounds, or leave the run out",
            )

    def up_to(self, volume: int) -> Cleaner:
        """Return what would clean the run, had it ended after a volume."""
        n = volume + 1
        return Cleaner(
            tr=self.tr,
            n_volumes=n,
            high_pass=self.high_pass,
            detrend=self.detrend,
            regressors=None if self.regressors is None else self.regressors[:n],
            keep=None if self.keep is None else self.keep[:n],
        )

    @cached_property
    def causal(self) -> Float64:
        """Weights of the volumes in each cleaned one, had the run ended with it.

        Row t times a course is the last value that `up_to(t)` would give. What cleans is a
        projection, and so its own transpose: its last row is what it makes of an impulse
        at the last volume. Shape (n_volumes, n_volumes), lower triangular; rows of
        scrubbed volumes are zero.
        """
        weights = np.zeros((self.n_volumes, self.n_volumes))
        for volume in range(1, self.n_volumes):
            if self.keep is None or (self.keep[volume] and self.keep[:volume].any()):
                impulse = np.zeros((volume + 1, 1))
                impulse[-1] = 1.0
                cleaned = self.up_to(volume)(impulse)[:, 0]
                weights[volume, : volume + 1] = np.nan_to_num(cleaned)
        return weights

    @property
    def _short(self) -> bool:
        """Whether no cosine fits; nilearn rounds, and would warn."""
        return 2 * self.n_volumes * self.tr < self.high_pass * (1 + 1e-6)

    @cached_property
    def _columns(self) -> Float64:
        """Confounds and cosines, shape (n_volumes, n_columns)."""
        columns = np.zeros((self.n_volumes, 0)) if self.regressors is None else self.regressors
        if not self.high_pass or self._short:
            return columns
        times = np.arange(self.n_volumes) * self.tr
        return np.hstack([columns, create_cosine_drift(1 / self.high_pass, times)[:, :-1]])

    def _cleaned(self, courses: Float64) -> Float64:
        short = bool(self.high_pass) and self._short
        cosines = bool(self.high_pass) and not short
        # With confounds the cosines go in among them: nilearn leaves its own away, and
        # warns, where a confound looks like one of them.
        joined = self._columns if self.regressors is not None else None
        filtered = cosines and joined is None
        cleaned = clean(
            courses,
            t_r=self.tr,
            filter="cosine" if filtered else False,
            high_pass=1 / self.high_pass if filtered else None,
            detrend=self.detrend or short,
            confounds=joined,
            sample_mask=None if self.keep is None else np.flatnonzero(self.keep),
            standardize=None,
            ensure_finite=False,
        )
        return np.asarray(cleaned, dtype=np.float64)
