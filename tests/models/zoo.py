"""A small model of each form that the zoo has, what it is fed and what it is to answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from rtfeedback.models import (
    AnyModelConfig,
    EEGNet,
    ModelConfig,
    Shape,
    VolumeLowRank,
    VolumeNetwork,
    build_model,
)
from rtfeedback.models.layers.classes import Levels
from rtfeedback.models.volume import VolumeSpec

GRID, N_VOXELS, N_TARGETS = (5, 4, 3), 37, 2
ROWS = ((3.0, 0.0, 0.0, 0.0), (0.0, 3.0, 0.0, 0.0), (0.0, 0.0, 3.0, 0.0), (0.0, 0.0, 0.0, 1.0))
VOLUME = VolumeSpec(grid=GRID, affine=ROWS, n_voxels=N_VOXELS, unit="percent signal change")


@dataclass(frozen=True)
class Form:
    """A form of an architecture.

    Attributes
    ----------
    settings : dict
        Of the model, its name among them.
    n_times : int
        Of a window.
    rate : float
        In hertz.
    learning_rate, steps
        By which it learns 16 windows by heart.
    spare : str
        What the names of parameters hold of which its outcome is independent.
    """

    settings: dict[str, Any]
    n_times: int
    rate: float
    learning_rate: float = 0.01
    steps: int = 100
    spare: str = "nothing"
    n_features: int = 5

    @property
    def config(self) -> AnyModelConfig:
        """The model's settings, checked."""
        return TypeAdapter(ModelConfig).validate_python(self.settings)

    def model(self, seed: int = 0, **changes: Any) -> nn.Module:
        """Return one as if it were trained, on data of mean 0 and sd 1."""
        torch.manual_seed(seed)
        config = self.config.model_copy(update=changes)
        volume = VOLUME if config.of_volumes else None
        shape = Shape(self.n_features, self.n_times, N_TARGETS, self.rate, volume=volume)
        model = build_model(config, shape)
        if isinstance(model, VolumeNetwork):
            _set_volume(model, seed)
        if isinstance(model, EEGNet) and isinstance(model.classes, Levels):
            model.classes.set(np.array([[0.3, 0.6]] * 2), np.array([[0.0, 0.5, 1.0]] * 2))
        return model.eval()

    def windows(self, n: int = 3) -> Tensor:
        """Return noise, shape (n, n_features, n_times)."""
        return normal(n, self.n_features, self.n_times)

    def outcomes(self, n: int) -> Tensor:
        """Return what might have been measured: conditions, voxels or regions."""
        if self.config.of_task:
            y = torch.zeros(n, N_TARGETS)
            y[::3, 0] = y[1::3, 1] = 1.0
            return y
        return normal(n, N_VOXELS if self.config.of_volumes else N_TARGETS, seed=2)


def answer(model: nn.Module, x: Tensor) -> Tensor:
    """Return what a model says of windows: the voxels, or else the targets."""
    out: Tensor = model.volume(x) if isinstance(model, VolumeNetwork) else model(x)
    return out


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Return float32 noise of mean 0 and sd 1."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, 1, shape).astype(np.float32))


def _set_volume(model: VolumeNetwork, seed: int) -> None:
    rng, n = np.random.default_rng(seed), N_VOXELS
    voxels = np.sort(rng.choice(int(np.prod(GRID)), n, replace=False))
    model.set_volume(voxels, rng.normal(5, 1, n), rng.uniform(0.5, 2, n))
    weights = rng.normal(0, 1, (N_TARGETS, n))
    model.set_regions(weights, rng.normal(0, 1, N_TARGETS), rng.uniform(1, 2, N_TARGETS))
    if isinstance(model, VolumeLowRank):
        k = len(model.basis)
        basis = np.linalg.qr(rng.normal(0, 1, (n, k)))[0].T
        model.set_components(basis, rng.uniform(1, 9, k), rng.normal(5, 1, n))
        nn.init.normal_(model.encoder.head.weight)  # it begins with the mean volume


DENSE = {"embedding": 16, "hidden": [24, 24]}
MAPS = {"convolution": {"filters": 4}, "refinement_maps": 2}
SLICES = {"width": 16, "heads": 4, "layers": 1, "feedforward": 24, "hidden": 32}
CALHAS = {"name": "calhas", "tr": 1.0, "columns": 4, "length": 4.0, "latent": 24}
PATCHES = {"width": 16, "layers": 2, "heads": 2, "hidden": 16, "span": 4}
NORMED = r"blocks.*(both|left)\.bias"  # a batch norm takes it out

FORMS = {
    "ridge": Form({"name": "ridge", "length": 8.0}, 32, 4.0),
    "eegnet": Form({"name": "eegnet", "max_norm": 4.0}, 96, 125.0),
    "eegnet-levels": Form({"name": "eegnet", "head": "levels", "max_norm": 4.0}, 96, 125.0),
    "eegnet-conditions": Form(
        {"name": "eegnet", "head": "conditions", "max_norm": 4.0}, 96, 125.0
    ),
    "tcn": Form({"name": "tcn", "width": 16}, 64, 4.0, learning_rate=0.03),
    "patch-transformer": Form({"name": "patch-transformer", **PATCHES}, 100, 40.0),
    "fc": Form({"name": "fc", **DENSE}, 130, 125.0),
    "siamese-fc": Form({"name": "siamese-fc", **DENSE}, 130, 125.0),
    "cnn": Form({"name": "cnn", **DENSE, **MAPS}, 130, 125.0),
    "cnn-shared": Form({"name": "cnn", **DENSE, **MAPS, "joint": False}, 130, 125.0),
    "volume-lowrank-tcn": Form(
        {"name": "volume-lowrank", "components": 6, "encoder": {"name": "tcn", "width": 16}},
        64,
        4.0,
    ),
    "volume-lowrank-patches": Form(
        {
            "name": "volume-lowrank",
            "components": 6,
            "encoder": {"name": "patch-transformer", **PATCHES},
        },
        100,
        40.0,
    ),
    **{
        f"channel-transformer-{form}-{embedding}": Form(
            {
                "name": "channel-transformer", **SLICES,
                "decoding": form, "embedding": embedding, "positions": "learned",
            },
            120,
            125.0,
        )
        for form in ("parallel", "autoregressive", "dense")
        for embedding in ("linear", "convolutional")
    },
    "calhas": Form({**CALHAS}, 200, 50.0, 0.02, spare=NORMED),
    "calhas-octaves": Form(
        {**CALHAS, "fourier": "octaves", "style": "prior"}, 200, 50.0, 0.003, 200, NORMED
    ),
    "calhas-plain": Form(
        {**CALHAS, "fourier": "none", "style": "none", "attention": False},
        200, 50.0, 0.02, spare=NORMED,
    ),
    "calhas-dct": Form(
        {**CALHAS, "decoder": "dct", "resolution": [5, 4, 3]}, 200, 50.0, 0.02, spare=NORMED
    ),
    "calhas-training": Form(
        {**CALHAS, "standardise": "training", "neglect": 0.1}, 200, 50.0, 0.02, spare=NORMED
    ),
}  # fmt: skip
