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
    what differs from one to the next is not in it.

    Parameters
    ----------
    recordings : sequence of Moments
        Of one subject.

    Returns
    -------
    float64, shape (2 * n_columns,)
        NaN where a column was never known.
    """
    n = np.sum([each.n for each in recordings], axis=0)
    total = np.sum([each.n * each.mean for each in recordings], axis=0)
    squares = np.sum([each.squares for each in recordings], axis=0)
    some = np.maximum(n, 1)
    row = np.concatenate([total / some, np.sqrt(squares / some)])
    return np.where(np.tile(n, 2) > 0, row, np.nan)
