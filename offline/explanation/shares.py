"""Which part of the EEG predictions differ by: each part's share, all of them 1."""

from __future__ import annotations

import numpy as np

from rtfeedback.errors import CheckpointError
from rtfeedback.signals import Float64

ABOVE = 1e-6  # root mean square in z of what predictions have to differ by, to be told apart


class Shares:
    """Contributions to differences of predictions, summed up over pairs of windows.

    With contributions a_i of a pair that add up to the difference d of its predictions, the
    share of part i is sum(a_i d) / sum(d**2) over the pairs. Shares add up to 1, over all
    parts or over those of a channel, and what pushes predictions now up and now down for
    nothing gets none. A part whose contributions go against the whole has one below 0.

    Parameters
    ----------
    shape : tuple of int
        (n_channels, n_bands, n_lags).
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._with_difference = np.zeros(shape)
        self._with_level, self._squares = np.zeros(shape[:2]), np.zeros(shape[:2])
        self._levels = np.zeros(shape[:2])
        self._differences = self._missing = 0.0
        self._n = 0

    def add(self, contributions: Float64, difference: float, change: Float64) -> None:
        """Take a pair of windows.

        Parameters
        ----------
        contributions : float64, shape (n_channels, n_bands, n_lags)
        difference : float
            Of the predictions, in z.
        change : float64, shape (n_channels, n_bands, n_lags)
            How much more there is of each part, in the first window than in the second.
        """
        self._n += 1
        self._with_difference += contributions * difference
        self._with_level += (contributions * change).sum(-1)
        self._squares += np.square(contributions).sum(-1)
        self._levels += np.square(change).sum(-1)
        self._differences += difference**2
        self._missing += (difference - contributions.sum()) ** 2

    def share(self) -> Float64:
        """Return the share of each part, (n_channels, n_bands, n_lags).

        Raises
        ------
        CheckpointError
            If the model predicts the same of every window.
        """
        if self._differences <= self._n * ABOVE**2:
            raise CheckpointError(
                "The model predicts the same whatever the EEG, so there is nothing to explain",
                found=f"{self._n} pairs of windows whose predictions are alike",
                do="Look at its skill, and train another: a weaker penalty, or longer",
            )
        return np.asarray(self._with_difference / self._differences)

    def direction(self) -> Float64:
        """Return whether more power means more of the target, (n_channels, n_bands).

        The cosine, from -1 to 1, between contributions and how much more there is of each
        part; 0 where nothing contributes.
        """
        size = np.sqrt(self._squares * self._levels)
        safe = np.where(size > 0, size, 1.0)
        return np.asarray(self._with_level / safe)

    def unexplained(self) -> float:
        """Return how far contributions are from adding up: 0 is exact, 1 is useless."""
        return float(np.sqrt(self._missing / self._differences))
