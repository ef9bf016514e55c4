"""The grid that a run's volumes keep to: the EEG's clock against the scanner's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtfeedback.online.trclock import ENOUGH
from rtfeedback.signals import Float64, Int64

MAD_TO_SD = 1.4826  # of a normal distribution


@dataclass(frozen=True, slots=True)
class Grid:
    """Volumes that follow each other evenly.

    Attributes
    ----------
    start : float
        Onset of volume 0, in seconds by the EEG's clock.
    tr : float
        From one volume to the next, in seconds by the EEG's clock.
    jitter : float or None
        Sd of the markers about the grid, in seconds; None where no markers showed it.
    """

    start: float
    tr: float
    jitter: float | None = None

    def at(self, numbers: Int64) -> Float64:
        """Return the onsets of volumes, shape (n,), in seconds."""
        return np.asarray(self.start + numbers * self.tr)

    def off(self, numbers: Int64, onsets: Float64) -> Float64:
        """Return by how much of a TR onsets are off the grid, shape (n,)."""
        return np.asarray((onsets - self.at(numbers)) / self.tr)

    def drift(self, tr: float) -> float:
        """Return how much slower the scanner runs than a TR says, in parts per million.

        By the EEG's clock: a scanner that is 10 ppm slow, an EEG clock that is 10 ppm
        fast, and a TR that its header rounds down by as much look the same.
        """
        return (self.tr / tr - 1) * 1e6


def fit_grid(numbers: Int64, onsets: Float64, tr: float) -> Grid:
    """Return the grid that marked volumes keep to, whatever a quarter of them do.

    Its TR is the median slope between markers half a run apart, which is Theil's
    incomplete method (Theil 1950, Proc. K. Ned. Akad. Wet. A 53: 386-392): quantised
    stamps hardly move it, nor do some that are far off. Of fewer than five markers it is
    the TR that is given.

    Parameters
    ----------
    numbers : int64, shape (n,)
        Rising.
    onsets : float64, shape (n,)
        In seconds.
    tr : float
        The TR that is expected, in seconds.
    """
    known = len(numbers) > ENOUGH
    if known:
        half = len(numbers) // 2
        tr = float(
            np.median((onsets[half:] - onsets[:-half]) / (numbers[half:] - numbers[:-half]))
        )
    starts = onsets - numbers * tr
    start = float(np.median(starts))
    jitter = MAD_TO_SD * float(np.median(np.abs(starts - start)))
    return Grid(start, tr, jitter if known else None)
