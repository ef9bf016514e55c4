"""A causal transformer over short patches of EEG."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from rtfeedback.config import Config
from rtfeedback.errors import ConfigError
from rtfeedback.models.architecture import Architecture, Shape
from rtfeedback.models.layers.head import Head
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.models.network import Network
from rtfeedback.models.streaming import State

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class PatchTransformerSettings(Config):
    """The transformer, whatever it is read out for."""

    name: Literal["patch-transformer"] = "patch-transformer"
    patch: Annotated[float, Field(gt=0)] = 0.25
    """Seconds of a patch, made one vector: the whole samples, or tokens, that lie in it."""
    width: Positive = 128
    """Length of that vector."""
    layers: Annotated[int, Field(gt=0, le=24)] = 4
    """Layers of attention."""
    heads: Positive = 4
    """Attentions side by side in a layer, each over its part of the vector."""
    hidden: Positive = 512
    """Units between the two dense layers after each attention."""
    span: Annotated[int, Field(gt=1)] = 17
    """Patches that an attention sees, its own among them: with 4 layers of 17, the newest
    output sees 65 patches, 16.25 s."""
    feature_dropout: Share = 0.25
    """Share of the features, each a channel or a band of one, dropped from a whole window
    in training."""
    dropout: Share = 0.25
    """Share of activations dropped in training."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> PatchTransformerSettings:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads cannot share a width of {self.width} evenly")
        return self

    @property
    def reach(self) -> int:
        """Patches that the newest output sees."""
        return self.layers * (self.span - 1) + 1

    def stride(self, rate: float) -> int:
        """Return how many samples a patch has, at a rate in hertz.

        Raises
        ------
        ConfigError
            If a patch is shorter than a sample.
        """
        stride = int(self.patch * rate + 1e-9)  # rounded down: `length` then holds the reach
        if stride < 1:
            raise ConfigError(
                f"A patch of {self.patch:g} s holds no sample",
                found=f"{rate:g} Hz, a sample each {1 / rate:.4g} s",
                do="Lengthen model.patch, or feed the model from a chain of a higher rate",
            )
        return stride

    def shortest(self, rate: float) -> int:
        """Return how many samples a window has to have."""
        return self.reach * self.stride(rate)

    def build(self, shape: Shape) -> PatchTransformer:
        """Return the model with untrained weights."""
        return PatchTransformer(self, shape)


class PatchTransformerConfig(PatchTransformerSettings, Architecture):
    """A transformer on the patches of the last seconds."""

    chain: str = "samples"
    """Which of the store's chains feeds it. A patch of `tokens` at 4 Hz is one of them."""
    length: Annotated[float, Field(gt=0)] = 16.25
    """Seconds of samples in a window; it has to hold all that the newest output sees."""
    variance: bool = False
    """Tell how sure each value is: a log-variance beside each target's z."""

    def build(self, shape: Shape) -> PatchTransformer:
        """Return the model with untrained weights."""
        return PatchTransformer(self, shape, variance=self.variance)


class Layer(nn.Module):
    """Attention to the last `span` patches, then two dense layers; both are added on.

    How much a patch is attended to hangs on what it holds and, by head, on how long ago it
    was, never on where in a window it stands. What has fewer than `span` patches behind it
    has no output, so that no padding is ever seen.
    """

    def __init__(self, settings: PatchTransformerSettings) -> None:
        super().__init__()
        width, self.heads, self.span = settings.width, settings.heads, settings.span
        self.norm1 = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.by_lag = nn.Parameter(torch.zeros(self.heads, self.span))  # the oldest first
        self.mix = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.dense = nn.Sequential(
            nn.Linear(width, settings.hidden), nn.GELU(), nn.Linear(settings.hidden, width)
        )
        self.dropout = nn.Dropout(settings.dropout)

    def nothing(self, x: Tensor, n_patches: int = 0) -> Tensor:
        """Return the keys and values of patches that say nothing."""
        width = self.mix.in_features
        return x.new_zeros(len(x), 2, self.heads, n_patches, width // self.heads)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from each patch that has `span - 1` before it.

        Parameters
        ----------
        x : Tensor, shape (n, n_patches, width)
        past : Tensor, shape (n, 2, heads, n_past, width / heads)
            Keys and values of the patches just before.

        Returns
        -------
        out : Tensor, shape (n, n_past + n_patches - span + 1, width)
        seen : Tensor, shape (n, 2, heads, n_past + n_patches, width / heads)
            Keys and values, the past's among them.
        """
        weights, seen = self.attend(x, past)
        x = x[:, -weights.shape[2] :]
        heard = (weights @ seen[:, 1]).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.mix(heard))
        return x + self.dropout(self.dense(self.norm2(x))), seen

    def attend(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights (n, heads, n_out, n_past + n_patches), and keys and values."""
        x = self.norm1(x)
        new = self.key_value(x).unflatten(-1, (2, self.heads, -1)).permute(0, 2, 3, 1, 4)
        seen = torch.cat([past, new], dim=3)
        n_out = seen.shape[3] - self.span + 1
        query = self.query(x[:, -n_out:]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        scores = query @ seen[:, 0].mT / query.shape[-1] ** 0.5
        return torch.softmax(scores + self._band(n_out), dim=-1), seen

    def _band(self, n_out: int) -> Tensor:
        """Return what a lag adds to a score, (heads, n_out, n_out + span - 1); -inf outside.

        Row i is `by_lag` moved i places to the right.
        """
        outside = F.pad(self.by_lag, (n_out - 1, n_out - 1), value=-torch.inf)
        return outside.unfold(-1, n_out + self.span - 1, 1).flip(1)


class PatchTransformer(Network):
    """Patches of all channels made vectors, causal attention among them, a linear head.

    A layer's output needs `span - 1` patches more than there are outputs, and the head
    reads the newest only, so each layer computes what the ones above it need. Nothing
    depends on a patch's place in the window, so the same weights go patch by patch as well,
    with keys and values of the last `span - 1` patches kept: `step` (see `Streaming`). A
    window is cut into patches from its newest sample back; steps keep the grid that they
    began with, so what they tell may be up to a patch old when it is asked for.

    With 64 channels at 125 Hz and the defaults: 1 047 696 + 129 per ROI parameters, and 129
    more with its variance. Its own make, of known parts: patches of all channels (Dosovitskiy
    et al.), layers normalised first, attention to the last patches (Beltagy et al.), weighed
    by lag (Raffel et al.).

    References
    ----------
    Vaswani et al. 2017, arXiv:1706.03762. Dosovitskiy et al. 2020, arXiv:2010.11929.
    Beltagy, Peters & Cohan 2020, arXiv:2004.05150. Raffel et al. 2020, arXiv:1910.10683.
    """

    def __init__(
        self, config: PatchTransformerSettings, shape: Shape, *, variance: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        self.gaussian = variance
        self.stride = config.stride(shape.rate)
        self.reach = config.shortest(shape.rate)
        self.scaler = FeatureScaler(shape.n_features, shape.hold)
        self.feature_dropout = nn.Dropout1d(config.feature_dropout)
        self.embed = nn.Conv1d(shape.n_features, config.width, self.stride, self.stride)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = Head(config.width, shape.n_targets, variance=variance)

    def forward(self, x: Tensor) -> Tensor:
        """Predict z, shape (n, n_targets), from windows (n, n_features, n_times)."""
        # Scaled as a whole: of a masked sample, those before it are left out as well.
        x = self.scaler(x)[..., -self.reach :]
        out: Tensor = self.head(self.encode(self.feature_dropout(x))[:, -1])
        return out

    def encode(self, x: Tensor) -> Tensor:
        """Return the vector of each patch that has its whole reach behind it.

        Parameters
        ----------
        x : Tensor, shape (n, n_features, n_patches * stride)
            Scaled.

        Returns
        -------
        Tensor, shape (n, n_patches - reach / stride + 1, width)
        """
        x = self.embed(x).mT
        for layer in self.layers:
            x, _ = layer(x, _of(layer).nothing(x))
        out: Tensor = self.norm(x)
        return out

    def attention(self, x: Tensor) -> list[Tensor]:
        """Return how each layer weighs patches, for windows (n, n_features, n_times).

        Returns
        -------
        list of Tensor, shape (n, heads, n_out, n_out + span - 1)
            From patches to those that they attend to, the oldest first; the first layer's
            first.
        """
        x = self.embed(self.scaler(x)[..., -self.reach :]).mT
        found = []
        for layer in map(_of, self.layers):
            past = layer.nothing(x)
            found.append(layer.attend(x, past)[0])
            x, _ = layer(x, past)
        return found

    def start(self, n: int = 1) -> State:
        """Return the state of n streams of which nothing was seen.

        Whole patches as they came, as many as `hold` reaches into, then keys and values of
        each layer, (n, 2, heads, span - 1, width / heads).
        """
        like = self.scaler.mean
        held = -(-self.scaler.hold // self.stride) * self.stride
        raw = like.new_full((n, len(like), held), torch.nan)
        return (raw, *(_of(each).nothing(raw, each.span - 1) for each in map(_of, self.layers)))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Predict z, shape (n, n_targets), from the next patch (n, n_features, stride)."""
        held, *pasts = state
        held = torch.cat([held, x], dim=-1)
        x = self.embed(self.scaler(held)).mT
        kept = []
        for layer, past in zip(self.layers, pasts, strict=True):
            x, seen = layer(x, past)
            kept.append(seen[:, :, :, 1 : 1 + past.shape[3]])  # of `held`, the first only
        out: Tensor = self.head(self.norm(x[:, -1]))
        return out, (held[..., self.stride :], *kept)


def _of(layer: nn.Module) -> Layer:
    assert isinstance(layer, Layer)
    return layer
