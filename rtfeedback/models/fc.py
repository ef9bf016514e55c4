"""The whole EEG, flattened, through dense layers to every voxel; and what its kin share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rtfeedback.models.architecture import Architecture, Shape, volume_of
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.models.volume import VolumeNetwork, VolumeSpec

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class DenseConfig(Architecture):
    """An embedding of the EEG, and dense layers from there to the voxels."""

    of_volumes: ClassVar[bool] = True

    chain: str = "samples"
    """Which of the store's chains feeds it."""
    length: Annotated[float, Field(gt=0)] = 30.0
    """Seconds of samples in a window: the haemodynamic response and what came before."""
    pool_to: Annotated[float, Field(gt=0)] = 250.0
    """Hertz to which neighbouring samples are averaged first, as near as a whole number of
    them comes. Where the chain is as slow already, samples are taken as they are."""
    embedding: Positive = 100
    """Numbers that the EEG becomes first."""
    hidden: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1000, 1000, 1000, 100)
    """Units of each dense layer between the embedding and the voxels."""
    embedding_dropout: Share = 0.5
    """Share of the embedding dropped in training."""
    dropout: Share = 0.2
    """Share of each hidden layer's units dropped in training."""

    def pooled(self, rate: float) -> int:
        """Return how many samples are averaged to one, at a rate in hertz."""
        return max(1, round(rate / self.pool_to))

    def shortest(self, rate: float) -> int:
        """Return how many samples a window has to have."""
        return self.pooled(rate)


class FCConfig(DenseConfig):
    """Dense layers on all samples of all channels at once."""

    name: Literal["fc"] = "fc"

    def build(self, shape: Shape) -> FC:
        """Return the model with untrained weights."""
        return FC(self, shape, volume_of(shape, self.name))


class FC(VolumeNetwork):
    """One dense layer embeds the flattened window, further ones lead to the voxels.

    The papers tell of it in words and give no sizes: the layers after the embedding are
    those of `siamese-fc`. Where they scale by range and target the share of the subject's
    median volume, this scales by sd and targets each voxel's z, as every model here; and it
    has an output for each voxel of the mask, where they mask the loss. With 34 channels of
    7500 samples, the defaults and 173 628 voxels: 45 246 028 parameters.

    References
    ----------
    Bricman & Borst 2021, EEG2fMRI: Cross-Modal Synthesis for Functional Neuroimaging.
    """

    def __init__(self, config: FCConfig, shape: Shape, volume: VolumeSpec) -> None:
        super().__init__(volume, shape.n_targets)
        self.config = config
        self.scaler = FeatureScaler(shape.n_features, shape.hold)
        self.pool = Means(config.pooled(shape.rate))
        n_inputs = shape.n_features * self.pool.n_means(shape.n_times)
        self.embed = dense(n_inputs, config.embedding, nn.ReLU, config.embedding_dropout)
        self.decode = decoder(config.embedding, config, volume.n_voxels, nn.ReLU)

    def volume(self, x: Tensor) -> Tensor:
        """Predict voxels' z, shape (n, n_voxels), from windows (n, n_features, n_times)."""
        x = self.pool(self.scaler(x))
        z: Tensor = self.decode(self.embed(x.flatten(1)))
        return z


class Means(nn.Module):
    """The mean of every few samples; the oldest that do not fill one are left out.

    Parameters
    ----------
    size : int
        Samples in a mean.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def n_means(self, n_times: int) -> int:
        """Return how many means there are of samples."""
        return n_times // self.size

    def forward(self, x: Tensor) -> Tensor:
        """Average windows (n, n_features, n_times) to (n, n_features, n_means)."""
        if self.size == 1:
            return x
        return F.avg_pool1d(x[..., x.shape[-1] % self.size :], self.size)


def dense(
    n_inputs: int, n_outputs: int, activation: type[nn.Module], dropout: float
) -> nn.Sequential:
    """Return a dense layer in the papers' order: the norm comes after the activation."""
    return nn.Sequential(
        nn.Linear(n_inputs, n_outputs),
        activation(),
        nn.BatchNorm1d(n_outputs),
        nn.Dropout(dropout),
    )


def decoder(
    n_inputs: int, config: DenseConfig, n_voxels: int, activation: type[nn.Module]
) -> nn.Sequential:
    """Return the hidden layers, and the linear one from the last of them to the voxels."""
    widths = (n_inputs, *config.hidden)
    layers = [
        dense(each, following, activation, config.dropout)
        for each, following in zip(widths, config.hidden, strict=False)
    ]
    return nn.Sequential(*layers, nn.Linear(widths[-1], n_voxels))
