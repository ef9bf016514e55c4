"""A temporal convolutional network on band-power tokens."""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rtfeedback.models.architecture import Architecture, Shape
from rtfeedback.models.network import Network
from rtfeedback.models.scaler import FeatureScaler

Positive = Annotated[int, Field(gt=0)]
KERNEL = 3  # tokens of a convolution


class TCNConfig(Architecture):
    """Causal dilated convolutions on the tokens of the last seconds."""

    name: Literal["tcn"] = "tcn"
    chain: str = "tokens"
    length: Annotated[float, Field(gt=0)] = 16.0
    """Seconds of tokens in a window; it has to hold all that the newest output sees."""
    width: Positive = 64
    """Maps of each block."""
    blocks: Annotated[int, Field(gt=0, le=12)] = 5
    """Convolutions of 3 tokens, each dilated twice as far as the one before: with 5, the
    newest output sees 63 tokens, 15.75 s at 4 Hz."""
    feature_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.8
    """Share of the features, each a band of a channel, dropped from a whole window in
    training: they are many, much alike, and a few hundred windows are learnt by heart."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of activations dropped in training."""

    @property
    def reach(self) -> int:
        """Tokens that the newest output sees."""
        return (2 << self.blocks) - 1

    def shortest(self, rate: float) -> int:
        """Return how many tokens a window has to have."""
        return self.reach

    def build(self, shape: Shape) -> TCN:
        """Return the model with untrained weights."""
        return TCN(self, shape)


class TCN(Network):
    """Residual blocks of dilated causal convolutions, read out at the newest token.

    Block i sees the tokens 0, 2**i and 2 * 2**i ago. All that the newest output needs of a
    block is every 2**(i+1)-th value of it, so that a window is answered by convolutions
    with a stride of 2 and no dilation: the same numbers as from the dilated ones, for a
    fifth of the work. No padding is ever seen, and nothing is normalised over time, so the
    same weights go token by token as well. With 64 channels, 8 bands and the defaults:
    94 592 + 65 per ROI parameters.

    References
    ----------
    Bai, Kolter & Koltun 2018, arXiv:1803.01271.
    van den Oord et al. 2016, arXiv:1609.03499.
    """

    def __init__(self, config: TCNConfig, shape: Shape) -> None:
        super().__init__()
        self.config = config
        self.scaler = FeatureScaler(shape.n_features, shape.hold)
        self.feature_dropout = nn.Dropout1d(config.feature_dropout)
        self.embed = nn.Conv1d(shape.n_features, config.width, 1)
        self.blocks = nn.ModuleList(
            nn.Conv1d(config.width, config.width, KERNEL, stride=2)
            for _ in range(config.blocks)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width, shape.n_targets)

    def forward(self, x: Tensor) -> Tensor:
        """Predict z, shape (n, n_targets), from windows (n, n_features, n_times)."""
        # Scaled as a whole: of a masked token, the tokens before it are left out as well.
        x = self.scaler(x)[..., -self.config.reach :]
        x = self.embed(self.feature_dropout(x))
        for block in self.blocks:
            x = x[..., KERNEL - 1 :: 2] + self.dropout(block(F.elu(x)))
        out: Tensor = self.head(F.elu(x[..., -1]))
        return out
