"""Linear regression on lagged log band power, the field's EEG fingerprint."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rtfeedback.models.architecture import Architecture, Shape
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.signals import Float64

RESPONSE = 12.0  # s: by then every response of the basis is back at zero, undershoot apart


class RidgeConfig(Architecture):
    """A linear map of the tokens of the last seconds."""

    name: Literal["ridge"] = "ridge"
    chain: str = "tokens"
    length: Annotated[float, Field(gt=0)] = 10.0
    """Seconds of tokens in a window; BOLD answers within some 10 s."""
    basis: Literal["lags", "hrf"] = "lags"
    """What weights are of: every lag of a feature, or the feature convolved with three
    haemodynamic responses, which peak 3, 4 and 5 s after the activity."""
    penalty: Literal["ridge", "group-lasso"] = "ridge"
    """What keeps weights small: their squares, or the norm of each group of them, which
    leaves most groups at nothing at all."""
    group: Literal["channel", "band"] = "channel"
    """What a group is: all the weights of a channel, or of a band."""
    penalties: tuple[Annotated[float, Field(gt=0)], ...] = (
        1e2, 3e2, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6,
    )  # fmt: skip
    """Ridge's candidates; blocked cross-validation inside the training part chooses."""
    path: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (
        0.8, 0.6, 0.45, 0.35, 0.25, 0.18, 0.13, 0.09, 0.06,
    )  # fmt: skip
    """Group lasso's: shares of the least penalty that leaves no group; chosen alike."""

    def shortest(self, rate: float) -> int:
        """Return how many tokens a window has to have: the basis takes whole responses."""
        return ceil(RESPONSE * rate) if self.basis == "hrf" else 1

    def build(self, shape: Shape) -> Ridge:
        """Return the model with untrained weights."""
        return Ridge(shape)


class Ridge(nn.Module):
    """A linear map of every feature at every lag.

    Fitted at the desk, in closed form or, with group lasso, to the one minimum that there
    is. A convolution is linear too, so weights of an HRF basis are told as the weights of
    lags that they come to: inference is one product whatever was fitted. With 64 channels,
    8 bands and 40 lags: 20 481 parameters per ROI; three responses have 1 537 to choose.

    Cury et al. take 10 bands from 7 to 30 Hz and penalise weights one by one, by an L1 norm
    or by one of their groups; here the bands are the chain's.

    References
    ----------
    Meir-Hasson et al. 2014, NeuroImage 102, doi:10.1016/j.neuroimage.2013.11.004.
    Cury et al. 2020, Front. Neurosci. 13:1451, doi:10.3389/fnins.2019.01451.
    Yuan & Lin 2006, J. R. Stat. Soc. B 68:49, doi:10.1111/j.1467-9868.2005.00532.x.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.scaler = FeatureScaler(shape.n_features, shape.hold)
        self.linear = nn.Linear(shape.n_features * shape.n_times, shape.n_targets)

    def set(self, weights: Float64, bias: Float64) -> None:
        """Take a solution: weights (n_targets, n_features * n_times) and bias."""
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(weights))
            self.linear.bias.copy_(torch.from_numpy(bias))

    def forward(self, x: Tensor) -> Tensor:
        """Predict z, shape (n, n_targets), from windows (n, n_features, n_times)."""
        out: Tensor = self.linear(self.scaler(x).flatten(1))
        return out
