"""What a model has learnt, as topographies and spectra: EEGNet's filters, ridge's weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.models import EEGNet, Ridge
from rtfeedback.signals import Float64

RESOLUTION = 0.5  # hertz, of a kernel's spectrum


@dataclass(frozen=True, slots=True)
class SpatialFilters:
    """EEGNet's first two layers.

    A filter's weights tell what it takes, noise cancelled and all; its pattern, what a
    source that it follows looks like on the head. Each pattern is of the EEG as its
    temporal kernel passes it, and stands alone: filters outnumber what is independent in
    them, so that they cannot be inverted together.

    Attributes
    ----------
    patterns : float64, shape (n_filters, n_channels)
        Microvolts, of the frequencies that the kernel passes best, for one sd of what comes
        through the filter. Either sign means the same.
    kernel : tuple of int
        Which temporal kernel follows each filter.
    frequencies : float64, shape (n_frequencies,)
        In hertz.
    spectra : float64, shape (n_kernels, n_frequencies)
        Each kernel's gain, its largest 1.

    References
    ----------
    Haufe et al. 2014, NeuroImage 87:96, doi:10.1016/j.neuroimage.2013.10.067.
    """

    patterns: Float64
    kernel: tuple[int, ...]
    frequencies: Float64
    spectra: Float64


@dataclass(frozen=True, slots=True)
class LinearWeights:
    """A linear model's weights and pattern.

    Attributes
    ----------
    weights : float64, shape (n_channels, n_bands, n_lags)
        Of each feature in its sd.
    pattern : float64, shape (n_channels, n_bands, n_lags)
        The correlation of each feature with the prediction: the features' covariance times
        the weights, as Haufe et al. 2014 have it, each in its own sd.
    """

    weights: Float64
    pattern: Float64


@torch.inference_mode()
def filters_of(
    model: nn.Module, spec: CheckpointSpec, target: int, batches: Iterable[Tensor]
) -> SpatialFilters | LinearWeights | None:
    """Return what a model has learnt, None where its layers have no such reading.

    Parameters
    ----------
    target : int
        Which of the targets a linear model's weights are for.
    batches : iterable of Tensor, shape (n, n_features, n_times)
        Windows of the training part.
    """
    if isinstance(model, EEGNet):
        return _spatial(model, batches)
    if isinstance(model, Ridge):
        return _linear(model, spec, target, batches)
    return None


def _spatial(model: EEGNet, batches: Iterable[Tensor]) -> SpatialFilters:
    kernels = model.temporal.weight[:, 0].double()
    n = max(kernels.shape[-1], round(model.rate / RESOLUTION))
    spectra = torch.fft.rfft(kernels, n).abs()
    best = spectra.amax(-1).clamp_min(1e-12)
    covariance = torch.cat([_covariances(model, x) for x in batches]).mean(0)
    covariance = covariance / best[:, None, None].square()
    filters = model.spatial.weight[:, :, 0].double()
    kernel = torch.arange(len(filters)) // model.config.depth
    sources = torch.einsum("fcd,fd->fc", covariance[kernel], filters)
    variance = torch.einsum("fc,fc->f", sources, filters).clamp_min(1e-12)
    patterns = sources / variance.sqrt()[:, None]
    return SpatialFilters(
        patterns=(patterns * model.scaler.sd[:, 0].double() * 1e6).numpy(),
        kernel=tuple(kernel.tolist()),
        frequencies=np.arange(n // 2 + 1, dtype=np.float64) * (model.rate / n),
        spectra=(spectra / best[:, None]).numpy(),
    )


def _covariances(model: EEGNet, x: Tensor) -> Tensor:
    """Return what each kernel passes of each window, (n, n_kernels, n_channels, n_channels)."""
    scaled = model.scaler(x)
    n, n_channels, _ = scaled.shape
    passed = F.conv1d(scaled.flatten(0, 1)[:, None], model.temporal.weight).double()
    passed = passed.reshape(n, n_channels, *passed.shape[1:]).transpose(1, 2)
    return passed @ passed.mT / passed.shape[-1]


def _linear(
    model: Ridge, spec: CheckpointSpec, target: int, batches: Iterable[Tensor]
) -> LinearWeights:
    rows = [model.scaler(x).flatten(1) for x in batches]
    features = torch.cat(rows).double()
    features = features - features.mean(0)
    weights = model.linear.weight[target].double()
    predicted = features @ weights
    size = torch.linalg.vector_norm(predicted).clamp_min(1e-12)
    spread = torch.linalg.vector_norm(features, dim=0).clamp_min(1e-12)
    n_channels = len(spec.chain.channels)
    shape = (n_channels, model.shape.n_features // n_channels, model.shape.n_times)
    pattern = (features.mT @ predicted) / (size * spread)
    return LinearWeights(weights.reshape(shape).numpy(), pattern.reshape(shape).numpy())
