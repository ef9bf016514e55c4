"""Ridge regression on lagged log band power, the field's EEG fingerprint."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rtfeedback.models.architecture import Architecture, Shape
from rtfeedback.models.scaler import FeatureScaler
from rtfeedback.signals import Float64


class RidgeConfig(Architecture):
    """Ridge on the tokens of the last seconds."""

    name: Literal["ridge"] = "ridge"
    chain: str = "tokens"
    length: Annotated[float, Field(gt=0)] = 10.0
    """Seconds of tokens in a window; BOLD answers within some 10 s."""
    penalties: tuple[Annotated[float, Field(gt=0)], ...] = (
        1e2, 3e2, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6,
    )  # fmt: skip
    """Candidates; blocked cross-validation inside the training part chooses."""

    def build(self, shape: Shape) -> Ridge:
        """Return the model with untrained weights."""
        return Ridge(shape)


class Ridge(nn.Module):
    """A linear map of every feature at every lag.

    Trained in closed form at the desk. With 64 channels, 8 bands and 40 lags: 20 481
    parameters per ROI.

    References
    ----------
    Meir-Hasson et al. 2014, NeuroImage 102, doi:10.1016/j.neuroimage.2013.11.004.
    Cury et al. 2020, Front. Neurosci. 13:1451, doi:10.3389/fnins.2019.01451.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.scaler = FeatureScaler(shape.n_features, shape.hold)
        self.linear = nn.Linear(shape.n_features * shape.n_times, shape.n_targets)

    def set(self, weights: Float64, bias: Float64) -> None:
        """Take a closed-form solution: weights (n_targets, n_features * n_times), bias."""
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(weights))
            self.linear.bias.copy_(torch.from_numpy(bias))

    def forward(self, x: Tensor) -> Tensor:
        """Predict z, shape (n, n_targets), from windows (n, n_features, n_times)."""
        out: Tensor = self.linear(self.scaler(x).flatten(1))
        return out
