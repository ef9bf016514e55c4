"""What a transformer attends to: channels, or how long ago."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.models import Calhas, PatchTransformer, VolumeLowRank
from rtfeedback.models.channel_transformer import ChannelTransformer, DenseTransformer
from rtfeedback.signals import Float64


@dataclass(frozen=True, slots=True)
class ChannelAttention:
    """How much is attended to each channel, a mean over windows and heads.

    Attributes
    ----------
    by : str
        What attends: `channels`, or `slices` of the volume.
    weights : float64, shape (n_layers, n_attending, n_channels)
        The last axis sums to 1.
    """

    by: str
    weights: Float64

    @property
    def given(self) -> Float64:
        """What each channel is given by all, shape (n_layers, n_channels): 1 at most."""
        return np.asarray(self.weights.mean(axis=1))


@dataclass(frozen=True, slots=True)
class LagAttention:
    """How much each layer attends to patches, by how long ago they were.

    Attributes
    ----------
    ago : float64, shape (span,)
        Seconds from a patch to the one that attends to it.
    weights : float64, shape (n_layers, heads, span)
        A mean over windows and patches; the last axis sums to 1.
    lags : float64, shape (n_patches,)
        Seconds from the middle of each patch of a window to the time that is predicted.
    rolled : float64, shape (n_patches,)
        How much the newest output hears of each, through all layers; sums to 1. Each layer
        counts as half of what it attends to and half of what it adds that to.

    References
    ----------
    Abnar & Zuidema 2020, doi:10.18653/v1/2020.acl-main.385: attention rollout.
    """

    ago: Float64
    weights: Float64
    lags: Float64
    rolled: Float64


@torch.inference_mode()
def attention_of(
    model: nn.Module, spec: CheckpointSpec, batches: Iterable[Tensor]
) -> ChannelAttention | LagAttention | None:
    """Return what a model attends to in batches of windows, None where it has no attention."""
    encoder = model.encoder if isinstance(model, VolumeLowRank) else model
    if isinstance(encoder, PatchTransformer):
        return _by_lag(encoder, spec, batches)
    if isinstance(model, ChannelTransformer):
        maps = [model.attention(x).mean(2) for x in batches]
        return _by_channel(
            "channels" if isinstance(model, DenseTransformer) else "slices", maps
        )
    if isinstance(model, Calhas) and model.attention is not None:
        weights = [model.encode(x)[1] for x in batches]
        return _by_channel("channels", [each[:, None] for each in weights if each is not None])
    return None


def _by_channel(by: str, maps: list[Tensor]) -> ChannelAttention:
    return ChannelAttention(by, torch.cat(maps).double().mean(0).numpy())


def _by_lag(
    model: PatchTransformer, spec: CheckpointSpec, batches: Iterable[Tensor]
) -> LagAttention:
    found = [_bands_and_rolled(model.attention(x)) for x in batches]
    weights, rolled = (torch.cat(each).double().mean(0) for each in zip(*found, strict=True))
    chain, stride = spec.chain, model.stride
    power = chain.config.band_power
    newest = (stride - 1) / 2 / chain.rate + (power.length / 2 if power else 0.0)
    every = np.arange(len(rolled), dtype=np.float64)[::-1] * (stride / chain.rate)
    span = weights.shape[-1]
    lags = every + newest + spec.window.lead
    return LagAttention(every[-span:], weights.numpy(), lags, rolled.numpy())


def _bands_and_rolled(layers: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return weights by lag, (n, n_layers, heads, span), and what is heard of each patch.

    An output's own patch is the newest of the `span` that it attends to.
    """
    n, _, n_out, n_seen = layers[0].shape
    span = n_seen - n_out + 1
    banded = []
    heard = layers[-1].new_ones(n, 1, 1)
    for weights in reversed(layers):
        n_out = weights.shape[2]
        band = torch.stack([weights[:, :, i, i : i + span] for i in range(n_out)], 2)
        banded.append(band.mean(2))
        own = torch.eye(n_out).repeat(n, 1, 1)
        own = torch.nn.functional.pad(own, (span - 1, 0))
        heard = heard @ ((weights.mean(1) + own) / 2)
    return torch.stack(banded[::-1], 1), heard[:, 0]
