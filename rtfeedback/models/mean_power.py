"""Mean power per channel: nothing to learn, for benches of all that is around a model."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rtfeedback.errors import ConfigError
from rtfeedback.models.architecture import Architecture, Shape
from rtfeedback.signals import Float64


class MeanPowerConfig(Architecture):
    """Mean power of the samples of the last seconds; `bench/checkpoint.py` writes it."""

    name: Literal["mean-power"] = "mean-power"
    chain: str = "samples"
    length: Annotated[float, Field(gt=0)] = 20.0
    """Seconds of samples in a window."""

    def build(self, shape: Shape) -> MeanPower:
        """Return the model, which has nothing to learn."""
        if shape.n_features != shape.n_targets:
            raise ConfigError(
                "'mean-power' has one target for each channel, and is fed with samples",
                found=f"{shape.n_targets} targets for {shape.n_features} features",
                do="Make its checkpoint with `python -m bench.checkpoint`",
            )
        return MeanPower(shape.n_targets)


class MeanPower(nn.Module):
    """The mean of x**2 of each channel, in V**2, as the z of a target of its own.

    A window is read once and not copied: at 128 channels and 30 s of 5 kHz one is 77 MB,
    and what is to be measured is the reading. So there is no `FeatureScaler`, whose
    outcome is as large as the window; what is masked is left out of the mean instead. A
    channel that is masked throughout gets its target's mean, z = 0. No parameters; two
    numbers per target are set.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, n_targets: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_targets))
        self.register_buffer("sd", torch.ones(n_targets))

    def set(self, mean: Float64, sd: Float64) -> None:
        """Take the targets' statistics in V**2, each of shape (n_targets,)."""
        self.mean.copy_(torch.from_numpy(mean))
        self.sd.copy_(torch.from_numpy(sd))

    def forward(self, x: Tensor) -> Tensor:
        """Return z, shape (n, n_channels), of windows (n, n_channels, n_times)."""
        mean = self.mean.expand(x.shape[:-1])
        if x.is_cuda:  # to look whether anything is masked would make it wait
            power = _power_of_unmasked(x, mean)
        else:
            power = torch.linalg.vector_norm(x, dim=-1).square() / x.shape[-1]
            if (masked := power.isnan()).any():
                power[masked] = _power_of_unmasked(x[masked], mean[masked])
        return (power - self.mean) / self.sd


def _power_of_unmasked(x: Tensor, otherwise: Tensor) -> Tensor:
    """Return the mean of x**2 over what is no NaN, and something else where nothing is."""
    masked = x.isnan()
    n = x.shape[-1] - masked.sum(-1)
    square = torch.linalg.vector_norm(x.masked_fill(masked, 0.0), dim=-1).square()
    return torch.where(n > 0, square / n.clamp(min=1), otherwise)
