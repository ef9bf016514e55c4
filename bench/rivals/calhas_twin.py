"""Calhas' network as a straightforward port to torch would be: what `calhas` is held against.

Spectra come ready-made. Each path of a block has its own convolution, dense layers are
`nn.Linear`, and maps lie as torch lays them. The arithmetic and the numbers that are trained
are those of `rtfeedback.models.Calhas` at its defaults.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, int, int]
EEG, FMRI, LATENT, MAPS = (64, 134, 10), (64, 64, 30), 343, 4
EEG_BLOCKS: tuple[tuple[Size, Size], ...] = (((7, 37, 2), (3, 5, 1)), ((7, 7, 2), (2, 2, 1)))
FMRI_BLOCKS: tuple[tuple[Size, Size], ...] = (
    ((14, 6, 12), (2, 1, 1)),
    ((6, 4, 6), (1, 1, 1)),
    ((12, 47, 5), (1, 1, 1)),
)


class Block(nn.Module):
    """Two paths with a convolution each: one goes through another, then they are added."""

    def __init__(self, n_in: int, kernel: Size, stride: Size, pool: Size) -> None:
        super().__init__()
        self.left = nn.Sequential(
            nn.Conv3d(n_in, MAPS, kernel, stride),
            nn.MaxPool3d(pool, stride=1),
            nn.BatchNorm3d(MAPS),
            nn.ReLU(),
            nn.Conv3d(MAPS, MAPS, 3, padding=1),
            nn.BatchNorm3d(MAPS),
            nn.ReLU(),
        )
        self.right = nn.Sequential(
            nn.Conv3d(n_in, MAPS, kernel, stride),
            nn.MaxPool3d(pool, stride=1),
            nn.BatchNorm3d(MAPS),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (n, MAPS, ...) of maps (n, n_in, ...)."""
        return F.relu(self.left(x) + self.right(x))


def encoder(blocks: tuple[tuple[Size, Size], ...], shape: Size, pool: Size) -> nn.Sequential:
    """Return what makes codes (n, LATENT) of volumes (n, 1, *shape)."""
    layers: list[nn.Module] = []
    for i, (kernel, stride) in enumerate(blocks):
        layers.append(Block(MAPS if i else 1, kernel, stride, pool))
        x, y, z = (
            (size - k) // s + 2 - p
            for size, k, s, p in zip(shape, kernel, stride, pool, strict=True)
        )
        shape = x, y, z
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(MAPS * math.prod(shape), LATENT))


class Twin(nn.Module):
    """Spectra (n, 64, 134, 10) to volumes (n, 64, 64, 30).

    References
    ----------
    Calhas & Henriques 2022, arXiv:2203.03481.
    """

    kernel: Tensor
    phase: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(math.prod(EEG[1:]), EEG[0], bias=False)
        self.eeg_encoder = encoder(EEG_BLOCKS, EEG, (2, 2, 1))
        self.register_buffer("kernel", torch.randn(LATENT, LATENT))
        self.register_buffer("phase", torch.rand(LATENT) * 2 * math.pi)
        self.scale = nn.Parameter(torch.full((1,), math.sqrt(LATENT / 2)))
        self.norm = nn.LayerNorm(LATENT)
        nn.init.constant_(self.norm.weight, math.pi / 2)
        nn.init.constant_(self.norm.bias, math.pi / 2)
        self.style = nn.Linear(EEG[0] ** 2, LATENT, bias=False)
        self.dropout = nn.Dropout(0.5)
        self.dense = nn.Linear(LATENT, math.prod(FMRI))
        self.filter = nn.Conv3d(1, 1, 1)
        self.fmri_encoder = encoder(FMRI_BLOCKS, FMRI, (2, 2, 2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return volumes, and the codes (n, LATENT) that they were made of."""
        flat = x.flatten(2)
        weights = torch.softmax(self.scores(flat), dim=-1)
        code = self.eeg_encoder((weights @ flat).reshape(x.shape)[:, None])
        features = torch.cos(self.norm(code / self.scale @ self.kernel + self.phase))
        features = self.dropout(features * self.style(weights.flatten(1)))
        volume = self.filter(self.dense(features).reshape(-1, 1, *FMRI))
        return volume[:, 0], code

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean absolute error, and 1 - cosine of the codes of EEG and fMRI."""
        volume, code = self(x)
        measured = self.dropout(self.fmri_encoder(y[:, None]))
        return F.l1_loss(volume, y) + (1 - F.cosine_similarity(code, measured)).mean()
