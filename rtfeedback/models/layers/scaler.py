"""Standardise each feature by its mean and sd over the training part; leave out artefacts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rtfeedback.signals import Float64


class FeatureScaler(nn.Module):
    """(x - mean) / sd per feature row; the statistics are buffers, fitted at the desk.

    What is masked as an artefact comes as NaN and leaves as 0, the training part's mean.

    Parameters
    ----------
    n_features : int
    hold : int
        Samples before a masked one that are left out with it: an artefact is known for one
        only once it is large. All is decided inside the window, so nothing depends on what
        comes after it.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, n_features: int, hold: int = 0) -> None:
        super().__init__()
        self.hold = hold
        self.register_buffer("mean", torch.zeros(n_features, 1))
        self.register_buffer("sd", torch.ones(n_features, 1))

    def fit(self, mean: Float64, sd: Float64) -> None:
        """Take the training part's statistics, each of shape (n_features,)."""
        self.mean.copy_(torch.from_numpy(mean).reshape(-1, 1))
        self.sd.copy_(torch.from_numpy(sd).reshape(-1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scale windows, shape (n, n_features, n_times)."""
        scaled = (x - self.mean).div_(self.sd)
        # A sum is a number only if all are: to look is cheap, but would make a GPU wait.
        if x.is_cpu and not x.sum().isnan():
            return scaled
        return torch.where(self.left_out(x), 0.0, scaled)

    def left_out(self, x: Tensor) -> Tensor:
        """Return what of windows is left out, bool of their shape (..., n_times)."""
        out, held = x.isnan(), 0
        while held < self.hold:  # doubled each time
            step = min(held + 1, self.hold - held)
            out = torch.cat([out[..., :-step] | out[..., step:], out[..., -step:]], dim=-1)
            held += step
        return out
