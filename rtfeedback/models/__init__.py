"""The models, one architecture per file with its config beside it.

A model maps windows, float32 of shape (n, n_features, n_times), to the targets' z,
shape (n, n_targets). What scales its input is among its buffers, so it travels with
the weights.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from rtfeedback.models.eegnet import EEGNet, EEGNetConfig
from rtfeedback.models.ridge import Ridge, RidgeConfig

__all__ = ["EEGNet", "EEGNetConfig", "ModelConfig", "Ridge", "RidgeConfig", "build_model"]

ModelConfig = Annotated[RidgeConfig | EEGNetConfig, Field(discriminator="name")]


def build_model(
    config: RidgeConfig | EEGNetConfig,
    *,
    n_features: int,
    n_times: int,
    n_targets: int,
    rate: float,
) -> nn.Module:
    """Return an untrained model for windows of one shape."""
    if isinstance(config, RidgeConfig):
        return Ridge(n_features=n_features, n_times=n_times, n_targets=n_targets)
    return EEGNet(
        config, n_features=n_features, n_times=n_times, n_targets=n_targets, rate=rate
    )
