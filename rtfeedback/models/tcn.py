"""A temporal convolutional network on band-power tokens."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rtfeedback.config import Config
from rtfeedback.models.architecture import Architecture, Shape
from rtfeedback.models.layers.head import Head
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.models.network import Network
from rtfeedback.models.streaming import State

Positive = Annotated[int, Field(gt=0)]
KERNEL = 3  # tokens of a convolution


class TCNSettings(Config):
    """The convolutions, whatever they are read out for."""

    name: Literal["tcn"] = "tcn"
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


class TCNConfig(TCNSettings, Architecture):
    """Causal dilated convolutions on the tokens of the last seconds."""

    chain: str = "tokens"
    length: Annotated[float, Field(gt=0)] = 16.0
    """Seconds of tokens in a window; it has to hold all that the newest output sees."""
    variance: bool = False
    """Tell how sure each value is: a log-variance beside each target's z."""

    def build(self, shape: Shape) -> TCN:
        """Return the model with untrained weights."""
        return TCN(self, shape, variance=self.variance)


class TCN(Network):
    """Residual blocks of dilated causal convolutions, read out at the newest token.

    Block i sees the tokens 0, 2**i and 2 * 2**i ago. All that the newest output needs of a
    block is every 2**(i+1)-th value of it, so that a window is answered by convolutions
    with a stride of 2 and no dilation: the same numbers as from the dilated ones, for a
    fifth of the work. No padding is ever seen, and nothing is normalised over time, so the
    same weights go token by token as well: `step` (see `Streaming`). With 64 channels,
    8 bands and the defaults: 94 592 + 65 per ROI parameters, and 65 more with its variance.

    References
    ----------
    Bai, Kolter & Koltun 2018, arXiv:1803.01271.
    van den Oord et al. 2016, arXiv:1609.03499.
    """

    stride = 1

    def __init__(self, config: TCNSettings, shape: Shape, *, variance: bool = False) -> None:
        super().__init__()
        self.config = config
        self.gaussian = variance
        self.reach = config.reach
        self.scaler = FeatureScaler(shape.n_features, shape.hold)
        self.feature_dropout = nn.Dropout1d(config.feature_dropout)
        self.embed = nn.Conv1d(shape.n_features, config.width, 1)
        self.blocks = nn.ModuleList(
            nn.Conv1d(config.width, config.width, KERNEL, stride=2)
            for _ in range(config.blocks)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = Head(config.width, shape.n_targets, variance=variance)

    def forward(self, x: Tensor) -> Tensor:
        """Predict z, shape (n, n_targets), from windows (n, n_features, n_times)."""
        # Scaled as a whole: of a masked token, the tokens before it are left out as well.
        x = self.scaler(x)[..., -self.reach :]
        x = self.embed(self.feature_dropout(x))
        for block in self.blocks:
            x = x[..., KERNEL - 1 :: 2] + self.dropout(block(F.elu(x)))
        out: Tensor = self.head(F.elu(x[..., -1]))
        return out

    def start(self, n: int = 1) -> State:
        """Return the state of n streams of which nothing was seen.

        Tokens as they came, (n, n_features, hold), then of each block what it saw of its
        last 2 * 2**i tokens, (n, width, 2 * 2**i).
        """
        like = self.scaler.mean
        held = like.new_full((n, len(like), self.scaler.hold), torch.nan)
        reach = [(KERNEL - 1) << i for i in range(len(self.blocks))]
        return (held, *(like.new_zeros(n, self.config.width, each) for each in reach))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Predict z, shape (n, n_targets), from the next token (n, n_features, 1)."""
        held, *pasts = state
        held = torch.cat([held, x], dim=-1)
        x = self.embed(self.scaler(held))
        kept = []
        for i, (block, past) in enumerate(zip(self.blocks, pasts, strict=True)):
            assert isinstance(block, nn.Conv1d)
            seen = torch.cat([past, F.elu(x)], dim=-1)
            kept.append(seen[..., 1 : 1 + past.shape[-1]])  # of `held`, the first only
            x = x + _dilated(block, seen, 2**i)
        out: Tensor = self.head(F.elu(x[..., -1]))
        return out, (held[..., 1:], *kept)


def _dilated(block: nn.Conv1d, seen: Tensor, dilation: int) -> Tensor:
    """Convolve (n, width, n_tokens); for one token, torch's own takes up to 5 times as long."""
    n_out = seen.shape[-1] - (KERNEL - 1) * dilation
    taps = [seen[..., i * dilation : i * dilation + n_out] for i in range(KERNEL)]
    taken = torch.stack(taps, dim=-1).transpose(1, 2).flatten(2)
    return F.linear(taken, block.weight.flatten(1), block.bias).mT
