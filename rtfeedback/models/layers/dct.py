"""Volumes of a low resolution laid smoothly on a fine grid, by the cosine transform."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rtfeedback.models.layers.residual_encoder import Size


def dct_matrix(n: int) -> Tensor:
    """Return the orthonormal DCT-II, float64 of shape (n frequencies, n places)."""
    places, frequencies = torch.arange(n).double(), torch.arange(n).double()
    cosines = torch.cos(math.pi / n * (places + 0.5) * frequencies[:, None])
    return torch.cat([cosines[:1] / math.sqrt(n), cosines[1:] * math.sqrt(2 / n)])


def stretching(low: int, size: int) -> Tensor:
    """Return what lays `low` values smoothly on `size` places, float32 of shape (size, low).

    Their DCT, padded with zeros above, transformed back: a constant stays what it is.
    """
    inverse = dct_matrix(size)[:low].T * math.sqrt(size / low)
    return (inverse @ dct_matrix(low)).float()


class Stretch(nn.Module):
    """Volumes of a low resolution on a fine grid.

    Parameters
    ----------
    low, grid : tuple of int
        Of what comes in and goes out.

    References
    ----------
    Calhas & Henriques 2022, arXiv:2203.03481.
    """

    x: Tensor
    y: Tensor
    z: Tensor

    def __init__(self, low: Size, grid: Size) -> None:
        super().__init__()
        self.low = low
        for name, few, many in zip("xyz", low, grid, strict=True):
            self.register_buffer(name, stretching(few, many), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Return volumes (n, *grid) of values (n, n_low), in C order."""
        volumes = torch.einsum("nabc,zc->nabz", values.reshape(-1, *self.low), self.z)
        volumes = torch.einsum("nabz,yb->nayz", volumes, self.y)
        return torch.einsum("nayz,xa->nxyz", volumes, self.x)
