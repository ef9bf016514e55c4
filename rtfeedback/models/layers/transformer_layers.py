"""Layers of a transformer, whose decoder answers a sequence at once or token by token.

The same as torch's own, which a test holds them to; but they keep keys and values, so that
a token costs one pass however many came before it, and they show what they attend to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtfeedback.models.layers.fixed_dropout import FixedDropout


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """What all layers of a stack have in common.

    Attributes
    ----------
    width, heads, feedforward : int
        Values of a token; attentions side by side; values between a layer's two maps.
    dropout : float
    norm_first : bool
        Normalise what goes into a branch, not the sum that it is added to.
    """

    width: int
    heads: int
    feedforward: int
    dropout: float
    norm_first: bool


class Attention(nn.Module):
    """Scaled dot-product attention with several heads.

    References
    ----------
    Vaswani et al. 2017, arXiv:1706.03762, section 3.2.
    """

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__()
        self.heads, self.dropout = spec.heads, nn.Dropout(spec.dropout)
        self.query = nn.Linear(spec.width, spec.width)
        self.key_value = nn.Linear(spec.width, 2 * spec.width)
        self.out = nn.Linear(spec.width, spec.width)

    def keys_values(self, source: Tensor) -> Tensor:
        """Return what (n, length, width) offers: (2, n, heads, length, width // heads)."""
        return torch.stack([self._split(part) for part in self.key_value(source).chunk(2, -1)])

    def forward(self, x: Tensor, keys_values: Tensor, causal: bool = False) -> Tensor:
        """Return what each of (n, length, width) reads out of keys and values."""
        if isinstance(self.dropout, FixedDropout):  # the fused product draws its own masks
            assert not causal  # which is of training alone
            read = self.dropout(self.weights(x, keys_values)) @ keys_values[1]
        else:
            key, value = keys_values
            dropout = self.dropout.p if self.training else 0.0
            query = self._split(self.query(x))
            read = F.scaled_dot_product_attention(
                query, key, value, dropout_p=dropout, is_causal=causal
            )
        out: Tensor = self.out(read.transpose(1, 2).flatten(2))
        return out

    def weights(self, x: Tensor, keys_values: Tensor) -> Tensor:
        """Return how much each attends to each, (n, heads, length, length of the source)."""
        query, key = self._split(self.query(x)), keys_values[0]
        alike: Tensor = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return alike.softmax(-1)

    def _split(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        return x.reshape(n, length, self.heads, -1).transpose(1, 2)


class Residual(nn.Module):
    """A branch added to the trunk that it leaves, normalised before it or after the sum."""

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__()
        self.norm_first = spec.norm_first
        self.norm = nn.LayerNorm(spec.width)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """Return tokens (n, length, width) with what a branch makes of them."""
        if self.norm_first:
            out: Tensor = x + self.dropout(branch(self.norm(x)))
        else:
            out = self.norm(x + self.dropout(branch(x)))
        return out


class EncoderLayer(nn.Module):
    """Tokens attend to one another, then each is mapped on its own."""

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__()
        self.attention = Attention(spec)
        self.feedforward = _feedforward(spec)
        self.residuals = nn.ModuleList(Residual(spec) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens, shape (n, length, width), of tokens."""
        attend, feed = self.residuals
        x = attend(x, lambda x: self.attention(x, self.attention.keys_values(x)))
        out: Tensor = feed(x, self.feedforward)
        return out


@dataclass(slots=True)
class Seen:
    """What a decoder's layer has seen, as keys and values.

    Attributes
    ----------
    source : Tensor, shape (2, n, heads, length of the source, width // heads)
    past : Tensor or None
        Of the tokens before, (2, n, heads, tokens so far, width // heads).
    """

    source: Tensor
    past: Tensor | None = None

    def add(self, keys_values: Tensor) -> Tensor:
        """Return the past with tokens more, and keep it."""
        if self.past is not None:
            keys_values = torch.cat([self.past, keys_values], dim=-2)
        self.past = keys_values
        return keys_values


class DecoderLayer(nn.Module):
    """Tokens attend to one another and to the source, then each is mapped on its own."""

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__()
        self.own = Attention(spec)
        self.across = Attention(spec)
        self.feedforward = _feedforward(spec)
        self.residuals = nn.ModuleList(Residual(spec) for _ in range(3))

    def forward(self, x: Tensor, seen: Seen, causal: bool) -> Tensor:
        """Return tokens, shape (n, length, width), of those that follow what was seen."""
        attend, read, feed = self.residuals
        x = attend(x, lambda x: self.own(x, seen.add(self.own.keys_values(x)), causal))
        x = read(x, lambda x: self.across(x, seen.source))
        out: Tensor = feed(x, self.feedforward)
        return out


class Encoder(nn.Module):
    """Layers one after the other, and a last norm."""

    def __init__(self, spec: LayerSpec, n_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(spec) for _ in range(n_layers))
        self.norm = nn.LayerNorm(spec.width)
        _draw_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens, shape (n, length, width), of tokens."""
        for layer in self.each():
            x = layer(x)
        out: Tensor = self.norm(x)
        return out

    def each(self) -> list[EncoderLayer]:
        """Return the layers in their order."""
        return cast(list[EncoderLayer], list(self.layers))


class Decoder(nn.Module):
    """Layers one after the other, and a last norm."""

    def __init__(self, spec: LayerSpec, n_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(spec) for _ in range(n_layers))
        self.norm = nn.LayerNorm(spec.width)
        _draw_weights(self)

    def begin(self, source: Tensor) -> list[Seen]:
        """Return what the layers have seen before the first token: a source, (n, ...)."""
        return [Seen(layer.across.keys_values(source)) for layer in self.each()]

    def forward(self, x: Tensor, seen: list[Seen], *, causal: bool = False) -> Tensor:
        """Return tokens of tokens, shape (n, length, width), and keep them in `seen`.

        All at once if `causal`, each attending to those up to itself; or one by one, each
        as what was seen is carried on: the same. With neither, each attends to all.
        """
        for layer, before in zip(self.each(), seen, strict=True):
            x = layer(x, before, causal)
        out: Tensor = self.norm(x)
        return out

    def each(self) -> list[DecoderLayer]:
        """Return the layers in their order."""
        return cast(list[DecoderLayer], list(self.layers))


def _feedforward(spec: LayerSpec) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(spec.width, spec.feedforward),
        nn.ReLU(),
        nn.Dropout(spec.dropout),
        nn.Linear(spec.feedforward, spec.width),
    )


def _draw_weights(stack: nn.Module) -> None:
    for parameter in stack.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
