"""The last layer of a model of regions: their z, and how sure of it the model is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LARGEST = 5.0  # of a log-variance's size: an sd between 0.08 and 12 of the target's


class Head(nn.Linear):
    """Targets' z, or a Gaussian of it.

    Parameters
    ----------
    width : int
        Of what comes in.
    n_targets : int
    variance : bool
        Whether to tell log-variances as well. They are bounded by a tanh and not cut off:
        one that has gone too far still has a gradient that leads it back.
    """

    def __init__(self, width: int, n_targets: int, *, variance: bool = False) -> None:
        super().__init__(width, n_targets * (2 if variance else 1))
        self.variance = variance

    def forward(self, x: Tensor) -> Tensor:
        """Return z (n, n_targets), or means and then log-variances (n, 2 * n_targets)."""
        out = super().forward(x)
        if not self.variance:
            return out
        mean, log_variance = out.chunk(2, dim=-1)
        return torch.cat([mean, LARGEST * torch.tanh(log_variance / LARGEST)], dim=-1)
