"""Standardise each feature by its mean and sd over the training part."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rtfeedback.signals import Float64


class FeatureScaler(nn.Module):
    """(x - mean) / sd per feature row; the statistics are buffers, fitted at the desk."""

    mean: Tensor
    sd: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features, 1))
        self.register_buffer("sd", torch.ones(n_features, 1))

    def fit(self, mean: Float64, sd: Float64) -> None:
        """Take the training part's statistics, each of shape (n_features,)."""
        self.mean.copy_(torch.from_numpy(mean).reshape(-1, 1))
        self.sd.copy_(torch.from_numpy(sd).reshape(-1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scale windows, shape (n, n_features, n_times)."""
        return (x - self.mean) / self.sd
