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
from rtfeedback.models.eegnet import POOLED, EEGNet, EEGNetConfig
from rtfeedback.models.mean_power import MeanPower, MeanPowerConfig
from rtfeedback.models.network import Network
from rtfeedback.models.ridge import Ridge, RidgeConfig
from rtfeedback.models.tcn import TCN, TCNConfig

__all__ = [
    "TCN",
    "AnyModelConfig",
    "EEGNet",
    "EEGNetConfig",
    "MeanPower",
    "MeanPowerConfig",
    "ModelConfig",
    "Network",
    "Ridge",
    "RidgeConfig",
    "TCNConfig",
    "build_model",
]

AnyModelConfig = RidgeConfig | EEGNetConfig | TCNConfig | MeanPowerConfig
ModelConfig = Annotated[AnyModelConfig, Field(discriminator="name")]


def build_model(
    config: AnyModelConfig,
    *,
    n_features: int,
    n_times: int,
    n_targets: int,
    rate: float,
    hold: int = 0,
) -> nn.Module:
    """Return an untrained model for windows of one shape.

    Parameters
    ----------
    config : RidgeConfig, EEGNetConfig, TCNConfig or MeanPowerConfig
    n_features, n_times, n_targets : int
    rate : float
        Of a window's samples, in hertz.
    hold : int
        Samples before a masked one that are left out with it (see `FeatureScaler`).

    Raises
    ------
    ConfigError
        If the window is too short for the model, or the model has no such targets.
    """
    _check_length(config, n_times, rate)
    match config:
        case RidgeConfig():
            return Ridge(n_features=n_features, n_times=n_times, n_targets=n_targets, hold=hold)
        case TCNConfig():
            return TCN(config, n_features=n_features, n_targets=n_targets, hold=hold)
        case MeanPowerConfig():
            _check_targets(n_features, n_targets)
            return MeanPower(n_targets)
        case EEGNetConfig():
            return EEGNet(
                config,
                n_features=n_features,
                n_times=n_times,
                n_targets=n_targets,
                rate=rate,
                hold=hold,
            )


def _check_length(config: AnyModelConfig, n_times: int, rate: float) -> None:
    shortest = 1
    if isinstance(config, EEGNetConfig):
        shortest = POOLED
    elif isinstance(config, TCNConfig):
        shortest = config.reach
    if n_times < shortest:
        raise ConfigError(
            f"A window of {n_times} samples is too short for '{config.name}'",
            found=f"It takes {shortest} at {rate:g} Hz, {shortest / rate:.4g} s",
            do="Lengthen the window",
        )


def _check_targets(n_features: int, n_targets: int) -> None:
    if n_features != n_targets:
        raise ConfigError(
            "'mean-power' has one target for each channel, and is fed with samples",
            found=f"{n_targets} targets for {n_features} features",
            do="Make its checkpoint with `python -m bench.checkpoint`",
        )
