"""Volumes at even intervals in a recording's samples, as their gradient artefact shows them.

Markers come late by a sample or are missing, and the scanner's clock is not the
amplifier's; the artefact itself, a hundred times the EEG, tells to a hundredth of a sample
how far each volume is from the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, stats

from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float32, Float64
from rtfeedback.volume_locked import ENOUGH

WHOLE = 1e-3  # samples: a point so near to one needs no interpolation
ONE_CLOCK = 0.2  # samples over a run: of less drift there is none
ALIKE = 0.5  # share of a volume's variance that the next one repeats, while gradients switch
ROUNDS = 12  # of aligning at most, each by less than the last one
ALIGNED = 0.01  # samples over a run


@dataclass(frozen=True, slots=True)
class Grid:
    """Volumes at even intervals, in samples of the recording.

    Attributes
    ----------
    start, spacing : float
        First sample of the first volume, and samples from each to the next; both may lie
        between samples.
    n_volumes : int
    """

    start: float
    spacing: float
    n_volumes: int

    @property
    def n_times(self) -> int:
        """Points of a volume on the grid: the whole number next to its spacing."""
        return round(self.spacing)

    @property
    def is_of_samples(self) -> bool:
        """Whether each of its points is a sample."""
        off = abs(self.start - round(self.start))
        return off + self.n_volumes * abs(self.spacing - self.n_times) < WHOLE

    @property
    def samples(self) -> slice:
        """Which samples lie in its volumes."""
        end = self.start + self.n_volumes * self.spacing
        return slice(int(np.ceil(self.start - WHOLE)), int(np.ceil(end - WHOLE)))

    def take(self, x: Float64) -> Float64:
        """Return signals at its points, shape (n_channels, n_volumes, n_times).

        Parameters
        ----------
        x : float64, shape (n_channels, n_samples)
            The whole recording.
        """
        shape = len(x), self.n_volumes, self.n_times
        if self.is_of_samples:
            return x[:, self.samples].reshape(shape)
        points = np.arange(self.n_volumes * self.n_times, dtype=np.float64)
        return _at(x, self.start + points * (self.spacing / self.n_times)).reshape(shape)

    def give_back(self, volumes: Float64) -> Float64:
        """Return what has values at its points at `samples`, shape (n_channels, n_samples)."""
        flat = volumes.reshape(len(volumes), -1)
        if self.is_of_samples:
            return flat
        steps: Float64 = np.arange(self.samples.start, self.samples.stop) - self.start
        return _at(flat, steps * (self.n_times / self.spacing))


def find_volumes(
    samples: Float32, sfreq: float, onsets: Float64, *, tr: float, name: str
) -> Grid:
    """Return all whole volumes of a recording whose gradients are those of the scan.

    The onsets are laid on a line, the line is aligned by the artefact, and what was scanned
    before the first onset or after the last one is found by its artefact as well.

    Parameters
    ----------
    samples : float32, shape (n_times, n_channels)
        With gradient artefact.
    sfreq : float
        Hertz.
    onsets : float64, shape (n_volumes,)
        Seconds from the first sample; NaN where unknown.
    tr : float
        Seconds, of which the onsets may differ by 1 %.
    name : str
        The run's, for errors.

    Raises
    ------
    DatasetError
        If too few onsets are known, or they are not those of volumes.
    """
    known = np.flatnonzero(np.isfinite(onsets))
    if len(known) < ENOUGH:
        raise DatasetError(
            f"The gradient artefact in the EEG of {name} cannot be removed",
            found=f"{len(known)} volumes have a known onset; a template takes {ENOUGH}",
            do="Mend the volume markers, or correct the EEG before",
        )
    line = stats.siegelslopes(onsets[known] * sfreq, known)  # robust: a marker may be off
    start, spacing = float(line.intercept), float(line.slope)
    if abs(spacing / (tr * sfreq) - 1) > 0.01:
        raise DatasetError(
            f"The gradient artefact in the EEG of {name} cannot be removed",
            found=f"Volumes begin every {spacing / sfreq:.4g} s, and the TR is {tr:.4g} s",
            do="Mend the volume markers or the TR: artefacts repeat with the volumes",
        )
    sizes = np.argsort(np.ptp(samples[:: max(1, round(sfreq / 500))], axis=0))
    large = sizes[3 * len(sizes) // 4]  # and no electrode that hangs loose
    x = samples[:, large].astype(np.float64)[None]
    grid = _within(start, spacing, len(onsets), len(samples))
    for _ in range(ROUNDS):
        was = grid
        grid = _aligned(x, was, len(samples))
        if abs(grid.spacing - was.spacing) * grid.n_volumes < ALIGNED:
            break
    if abs(grid.spacing - grid.n_times) * grid.n_volumes < ONE_CLOCK:
        grid = _within(float(round(grid.start)), grid.n_times, grid.n_volumes, len(samples))
    return _extended(samples, grid)


def _within(start: float, spacing: float, n_volumes: int, n_samples: int) -> Grid:
    """Return those of some volumes that lie in the recording as a whole."""
    skipped = max(0, int(np.ceil(-start / spacing - WHOLE / spacing)))
    whole = int(np.floor((n_samples - start + WHOLE) / spacing))
    start = max(0.0, start + skipped * spacing)
    return Grid(start, float(spacing), min(n_volumes, whole) - skipped)


def _aligned(x: Float64, grid: Grid, n_samples: int) -> Grid:
    """Return a grid moved to where one channel's artefact, shape (1, n_samples), lies."""
    volumes = grid.take(x)[0]
    volumes = volumes - volumes.mean(axis=1, keepdims=True)
    mean = volumes.mean(axis=0)
    slope = np.gradient(mean)
    late = -((volumes - mean) @ slope) / max(float(slope @ slope), 1e-30)
    line = stats.siegelslopes(late * (grid.spacing / grid.n_times), np.arange(len(late)))
    middle = (len(late) - 1) / 2  # the mean volume is no better placed than the markers say
    start = grid.start - float(line.slope) * middle
    return _within(start, grid.spacing + float(line.slope), grid.n_volumes, n_samples)


def _extended(samples: Float32, grid: Grid) -> Grid:
    """Return the grid with the volumes before and after it whose gradients are the same."""
    start, spacing, n = grid.start, grid.spacing, grid.n_volumes
    while start - spacing > -WHOLE and _alike(samples, start - spacing, grid):
        start, n = max(0.0, start - spacing), n + 1
    while start + (n + 1) * spacing < len(samples) + WHOLE and _alike(
        samples, start + (n - 1) * spacing, grid
    ):
        n += 1
    return Grid(start, spacing, n)


def _alike(samples: Float32, start: float, grid: Grid) -> bool:
    """Tell whether a volume and the next one hold the same, in most channels."""
    one, other = (
        samples[max(0, round(first)) :][: grid.n_times].astype(np.float64)
        for first in (start, start + grid.spacing)
    )
    n = min(len(one), len(other))
    one, other = one[:n] - one[:n].mean(axis=0), other[:n] - other[:n].mean(axis=0)
    powers = (one**2).sum(axis=0) * (other**2).sum(axis=0)
    together = (one * other).sum(axis=0)
    share = np.sign(together) * together**2 / np.where(powers > 0, powers, np.inf)
    return bool(np.median(share) > ALIKE)


def _at(x: Float64, places: Float64) -> Float64:
    """Return rows of x between their samples, by cubic splines."""
    return np.stack(
        [ndimage.map_coordinates(row, places[None], order=3, mode="nearest") for row in x]
    )
