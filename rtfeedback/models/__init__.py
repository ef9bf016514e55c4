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
from rtfeedback.models.calhas import Calhas, CalhasConfig
from rtfeedback.models.channel_transformer import ChannelTransformer, ChannelTransformerConfig
from rtfeedback.models.cnn import CNN, CNNConfig
from rtfeedback.models.eegnet import EEGNet, EEGNetConfig
from rtfeedback.models.fc import FC, FCConfig
from rtfeedback.models.mean_power import MeanPower, MeanPowerConfig
from rtfeedback.models.network import Network
from rtfeedback.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from rtfeedback.models.ridge import Ridge, RidgeConfig
from rtfeedback.models.siamese_fc import SiameseFC, SiameseFCConfig
from rtfeedback.models.tcn import TCN, TCNConfig
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.models.volume_lowrank import VolumeLowRank, VolumeLowRankConfig

__all__ = [
    "CNN",
    "FC",
    "TCN",
    "AnyModelConfig",
    "Architecture",
    "CNNConfig",
    "Calhas",
    "CalhasConfig",
    "ChannelTransformer",
    "ChannelTransformerConfig",
    "EEGNet",
    "EEGNetConfig",
    "FCConfig",
    "MeanPower",
    "MeanPowerConfig",
    "ModelConfig",
    "Network",
    "PatchTransformer",
    "PatchTransformerConfig",
    "Ridge",
    "RidgeConfig",
    "Shape",
    "SiameseFC",
    "SiameseFCConfig",
    "TCNConfig",
    "VolumeLowRank",
    "VolumeLowRankConfig",
    "VolumeNetwork",
    "build_model",
]

AnyModelConfig = (
    RidgeConfig
    | EEGNetConfig
    | TCNConfig
    | PatchTransformerConfig
    | VolumeLowRankConfig
    | FCConfig
    | SiameseFCConfig
    | CNNConfig
    | CalhasConfig
    | ChannelTransformerConfig
    | MeanPowerConfig
)
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
