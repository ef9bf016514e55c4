"""A model's last layer fitted anew to a few minutes of BOLD, shrunk towards what it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import linalg
from torch import nn

from offline.calibration.readout import hidden, readout
from offline.store.examples import Examples
from offline.training.inner_folds import inner_folds
from rtfeedback.signals import Bool, Float64

Notes = dict[str, float | int | str]

# Of the typical squared size of what goes in. The last ones leave next to nothing to fit.
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4)


@dataclass(frozen=True, slots=True)
class Readout:
    """Weights of a last layer, in float64.

    Attributes
    ----------
    weights : float64, shape (n_targets, n_inputs)
    bias : float64, shape (n_targets,)
    """

    weights: Float64
    bias: Float64

    def __call__(self, x: Float64) -> Float64:
        """Return z, shape (n, n_targets), of inputs (n, n_inputs)."""
        return x @ self.weights.T + self.bias


Solve = Callable[[Readout, Float64, Float64, float], Readout]


def gain(parent: Readout, x: Float64, z: Float64, penalty: float) -> Readout:
    """Return a layer whose outputs are the parent's times a gain and plus an offset.

    For each target the gain g is the one with the least sum of squares plus
    `penalty * n * var * (g - 1)**2`, var being that of the parent's outputs; the offset,
    of their mean, is pulled towards none by `penalty * n`.

    Parameters
    ----------
    parent : Readout
    x : float64, shape (n, n_inputs)
    z : float64, shape (n, n_targets)
    penalty : float
    """
    told = parent(x)
    centred = told - told.mean(axis=0)
    power = np.maximum((centred**2).sum(axis=0), 1e-12)
    missing = ((z - told) * centred).sum(axis=0)
    gains = 1 + missing / (power * (1 + penalty))
    middle = told.mean(axis=0)
    offset = (z - told).mean(axis=0) / (1 + penalty)
    bias = gains * (parent.bias - middle) + middle + offset
    return Readout(gains[:, None] * parent.weights, bias)


def ridge(parent: Readout, x: Float64, z: Float64, penalty: float) -> Readout:
    """Return the layer with the least squares, each weight pulled towards the parent's.

    The ridge of what the parent leaves unexplained, in the dual; `penalty` is in units of
    the inputs' mean squared distance to their mean. The offset is pulled as `gain`'s is.
    """
    centre = x.mean(axis=0)
    centred, rest = x - centre, z - parent(x)
    kernel = centred @ centred.T
    size = max(float(np.trace(kernel)) / len(x), 1e-12)
    regularised = kernel + penalty * size * np.eye(len(x))
    dual = linalg.solve(regularised, rest - rest.mean(axis=0), assume_a="pos")
    more = dual.T @ centred
    offset = rest.mean(axis=0) / (1 + penalty)
    return Readout(parent.weights + more, parent.bias + offset - more @ centre)


def fit_readout(model: nn.Module, solve: Solve, train: Examples, z: Float64) -> Notes:
    """Fit a model's scaler and last layer; return the penalty.

    It is the one with the least squared error over held-out runs of `train`, or over
    blocks with a gap where that is one run (`inner_folds`).

    Parameters
    ----------
    model : nn.Module
        One that has a `readout`.
    solve : callable
        `gain` or `ridge`.
    train : Examples
    z : float64, shape (n, n_targets)

    Raises
    ------
    DatasetError
        If what is left of a lone run beside a held-out block is nothing.
    """
    layer = readout(model)
    assert layer is not None
    x, parent = hidden(model, layer, train), _of(layer)
    folds = list(inner_folds(train))
    errors = [_error(solve, parent, x, z, penalty, folds) for penalty in PENALTIES]
    penalty = PENALTIES[int(np.argmin(errors))]
    found = solve(parent, x, z, penalty)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(found.weights))
        layer.bias.copy_(torch.from_numpy(found.bias))
    return {"penalty": penalty}


def _of(layer: nn.Linear) -> Readout:
    weight, bias = (each.detach().double().numpy() for each in (layer.weight, layer.bias))
    return Readout(weight, bias)


def _error(
    solve: Solve,
    parent: Readout,
    x: Float64,
    z: Float64,
    penalty: float,
    folds: list[tuple[Bool, Bool]],
) -> float:
    squared = 0.0
    for held, kept in folds:
        found = solve(parent, x[kept], z[kept], penalty)
        squared += float(np.sum((z[held] - found(x[held])) ** 2))
    return squared
