"""The space that some subjects span: standardised columns and their principal components."""

from __future__ import annotations

import numpy as np

from rtfeedback.signals import Float64

ROUNDING = 1e-6  # of a column's size: what varies by less is what float32 rounds by
RANK = 1e-10  # of the largest singular value: components below it are rounding


class Space:
    """Fitted to the rows of training subjects, and to nothing else.

    All components that these subjects vary in are kept, so that none is chosen: ridge
    penalties are the same on the components as on the columns, which are far more
    numerous than subjects are.

    Parameters
    ----------
    rows : float64, shape (n_subjects, n_columns)
        NaN where unknown, which becomes the mean.
    """

    def __init__(self, rows: Float64) -> None:
        known = ~np.isnan(rows)
        count = np.maximum(known.sum(axis=0), 1)
        self._mean = np.where(known, rows, 0.0).sum(axis=0) / count
        off = np.where(known, rows - self._mean, 0.0)
        sd = np.sqrt((off**2).sum(axis=0) / count)
        varies = sd > ROUNDING * np.abs(self._mean)
        # One row's squares are then about 1 in all, whatever the number of columns.
        size = np.sqrt(max(1, int(varies.sum())))
        self._scale = np.where(varies, 1.0 / (np.where(varies, sd, 1.0) * size), 0.0)
        _, singular, components = np.linalg.svd(off * self._scale, full_matrices=False)
        self._components = components[singular > RANK * max(singular[0], RANK)]

    @property
    def n(self) -> int:
        """How many components there are; none where all subjects are alike."""
        return len(self._components)

    def filled(self, rows: Float64) -> Float64:
        """Return rows with the training's mean where they are unknown."""
        return np.where(np.isnan(rows), self._mean, rows)

    def __call__(self, rows: Float64) -> Float64:
        """Return the components of rows, shape (n_rows, n)."""
        return np.asarray((self.filled(rows) - self._mean) * self._scale @ self._components.T)
