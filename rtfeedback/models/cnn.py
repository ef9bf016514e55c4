"""A convolution over the EEG, dense layers to every voxel, and convolutions over the volume."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rtfeedback.config import Config
from rtfeedback.models.architecture import Shape, volume_of
from rtfeedback.models.fc import DenseConfig, Means, Positive, Share, decoder, dense
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.models.volume import VolumeNetwork, VolumeSpec

Seconds = Annotated[float, Field(gt=0)]
CUBE = 5  # voxels along each side of a kernel


class Convolution(Config):
    """A convolution in time and the means of its maps, told in seconds for any rate."""

    filters: Positive = 512
    """Maps that it makes."""
    kernel: Seconds = 0.392
    """Seconds that a kernel's taps stand for: 49 of them at the papers' 250 Hz."""
    spacing: Seconds = 0.008
    """Seconds between taps, a sample at least: the dilation of 2 at 250 Hz."""
    stride: Seconds = 0.016
    """Seconds between the values of a map, a sample at least: 4 samples at 250 Hz."""
    pool: Seconds = 0.256
    """Seconds of a map that become one mean: 16 values at 250 Hz."""

    def dilation(self, rate: float) -> int:
        """Return the samples between taps, at a rate in hertz."""
        return max(1, round(self.spacing * rate))

    def taps(self, rate: float) -> int:
        """Return how many taps a kernel has."""
        return max(1, round(self.kernel * rate / self.dilation(rate)))

    def step(self, rate: float) -> int:
        """Return the samples between the values of a map."""
        return max(1, round(self.stride * rate))

    def values(self, rate: float) -> int:
        """Return how many values of a map become one mean."""
        return max(1, round(self.pool * rate / self.step(rate)))

    def span(self, rate: float) -> int:
        """Return the samples that a kernel spans, from its first tap to its last."""
        return (self.taps(rate) - 1) * self.dilation(rate) + 1


class CNNConfig(DenseConfig):
    """A convolution in time in place of the first dense layer, and one over the volume."""

    name: Literal["cnn"] = "cnn"
    convolution: Convolution = Convolution()
    """What the EEG goes through first."""
    joint: bool = True
    """Whether a kernel reaches over all channels, as in the papers' code, or is shared by
    them and sees one at a time, as in their text; that takes far fewer filters."""
    embedding: Positive = 200
    """Numbers that the maps become."""
    hidden: Annotated[tuple[Positive, ...], Field(min_length=1)] = (
        1000,
        1000,
        1000,
        1000,
        100,
    )
    """Units of each dense layer between the embedding and the voxels."""
    embedding_dropout: Share = 0.2
    """Share of the embedding dropped in training."""
    dropout: Share = 0.5
    """Share of each hidden layer's units dropped in training."""
    refinements: Annotated[int, Field(ge=0, le=12)] = 4
    """Convolutions over the volume, 5 voxels wide, that come last."""
    refinement_maps: Positive = 16
    """Maps between one of these and the next."""

    def shortest(self, rate: float) -> int:
        """Return how many samples a window has to have."""
        pooled = self.pooled(rate)
        return pooled * self.convolution.span(rate / pooled)

    def build(self, shape: Shape) -> CNN:
        """Return the model with untrained weights."""
        return CNN(self, shape, volume_of(shape, self.name))


class CNN(VolumeNetwork):
    """Maps of the EEG, dense layers to a coarse volume, convolutions that refine it.

    The coarse volume is laid on the grid, with 0 outside of the mask, and read at the
    mask's voxels once it is refined. The papers' text has a series of layers on each
    channel, their code one on all: both are here, one layer deep. Their code's dropouts of
    0.2 and 0.5 are taken as the embedding's and the hidden layers'; what else differs is
    told in `FC`. With 34 channels of 7500 samples, the defaults and 173 628 voxels:
    33 650 305 parameters.

    References
    ----------
    Bricman & Borst 2021, EEG2fMRI: Cross-Modal Synthesis for Functional Neuroimaging.
    """

    def __init__(self, config: CNNConfig, shape: Shape, volume: VolumeSpec) -> None:
        super().__init__(volume, shape.n_targets)
        self.config = config
        self.scaler = FeatureScaler(shape.n_features, shape.hold)
        self.pool = Means(config.pooled(shape.rate))
        n_groups = 1 if config.joint else shape.n_channels
        self.convolve = ConvEmbedding(
            config.convolution,
            n_groups=n_groups,
            n_inputs=shape.n_features // n_groups,
            n_times=self.pool.n_means(shape.n_times),
            rate=shape.rate / self.pool.size,
        )
        n_maps = n_groups * self.convolve.n_outputs
        self.embed = dense(n_maps, config.embedding, nn.ELU, config.embedding_dropout)
        self.decode = decoder(config.embedding, config, volume.n_voxels, nn.ELU)
        self.refine = refinement(config.refinements, config.refinement_maps)

    def volume(self, x: Tensor) -> Tensor:
        """Predict voxels' z, shape (n, n_voxels), from windows (n, n_features, n_times)."""
        maps = self.convolve(self.pool(self.scaler(x)))
        z: Tensor = self.decode(self.embed(maps.flatten(1)))
        return self.refined(z)

    def refined(self, z: Tensor) -> Tensor:
        """Return voxels (n, n_voxels) once each has seen those around it."""
        # Maps innermost in memory: on a CPU the gradient then takes a quarter of the time.
        volumes = self.on_grid(z)[..., None].movedim(-1, 1)
        return self.of_grid(self.refine(volumes)[:, 0])


class ConvEmbedding(nn.Module):
    """One convolution in time, shared by groups of features, and the means of its maps.

    With one group, a kernel reaches over all features; with a group for each channel, it
    is the papers' channel-shared embedding, which a transformer may take as tokens. Of
    what does not fill a step, the oldest samples are left out; the newest values of a map
    become a mean, however few they are.

    Parameters
    ----------
    config : Convolution
    n_groups : int
        Of features side by side.
    n_inputs : int
        Features of a group.
    n_times : int
    rate : float
        Of what comes in, in hertz.

    Attributes
    ----------
    n_outputs : int
        Numbers that a group becomes: its maps, one after another.
    """

    def __init__(
        self, config: Convolution, *, n_groups: int, n_inputs: int, n_times: int, rate: float
    ) -> None:
        super().__init__()
        step = config.step(rate)
        beyond = n_times - config.span(rate)
        self.n_groups, self.n_inputs = n_groups, n_inputs
        self.skipped = beyond % step
        self.convolve = nn.Conv1d(
            n_inputs,
            config.filters,
            config.taps(rate),
            stride=step,
            dilation=config.dilation(rate),
        )
        self.norm = nn.BatchNorm1d(config.filters)
        self.pool = nn.AvgPool1d(config.values(rate), ceil_mode=True)
        n_means = -(-(beyond // step + 1) // config.values(rate))
        self.n_outputs = config.filters * n_means

    def forward(self, x: Tensor) -> Tensor:
        """Embed windows (n, n_groups * n_inputs, n_times) as (n, n_groups, n_outputs)."""
        n, _, n_times = x.shape
        each = x.reshape(n * self.n_groups, self.n_inputs, n_times)[..., self.skipped :]
        maps: Tensor = self.pool(self.norm(F.elu(self.convolve(each))))
        return maps.reshape(n, self.n_groups, self.n_outputs)


def refinement(n_layers: int, n_maps: int) -> nn.Sequential:
    """Return convolutions over volumes (n, 1, x, y, z) that keep their shape."""
    widths = [1, *[n_maps] * (n_layers - 1), 1]
    layers: list[nn.Module] = []
    for each, following in pairwise(widths[: n_layers + 1]):
        layers += [nn.Conv3d(each, following, CUBE, padding=CUBE // 2), nn.ELU()]
    return nn.Sequential(*layers[:-1])
