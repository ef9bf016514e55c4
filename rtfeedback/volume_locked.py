"""How much of the EEG repeats from volume to volume: what the scanner puts into it."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, floor
from typing import Any

import numpy as np

from rtfeedback.signals import Float64

RATE = 125.0  # Hz: at most so many moments of a second are compared
ENOUGH = 8  # volumes before anything is said
MEMORY = 20.0  # volumes over which an average forgets


class VolumeLocked:
    """The share of the variance that repeats from TR to TR, in a running average.

    Gradient artefacts repeat with the volumes and are a hundred times larger than EEG, so
    raw in-scanner EEG comes near 1; EEG that was recorded outside, or corrected, comes
    near 0. The average over n volumes keeps 1/n of what does not repeat; that is taken
    out. Each volume counts alike, whatever its size, so that a movement or the filters'
    start, of millivolts, is one volume that does not repeat and no more. No marker is
    needed: the grid of volumes begins with the first sample.

    Parameters
    ----------
    tr : float
        Seconds from volume to volume. Clocks may differ by 50 ppm: that moves the grid by
        2 ms over the volumes that are averaged.
    sfreq : float
        Rate of the samples in hertz.
    n_channels : int

    Attributes
    ----------
    share : float or None
        The median over channels, from 0 to 1; None before enough volumes have come.
    """

    def __init__(self, tr: float, sfreq: float, n_channels: int) -> None:
        self._tr, self._period = tr, 1 / sfreq
        self._n_moments = max(2, round(tr * min(sfreq, RATE)))
        self._volume = np.zeros((self._n_moments, n_channels))
        self._begin(np.inf)

    def _begin(self, start: float) -> None:
        self._start, self._moment = start, 0  # the next one's number, over all volumes
        self._sum = np.zeros_like(self._volume)
        self._power = np.zeros(self._volume.shape[1])
        self._weight = self._squared_weight = 0.0
        self._n_volumes = 0
        self.share: float | None = None

    def push(self, filtered: Float64, stamps: Float64) -> None:
        """Take the chain's filtered signal, as its tap gives it.

        Parameters
        ----------
        filtered : float64, shape (n_times, n_channels)
        stamps : float64, shape (n_times,)
            Rising, in seconds. A volume that a gap falls into is left out; a clock that was
            set back by more than a TR begins anew.
        """
        gaps = np.flatnonzero(stamps[1:] - stamps[:-1] > self._tr) + 1
        for first, last in pairwise([0, *gaps.tolist(), len(stamps)]):
            if first < last:
                self._take(filtered[first:last], stamps[first:last])

    def _share(self) -> float:
        power = self._power / self._weight  # 1, or less where a channel was dead
        alive = power > 0
        if not alive.any():
            return 0.0
        average = np.mean((self._sum / self._weight) ** 2, axis=0)
        by_chance = self._squared_weight / self._weight**2
        share = (average[alive] / power[alive] - by_chance) / (1 - by_chance)
        return float(np.clip(np.median(share), 0.0, 1.0))

    def _take(self, x: Float64, stamps: Float64) -> None:
        if stamps[0] < self._time(self._moment) - self._tr:
            self._begin(float(stamps[0]))
        if stamps[0] > self._time(self._moment) + self._period:  # go on with a whole volume
            volume = ceil((stamps[0] - self._start) / self._tr - 1e-6)
            self._moment = volume * self._n_moments
        reached = (stamps[-1] + self._period / 2 - self._start) / self._tr
        n_reached = floor(reached * self._n_moments) + 1
        while self._moment < n_reached:  # up to the volume's end
            place = self._moment % self._n_moments
            n = min(self._n_moments - place, n_reached - self._moment)
            times = self._time(np.arange(self._moment, self._moment + n))
            rows = np.searchsorted(stamps, times - self._period / 2)
            self._volume[place : place + n] = x.take(rows, axis=0, mode="clip")
            self._moment += n
            if place + n == self._n_moments:
                self._add()

    def _time(self, moment: Any) -> Any:
        """Return when a moment is, or several are."""
        return self._start + moment * self._tr / self._n_moments

    def _add(self) -> None:
        keep = 1 - 1 / MEMORY
        size = np.sqrt(np.mean(self._volume**2, axis=0))
        alive = size > 0
        self._sum = keep * self._sum + self._volume / np.where(alive, size, 1.0)
        self._power = keep * self._power + alive
        self._weight = keep * self._weight + 1
        self._squared_weight = keep**2 * self._squared_weight + 1
        self._n_volumes += 1
        if self._n_volumes >= ENOUGH:
            self.share = self._share()
