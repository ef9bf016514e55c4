"""Where a token stands in its sequence, added to what it says."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

SCALE = 0.1  # of a position beside its token: EEG2fMRI's


class Positions(nn.Module):
    """A row for each place, sinusoids or learned, added to the token that stands there.

    Parameters
    ----------
    kind : str
    length, width : int
        Places, and values of a token.

    References
    ----------
    Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    """

    table: Tensor

    def __init__(self, kind: Literal["sinusoidal", "learned"], length: int, width: int) -> None:
        super().__init__()
        if kind == "learned":
            self.table = nn.Parameter(SCALE * torch.randn(length, width))
        else:
            self.register_buffer("table", SCALE * sinusoids(length, width))

    def forward(self, tokens: Tensor, first: int = 0) -> Tensor:
        """Add their places to tokens (n, length, width), the first of which is `first`."""
        return tokens + self.table[first : first + tokens.shape[1]]


def sinusoids(length: int, width: int) -> Tensor:
    """Return sines and cosines in turn, shape (length, width), each pair slower."""
    pair = torch.arange(width) // 2
    rate = torch.exp(-math.log(1e4) * 2 * pair / width)
    phase = torch.arange(length)[:, None] * rate
    return torch.where(torch.arange(width) % 2 == 0, phase.sin(), phase.cos())
