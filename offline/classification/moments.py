"""Mean and sd over time, taken window by window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtfeedback.signals import Float64, Int64


class Moments:
    """Count, mean and sum of squares about it, of each column; NaN counts as nothing.

    Parameters
    ----------
    n_columns : int

    References
    ----------
    Welford 1962, Technometrics 4:419, doi:10.1080/00401706.1962.10490022.
    """

    def __init__(self, n_columns: int) -> None:
        self.n: Int64 = np.zeros(n_columns, np.int64)
        self.mean, self.squares = np.zeros((2, n_columns))

    def push(self, row: Float64) -> None:
        """Take a row, shape (n_columns,)."""
        known = ~np.isnan(row)
        self.n += known
        off = np.where(known, row - self.mean, 0.0)
        self.mean += off / np.maximum(self.n, 1)
        self.squares += off * np.where(known, row - self.mean, 0.0)


def mean_and_sd(recordings: Sequence[Moments]) -> Float64:
    """Return a subject's row: the mean of each column, then the sd of each.

    All windows count alike, of whichever recording. The sd is within recordings, so that
    what differs from one to the next is not in it; each takes a degree of freedom, or few
    windows would have a small sd, and groups be told apart by how long they were recorded.

    Parameters
    ----------
    recordings : sequence of Moments
        Of one subject.

    Returns
    -------
    float64, shape (2 * n_columns,)
        NaN where a column was never known; the sd also where it never was twice.
    """
    n = np.sum([each.n for each in recordings], axis=0)
    total = np.sum([each.n * each.mean for each in recordings], axis=0)
    squares = np.sum([each.squares for each in recordings], axis=0)
    free = n - np.sum([each.n > 0 for each in recordings], axis=0)
    mean, variance = total / np.maximum(n, 1), squares / np.maximum(free, 1)
    return np.concatenate([
        np.where(n > 0, mean, np.nan),
        np.where(free > 0, np.sqrt(variance), np.nan),
    ])  # fmt: skip
