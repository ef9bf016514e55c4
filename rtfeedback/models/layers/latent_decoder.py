"""From Fourier features of a latent code to the voxels of a volume."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtfeedback.models.layers.dct import Stretch
from rtfeedback.models.layers.residual_encoder import Size
from rtfeedback.models.volume import VolumeSpec

StyleKind = Literal["attention", "prior", "none"]


class Style(nn.Module):
    """What features are multiplied by: a latent style.

    Parameters
    ----------
    kind : str
        A linear map of the attention's weights, a learnt vector, or nothing.
    latent, n_channels : int
    """

    def __init__(self, kind: StyleKind, latent: int, n_channels: int) -> None:
        super().__init__()
        self.weight: nn.Parameter | None = None
        if kind != "none":
            n = n_channels**2 if kind == "attention" else 1
            self.weight = nn.Parameter(torch.empty(latent, n))
            nn.init.xavier_uniform_(self.weight)
        self.kind = kind

    def forward(self, features: Tensor, weights: Tensor | None) -> Tensor:
        """Return features (n, latent), given weights (n, n_channels, n_channels) if any."""
        if self.weight is None:
            return features
        if self.kind == "prior" or weights is None:
            return features * self.weight[:, 0]
        return features * F.linear(weights.flatten(1), self.weight)


class Dense(nn.Module):
    """A dense layer to all voxels at once, and the source's convolution of one voxel.

    The weights lie feature by feature, so that they are read and written in the order that
    they have in memory: a single window takes half as long as through `nn.Linear`. The
    convolution is a gain and an offset for all voxels, which go into the layer's numbers.

    Parameters
    ----------
    latent, n : int
        Features in, values out.
    """

    def __init__(self, latent: int, n: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(latent, n))
        self.bias = nn.Parameter(torch.zeros(n))
        self.gain = nn.Parameter(torch.ones(1))
        self.offset = nn.Parameter(torch.zeros(1))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Return values (n_windows, n) of features (n_windows, latent)."""
        bias = self.bias * self.gain + self.offset
        return torch.addmm(bias, features * self.gain, self.weight)


def decoder(latent: int, volume: VolumeSpec, low: Size | None) -> nn.Module:
    """Return what makes voxels (n, n_voxels) of features (n, latent).

    With a low resolution, it makes volumes (n, *grid).
    """
    if low is None:
        return Dense(latent, volume.n_voxels)
    return nn.Sequential(Dense(latent, math.prod(low)), Stretch(low, volume.grid))
