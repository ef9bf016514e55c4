"""An untrained model with all that a fit would set, its training step and its prediction."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from offline.training.descent import Descent
from offline.training.fit_classes import fit_classes
from offline.training.fit_config import FitConfig
from offline.training.losses import LOSSES
from rtfeedback.inference import inference
from rtfeedback.models import (
    AnyModelConfig,
    EEGNet,
    Network,
    Shape,
    VolumeLowRank,
    VolumeNetwork,
    build_model,
)
from rtfeedback.signals import Float32, Float64

MANY = 10**6  # steps that a training is as if it had


def made(config: AnyModelConfig, shape: Shape, seed: int = 0) -> nn.Module:
    """Return a model as it is before its first step, on data of mean 0 and sd 1.

    Its volumes' voxels are the grid's first ones, its regions the mean of all of them, its
    components noise: what is computed is as much as with true ones.
    """
    torch.manual_seed(seed)
    model = build_model(config, shape)
    if isinstance(model, EEGNet):
        # Of noise, every level is found, and each condition holds now and then.
        z = np.random.default_rng(seed).normal(size=(256, shape.n_targets))
        fit_classes(model, conditions(z) if config.of_task else z)
    if isinstance(model, VolumeNetwork):
        n = model.spec.n_voxels
        model.set_volume(np.arange(n), np.zeros(n), np.ones(n))
        ones = np.ones(shape.n_targets)
        model.set_regions(np.full((shape.n_targets, n), 1 / n), 0 * ones, ones)
    if isinstance(model, VolumeLowRank):
        basis = np.random.default_rng(seed).normal(size=tuple(model.basis.shape))
        model.set_components(basis, np.ones(len(basis)), np.zeros(len(basis[0])))
    return model


def conditions(z: Float64) -> Float64:
    """Return conditions that hold where scores are above 0, as z: 1 there, -1 elsewhere."""
    return np.where(z > 0, 1.0, -1.0)


def trainable(model: nn.Module) -> int:
    """Return how many numbers are trained."""
    return sum(each.numel() for each in model.parameters() if each.requires_grad)


class Step:
    """A training step on windows that are there already, as `fit_network` takes it.

    Parameters
    ----------
    model : Network
    shape : Shape
    fit : FitConfig
        Its batch, loss, optimiser, learning rate, precision and device.
    """

    def __init__(self, model: Network, shape: Shape, fit: FitConfig) -> None:
        self.model, self.fit, self.device = model, fit, torch.device(fit.device)
        model.to(self.device)
        random = torch.Generator().manual_seed(1)
        x = torch.randn(fit.batch, shape.n_features, shape.n_times, generator=random)
        n = shape.n_targets if shape.volume is None else shape.volume.n_voxels
        y = torch.randn(fit.batch, n, generator=random)
        if isinstance(model, EEGNet) and model.config.of_task:
            y = torch.from_numpy(conditions(y.double().numpy())).float()
        self._x, self._y = x.to(self.device), y.to(self.device)
        self._descent = Descent.of(model, MANY, fit.model_copy(update={"warm_up": 0.0}))

    def __call__(self) -> Tensor:
        """Take one; return its loss. A GPU may still be at work."""
        self.model.train()
        low = self.fit.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            loss = self.model.loss(self._x, self._y, LOSSES[self.fit.loss])
        self._descent(loss)
        self.model.constrain()
        return loss.detach()

    def seconds(self) -> float:
        """Take one; return how long it took, a GPU's work included."""
        return timed(self, self.device)


def timed(job: Callable[[], object], device: torch.device) -> float:
    """Return how many seconds a job takes, a GPU's work included."""
    finish(device)
    began = time.perf_counter()
    job()
    finish(device)
    return time.perf_counter() - began


def finish(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Prediction:
    """One window at a time, by the arithmetic that a run has.

    Parameters
    ----------
    model : nn.Module
        On a GPU it has to be one of its own: its kernels are captured.
    shape : Shape
    device : torch.device
    """

    def __init__(self, model: nn.Module, shape: Shape, device: torch.device) -> None:
        size = (shape.n_features, shape.n_times)
        self._model, self._inference = model, inference(model, size, device)
        random = np.random.default_rng(2)
        self._window: Float32 = random.normal(size=size).astype(np.float32)

    def seconds(self) -> float:
        """Predict once; return how long it took."""
        self._model.eval()
        began = time.perf_counter()
        self._inference(self._window)
        return time.perf_counter() - began
