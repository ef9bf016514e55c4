"""What a model of whole volumes takes from the training part before it is fitted."""

from __future__ import annotations

import numpy as np

from offline.bold.components import fit_components
from offline.store.dataset import Store
from offline.store.examples import Examples
from offline.training.outcomes import VolumeOutcomes, volumes_by_run, voxel_statistics
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.models.volume_lowrank import VolumeLowRank


def set_volume(model: VolumeNetwork, store: Store, training: Examples) -> None:
    """Set where voxels stand, their statistics, and what of them regions are.

    A region's z is by its own statistics over the training part, so that what is read off
    a volume has the same mean and spread as what is measured of the region.
    """
    mean, sd = voxel_statistics(training)
    mask = np.asarray(store.shared("volumes_mask"))
    model.set_volume(np.flatnonzero(mask), mean, sd)
    weights = np.asarray(store.shared("volumes_regions"), dtype=np.float64)
    every = np.concatenate(
        [rows.astype(np.float64) @ weights.T for rows in volumes_by_run(training)]
    )
    spread = every.std(axis=0)
    model.set_regions(weights, every.mean(axis=0), np.where(spread > 0, spread, 1.0))
    if isinstance(model, VolumeLowRank):
        _set_components(model, training)


def _set_components(model: VolumeLowRank, training: Examples) -> None:
    """Fit the components to the volumes of the training part, and set them."""
    found = fit_components(
        volumes_by_run(training), model.config.components, asked_by="model.components"
    )
    courses = np.concatenate([found.courses(rows) for rows in volumes_by_run(training)])
    sd = courses.std(axis=0)
    basis, mean = found.basis.astype(np.float64), found.mean.astype(np.float64)
    model.set_components(basis, np.where(sd > 0, sd, 1.0), mean)


def volume_outcomes(model: VolumeNetwork, examples: Examples) -> VolumeOutcomes:
    """Return the volumes of windows as voxels' z by the model's statistics."""
    return VolumeOutcomes(examples, model.mean.cpu().numpy(), model.sd.cpu().numpy())
