"""The models, one architecture per file with its config beside it.

A model maps windows, float32 of shape (n, n_features, n_times), to the targets' z,
shape (n, n_targets). What scales its input is among its buffers, so it travels with
the weights.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from rtfeedback.errors import ConfigError
from rtfeedback.models.architecture import Architecture, Shape
from rtfeedback.models.eegnet import EEGNet, EEGNetConfig
from rtfeedback.models.mean_power import MeanPower, MeanPowerConfig
from rtfeedback.models.network import Network
from rtfeedback.models.ridge import Ridge, RidgeConfig
from rtfeedback.models.tcn import TCN, TCNConfig

__all__ = [
    "TCN",
    "AnyModelConfig",
    "Architecture",
    "EEGNet",
    "EEGNetConfig",
    "MeanPower",
    "MeanPowerConfig",
    "ModelConfig",
    "Network",
    "Ridge",
    "RidgeConfig",
    "Shape",
    "TCNConfig",
    "build_model",
]

AnyModelConfig = RidgeConfig | EEGNetConfig | TCNConfig | MeanPowerConfig
ModelConfig = Annotated[AnyModelConfig, Field(discriminator="name")]


def build_model(config: AnyModelConfig, shape: Shape) -> nn.Module:
    """Return an untrained model for windows of one shape.

    Raises
    ------
    ConfigError
        If the window is too short for the model, or the model has no such targets.
    """
    shortest = config.shortest(shape.rate)
    if shape.n_times < shortest:
        raise ConfigError(
            f"A window of {shape.n_times} samples is too short for '{config.name}'",
            found=f"It takes {shortest} at {shape.rate:g} Hz, {shortest / shape.rate:.4g} s",
            do="Lengthen the window",
        )
    return config.build(shape)
