"""Whole volumes in a few numbers: an encoder tells how much of each fixed component."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rtfeedback.models.architecture import Architecture, Shape, volume_of
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.models.patch_transformer import PatchTransformerSettings
from rtfeedback.models.streaming import State
from rtfeedback.models.tcn import TCNSettings
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.signals import Float64

Encoder = Annotated[TCNSettings | PatchTransformerSettings, Field(discriminator="name")]


class VolumeLowRankConfig(Architecture):
    """An encoder of EEG, and the components that volumes are made of."""

    of_volumes: ClassVar[bool] = True
    name: Literal["volume-lowrank"] = "volume-lowrank"
    chain: str = "tokens"
    """Which of the store's chains feeds the encoder."""
    length: Annotated[float, Field(gt=0)] = 16.0
    """Seconds of samples or tokens in a window; it has to hold all that the encoder sees."""
    components: Annotated[int, Field(gt=0)] = 64
    """Spatial components, fitted to the volumes of the training part."""
    encoder: Encoder = TCNSettings()
    """What says how much of each there is, and its settings; `name` says which."""

    def shortest(self, rate: float) -> int:
        """Return how many samples a window has to have."""
        return self.encoder.shortest(rate)

    def build(self, shape: Shape) -> VolumeLowRank:
        """Return the model with untrained weights."""
        return VolumeLowRank(self, shape)


class VolumeLowRank(VolumeNetwork):
    """A model of regions whose regions are components; voxels are their fixed sum.

    Neighbouring voxels say much the same, so a head with a weight from each feature to each
    voxel learns the noise of a few hundred volumes. Here the maps are fitted to the volumes
    beforehand, by no EEG, and only their courses are learnt: for 30 000 voxels from a vector
    of 64, 4 160 weights and not 1.9 million. The error over all voxels is what is made
    smaller, so a component weighs as much as it moves voxels. The encoder's head begins at
    zero, which is the mean volume: from a random one, most of a training goes into unlearning
    patterns that were never there. It goes piece by piece as its encoder does: `step` (see
    `Streaming`).

    With 64 channels, 8 bands and the defaults: 98 752 parameters, however many voxels and
    regions, and 64 numbers per voxel that are set. With a patch-transformer on samples at
    125 Hz in the TCN's place: 1 055 952 parameters.

    Attributes
    ----------
    basis : float32, shape (n_components, n_voxels)
        What a component whose course has gone up by its sd adds to voxels' z.
    centre : float32, shape (n_voxels,)
        Voxels' z where every component is at its mean.

    References
    ----------
    Components of volumes: Dadi et al. 2020, doi:10.1016/j.neuroimage.2020.117126 (DiFuMo);
    here principal ones (`offline/bold/components.py`).
    """

    basis: Tensor
    centre: Tensor

    def __init__(self, config: VolumeLowRankConfig, shape: Shape) -> None:
        volume = volume_of(shape, config.name)
        super().__init__(volume, shape.n_targets)
        self.config = config
        inner = replace(shape, n_targets=config.components, volume=None)
        self.encoder = config.encoder.build(inner)
        nn.init.zeros_(self.encoder.head.weight)
        nn.init.zeros_(self.encoder.head.bias)
        self.stride, self.reach = self.encoder.stride, self.encoder.reach
        size = (config.components, volume.n_voxels)
        self.register_buffer("basis", torch.zeros(size))
        self.register_buffer("centre", torch.zeros(volume.n_voxels))

    @property
    def scaler(self) -> FeatureScaler:  # type: ignore[override]
        """The encoder's: one under two names could not be saved."""
        return self.encoder.scaler

    def set_components(self, basis: Float64, sd: Float64, mean: Float64) -> None:
        """Take the components, once `set_volume` has taken the voxels' statistics.

        Parameters
        ----------
        basis : float64, shape (n_components, n_voxels)
            In the volumes' unit; orthonormal or not.
        sd : float64, shape (n_components,)
            Of the components' courses over the training part, which makes them z.
        mean : float64, shape (n_voxels,)
            The volume that components are about, in the volumes' unit.
        """
        b, s, m = (torch.from_numpy(each).double() for each in (basis, sd, mean))
        self.basis.copy_(b * s[:, None] / self.sd.double())
        self.centre.copy_((m - self.mean.double()) / self.sd.double())

    def courses(self, x: Tensor) -> Tensor:
        """Predict the components' z, shape (n, n_components), from windows."""
        out: Tensor = self.encoder(x)
        return out

    def volume(self, x: Tensor) -> Tensor:
        """Predict voxels' z, shape (n, n_voxels), from windows (n, n_features, n_times)."""
        return self.of_courses(self.courses(x))

    def of_courses(self, courses: Tensor) -> Tensor:
        """Return voxels' z, shape (n, n_voxels), of components' z (n, n_components)."""
        return torch.addmm(self.centre, courses, self.basis)

    def start(self, n: int = 1) -> State:
        """Return the state of n streams of which nothing was seen: the encoder's."""
        return self.encoder.start(n)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Predict the regions' z from what came next, (n, n_features, stride)."""
        courses, state = self.encoder.step(x, state)
        return self.of_volume(self.of_courses(courses)), state
