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
    hold: int = 0,
) -> nn.Module:
    """Return an untrained model for windows of one shape.

    Parameters
    ----------
    config : RidgeConfig or EEGNetConfig
    n_features, n_times, n_targets : int
    rate : float
        Of a window's samples, in hertz.
    hold : int
        Samples before a masked one that are left out with it (see `FeatureScaler`).

    Raises
    ------
    ConfigError
        If the window is too short for the model.
    """
    shortest = POOLED if isinstance(config, EEGNetConfig) else 1
    if n_times < shortest:
        raise ConfigError(
            f"A window of {n_times} samples is too short for '{config.name}'",
            found=f"It takes {shortest} at {rate:g} Hz, {shortest / rate:.3g} s",
            do="Lengthen the window",
        )
    if isinstance(config, RidgeConfig):
        return Ridge(n_features=n_features, n_times=n_times, n_targets=n_targets, hold=hold)
    return EEGNet(
        config,
        n_features=n_features,
        n_times=n_times,
        n_targets=n_targets,
        rate=rate,
        hold=hold,
    )
