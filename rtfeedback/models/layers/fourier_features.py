"""Fourier features of a latent code."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

FourierKind = Literal["random", "octaves", "none"]
LEAST_SCALE = 1e-3


class RandomFourierFeatures(nn.Module):
    """cos of random projections, which a layer norm spreads about pi / 2.

    The projections and phases are drawn once and stay; what is learnt is how far they are
    stretched, and the norm. The package declares the norm frozen, and then trains it: its
    own count of trainable parameters holds it.

    Parameters
    ----------
    n : int
        Values in, features out.

    References
    ----------
    Tancik et al. 2020, arXiv:2006.10739. Rahimi & Recht 2007, NIPS 20.
    """

    kernel: Tensor
    phase: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.randn(n, n))
        self.register_buffer("phase", torch.rand(n) * 2 * math.pi)
        self.scale = nn.Parameter(torch.full((1,), math.sqrt(n / 2)))
        self.norm = nn.LayerNorm(n)
        nn.init.constant_(self.norm.weight, math.pi / 2)
        nn.init.constant_(self.norm.bias, math.pi / 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (n_windows, n) of codes of the same shape."""
        return torch.cos(self.norm(torch.addmm(self.phase, x / self.scale, self.kernel)))

    @torch.no_grad()
    def constrain(self) -> None:
        """Keep the scale above zero."""
        self.scale.clamp_(min=LEAST_SCALE)


class OctaveFeatures(nn.Module):
    """cos of each value times pi * 2**(i / n), from half a turn to a whole one per unit.

    Where the package multiplies each of these with the sum of all values, which leaves one
    number of the code, here value i has frequency i.

    Parameters
    ----------
    n : int
    """

    frequencies: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        octaves = math.pi * torch.pow(2.0, torch.arange(n) / n)
        self.register_buffer("frequencies", octaves, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (n_windows, n) of codes of the same shape."""
        return torch.cos(x * self.frequencies)


def fourier_features(kind: FourierKind, n: int) -> nn.Module:
    """Return what becomes of a code of n values; with `none`, a linear map."""
    if kind == "random":
        return RandomFourierFeatures(n)
    return OctaveFeatures(n) if kind == "octaves" else nn.Linear(n, n)
