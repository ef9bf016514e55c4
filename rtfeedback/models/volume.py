"""Whole volumes: what they are, and what a model of them owes to regions."""

from __future__ import annotations

from math import prod
from typing import Annotated, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from rtfeedback.config import Config
from rtfeedback.models.network import Network
from rtfeedback.signals import Float64, Int64

Count = Annotated[int, Field(gt=0, le=1024)]
Row = tuple[float, float, float, float]


class VolumeSpec(Config):
    """The volumes that a model predicts."""

    grid: tuple[Count, Count, Count]
    """Voxels along each axis."""
    affine: tuple[Row, Row, Row, Row]
    """From voxel to millimetres."""
    n_voxels: Annotated[int, Field(gt=0)]
    """Of the mask: those that are predicted."""
    unit: str
    """Of a voxel, such as `percent signal change`."""
    definition: str = ""
    """Where the mask came from."""

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if self.n_voxels > prod(self.grid):
            raise ValueError(f"{self.n_voxels} voxels do not go into a grid of {self.grid}")
        affine = np.array(self.affine)
        if self.affine[3] != (0, 0, 0, 1) or np.linalg.matrix_rank(affine) < 4:
            raise ValueError("'affine' gives voxels no place: it has no inverse")
        return self


class VolumeNetwork(Network):
    """A network whose outcome is a whole volume, and whose targets are regions of it.

    It predicts each voxel of the mask in units of its `sd` about its `mean` over the
    training part. A region is a weighted sum of voxels, so its z is one of theirs.

    Parameters
    ----------
    volume : VolumeSpec
    n_targets : int

    Attributes
    ----------
    voxels : int64, shape (n_voxels,)
        Where the mask's voxels stand in the grid, in C order.
    mean, sd : float32, shape (n_voxels,)
        Of each voxel over the training part, in the volumes' unit.
    regions : float32, shape (n_targets, n_voxels)
        What of a voxel's value goes into a target's z.
    offset : float32, shape (n_targets,)
    """

    voxels: Tensor
    mean: Tensor
    sd: Tensor
    regions: Tensor
    offset: Tensor

    def __init__(self, volume: VolumeSpec, n_targets: int) -> None:
        super().__init__()
        self.spec = volume
        self.register_buffer("voxels", torch.zeros(volume.n_voxels, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(volume.n_voxels))
        self.register_buffer("sd", torch.ones(volume.n_voxels))
        self.register_buffer("regions", torch.zeros(n_targets, volume.n_voxels))
        self.register_buffer("offset", torch.zeros(n_targets))

    def set_volume(self, voxels: Int64, mean: Float64, sd: Float64) -> None:
        """Take where the voxels stand, and their statistics, each of shape (n_voxels,)."""
        self.voxels.copy_(torch.from_numpy(voxels))
        self.mean.copy_(torch.from_numpy(mean))
        self.sd.copy_(torch.from_numpy(sd))

    def check_volume(self) -> None:
        """Refuse voxels that have no place of their own in the grid, in its order.

        Raises
        ------
        ValueError
        """
        voxels, n = self.voxels, prod(self.spec.grid)
        if int(voxels[0]) < 0 or int(voxels[-1]) >= n or not bool((voxels.diff() > 0).all()):
            raise ValueError(f"'voxels' are not places of a grid of {n}, each once, in order")
        if not bool((self.sd > 0).all()):
            raise ValueError("'sd' of a voxel is not above 0")

    def set_regions(self, weights: Float64, mean: Float64, sd: Float64) -> None:
        """Take what targets are of voxels, and the statistics that make them z.

        Parameters
        ----------
        weights : float64, shape (n_targets, n_voxels)
            A target is the sum of these times the voxels, in the volumes' unit.
        mean, sd : float64, shape (n_targets,)
            Of the targets over the training part.
        """
        w, m, s = (torch.from_numpy(each).double() for each in (weights, mean, sd))
        self.regions.copy_(w * self.sd.double() / s[:, None])
        self.offset.copy_((w @ self.mean.double() - m) / s)

    def volume(self, x: Tensor) -> Tensor:
        """Predict voxels' z, shape (n, n_voxels), from windows (n, n_features, n_times)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Predict the regions' z, shape (n, n_targets), from windows."""
        return self.whole(x)[0]

    def whole(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the regions' z and, in the same pass, the voxels' that they are of."""
        z = self.volume(x)
        return self.of_volume(z), z

    def outcome(self, x: Tensor) -> Tensor:
        """Return voxels' z: a training is judged by the volume, not by its regions."""
        return self.volume(x)

    def of_volume(self, z: Tensor) -> Tensor:
        """Return the regions' z, shape (n, n_targets), of voxels' z (n, n_voxels)."""
        return torch.nn.functional.linear(z, self.regions, self.offset)

    def raw(self, z: Tensor) -> Tensor:
        """Return voxels in the volumes' unit, shape (n, n_voxels)."""
        return z * self.sd + self.mean

    def on_grid(self, values: Tensor) -> Tensor:
        """Lay voxels (n, n_voxels) on the grid, shape (n, *grid), 0 outside the mask."""
        x, y, z = self.spec.grid
        laid = values.new_zeros(len(values), x * y * z)
        return laid.index_copy(1, self.voxels, values).reshape(-1, x, y, z)

    def of_grid(self, volumes: Tensor) -> Tensor:
        """Return the mask's voxels (n, n_voxels) of volumes (n, *grid)."""
        return volumes.flatten(1).index_select(1, self.voxels)
