"""A small model of whole volumes on the EEG of tests/lab.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from rtfeedback.checkpoint import CheckpointSpec, save_checkpoint
from rtfeedback.models import VolumeLowRank, VolumeLowRankConfig
from rtfeedback.models.tcn import TCNSettings
from rtfeedback.models.volume import VolumeSpec
from rtfeedback.predictor import Predictor
from tests.lab import checkpoint_spec

GRID, N_VOXELS, N_COMPONENTS = (5, 6, 7), 150, 3
AFFINE = (
    (-3.0, 0.0, 0.0, 6.0),
    (0.0, 3.0, 0.0, -8.0),
    (0.0, 0.0, 4.0, -12.5),
    (0.0, 0.0, 0.0, 1.0),
)
TCN = TCNSettings(blocks=2, width=4)


def volume_spec(
    grid: tuple[int, int, int] = GRID, n_voxels: int = N_VOXELS, *, n_targets: int = 2
) -> CheckpointSpec:
    """Return a model of volumes on the tokens of `checkpoint_spec`."""
    spec = checkpoint_spec()
    return spec.model_copy(
        update={
            "model": VolumeLowRankConfig(length=2.0, components=N_COMPONENTS, encoder=TCN),
            "targets": spec.targets[:n_targets],
            "volume": VolumeSpec(
                grid=grid, affine=AFFINE, n_voxels=n_voxels, unit="percent signal change"
            ),
        }
    )


def save_volume_model(folder: Path, spec: CheckpointSpec) -> Predictor:
    """Save weights out of a seed as a checkpoint, and load it."""
    torch.manual_seed(7)
    rng, model, volume = np.random.default_rng(1), spec.build(), spec.volume
    assert isinstance(model, VolumeLowRank)
    assert volume is not None
    n, n_targets = volume.n_voxels, len(spec.targets)
    voxels = np.sort(rng.choice(np.prod(volume.grid), n, replace=False))
    n_features = spec.chain.n_features
    model.scaler.fit(np.full(n_features, -11.0), np.full(n_features, 0.5))  # log10 V**2
    torch.nn.init.normal_(model.encoder.head.weight)  # as if it were trained
    model.set_volume(voxels, rng.normal(0, 0.1, n), rng.uniform(0.5, 2, n))
    basis = rng.normal(0, 1 / np.sqrt(n), (N_COMPONENTS, n))
    model.set_components(basis, np.full(N_COMPONENTS, 0.1), np.zeros(n))
    weights = rng.uniform(0, 1, (n_targets, n)) / n
    model.set_regions(weights, np.zeros(n_targets), np.ones(n_targets))
    save_checkpoint(folder, spec, model)
    return Predictor.load(folder, "cpu")
