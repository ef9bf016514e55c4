"""Dense layers to every voxel, the first of them shared by the channels."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from rtfeedback.models.architecture import Shape, volume_of
from rtfeedback.models.fc import DenseConfig, Means, decoder, dense
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.models.volume import VolumeNetwork, VolumeSpec


class SiameseFCConfig(DenseConfig):
    """Dense layers on what one shared layer makes of each channel."""

    name: Literal["siamese-fc"] = "siamese-fc"

    def build(self, shape: Shape) -> SiameseFC:
        """Return the model with untrained weights."""
        return SiameseFC(self, shape, volume_of(shape, self.name))


class SiameseFC(VolumeNetwork):
    """One dense layer embeds each channel by itself, the same for all; the rest sees them all.

    Its norm is over windows and channels alike, so that nothing of the embedding knows
    which channel it is given. The papers' code drops 0.5 of the embedding, and 0.5 or 0.2
    after the hidden layers, where 0.2 is taken here; what else differs is told in `FC`. With
    34 channels of 7500 samples, the defaults and 173 628 voxels: 23 796 028 parameters.

    References
    ----------
    Bricman & Borst 2021, EEG2fMRI: Cross-Modal Synthesis for Functional Neuroimaging.
    Bromley et al. 1993, Signature Verification using a "Siamese" Time Delay Neural Network.
    """

    def __init__(self, config: SiameseFCConfig, shape: Shape, volume: VolumeSpec) -> None:
        super().__init__(volume, shape.n_targets)
        self.config = config
        self.n_channels = shape.n_channels
        self.scaler = FeatureScaler(shape.n_features, shape.hold)
        self.pool = Means(config.pooled(shape.rate))
        n_inputs = shape.n_bands * self.pool.n_means(shape.n_times)
        self.embed = dense(n_inputs, config.embedding, nn.ReLU, config.embedding_dropout)
        n_embedded = shape.n_channels * config.embedding
        self.decode = decoder(n_embedded, config, volume.n_voxels, nn.ReLU)

    def volume(self, x: Tensor) -> Tensor:
        """Predict voxels' z, shape (n, n_voxels), from windows (n, n_features, n_times)."""
        z: Tensor = self.decode(self.embedded(x).flatten(1))
        return z

    def embedded(self, x: Tensor) -> Tensor:
        """Return what becomes of each channel, shape (n, n_channels, embedding)."""
        x = self.pool(self.scaler(x))
        each: Tensor = self.embed(x.reshape(len(x) * self.n_channels, -1))
        return each.reshape(-1, self.n_channels, each.shape[-1])
