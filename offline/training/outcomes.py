"""What the windows of a training step are to be answered by: regions, or whole volumes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from offline.store.examples import Examples, Shifted
from rtfeedback.signals import Float32, Float64, Int64


class Outcomes(Protocol):
    """What was measured, as z, for windows."""

    n_outputs: int

    def at(self, shifted: Shifted) -> Float32:
        """Return it for windows that end between volumes, too, shape (n, n_outputs)."""


class RegionOutcomes:
    """The courses of regions.

    Parameters
    ----------
    z : float64, shape (n_windows, n_targets)
        NaN where a target is not known.
    """

    def __init__(self, z: Float64) -> None:
        self.z, self.n_outputs = z, z.shape[1]

    def at(self, shifted: Shifted) -> Float32:
        """Return the targets at each window's end, interpolated linearly in time."""
        return shifted.between(self.z).astype(np.float32)


class VolumeOutcomes:
    """Whole volumes, read from the store's files as they are needed.

    Parameters
    ----------
    examples : Examples
    mean, sd : float32, shape (n_voxels,)
        Of each voxel over the training part.
    """

    def __init__(self, examples: Examples, mean: Float32, sd: Float32) -> None:
        self._examples, self._mean, self._sd = examples, mean, sd
        self.n_outputs = len(mean)

    def at(self, shifted: Shifted) -> Float32:
        """Return the voxels at each window's end, interpolated linearly in time."""
        before, after = self._rows(shifted.before), self._rows(shifted.after)
        share = shifted.share[:, None].astype(np.float32)
        between = before + share * (after - before)
        return (between - self._mean) / self._sd

    def _rows(self, which: Int64) -> Float32:
        every = self._examples
        runs, volumes = every.run[which], every.volumes[which]
        found = np.empty((len(which), self.n_outputs), dtype=np.float32)
        for run in np.unique(runs):
            own = runs == run
            found[own] = every.runs[run].voxels[volumes[own]]
        return found


def volumes_by_run(examples: Examples) -> Iterator[Float32]:
    """Yield the volumes of each run's windows, shape (n_volumes, n_voxels)."""
    for index, run in enumerate(examples.runs):
        yield run.voxels[examples.volumes[examples.run == index]]


def voxel_statistics(examples: Examples) -> tuple[Float64, Float64]:
    """Return mean and sd of each voxel over the volumes of some windows, (n_voxels,).

    A voxel that hardly varies gets an sd of a tenth of the typical one: to be divided by
    next to nothing would make it the loudest.
    """
    n, total, squares = 0, np.zeros(1), np.zeros(1)
    for volumes in volumes_by_run(examples):
        rows = np.asarray(volumes, np.float64)
        rows = rows[np.isfinite(rows[:, 0])]
        n, total = n + len(rows), total + rows.sum(axis=0)
        squares = squares + np.einsum("ij,ij->j", rows, rows)
    mean = total / max(n, 1)
    sd = np.sqrt(np.maximum(squares / max(n, 1) - mean**2, 0.0))
    typical = float(np.median(sd)) or 1.0
    return mean, np.maximum(sd, 0.1 * typical)
