"""Attention between EEG channels: which of them each one is made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TopographicalAttention(nn.Module):
    """Each channel becomes a mean of all, weighted by what it holds itself.

    A channel's features x_c are compared with a learnt pattern for each channel, and the
    softmax of these scores weighs the channels: x'_c = sum_k softmax_k(x_c A_k) x_k.

    Parameters
    ----------
    n_channels, n_features : int

    References
    ----------
    Calhas & Henriques 2022, arXiv:2203.03481.
    """

    def __init__(self, n_channels: int, n_features: int) -> None:
        super().__init__()
        self.patterns = nn.Parameter(torch.empty(n_channels, n_features))
        nn.init.xavier_uniform_(self.patterns)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return attended channels and the weights, of channels (n, n_channels, ...).

        Channels come in the shape given; weights are (n, n_channels, n_channels), rows
        that sum to 1.
        """
        flat = x.flatten(2)
        weights = torch.softmax(flat @ self.patterns.mT, dim=-1)
        return (weights @ flat).reshape(x.shape), weights


def neglect(weights: Tensor) -> Tensor:
    """Return by how much weights (n, n_channels, n_channels) leave channels out, a scalar.

    Minus the log of what a channel is given by all, summed over the channels and taken
    over the windows as a mean: least, 0, where each is given as much as any other.
    """
    return -weights.sum(dim=1).clamp_min(1e-12).log().sum(dim=-1).mean()
