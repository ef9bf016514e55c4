"""What classes are in the training part: where levels are cut, and what they stand for."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rtfeedback.errors import DatasetError
from rtfeedback.models import EEGNet
from rtfeedback.models.layers.classes import Conditions, Levels
from rtfeedback.signals import Float64

Cut = Literal["quantiles", "width"]


def fit_classes(model: EEGNet, z: Float64) -> None:
    """Set what a network's classes are, if it has any, before its first step.

    Parameters
    ----------
    model : EEGNet
    z : float64, shape (n, n_targets)
        Of the training part.

    Raises
    ------
    DatasetError
        If the targets cannot be cut so, or are no conditions.
    """
    if isinstance(model.classes, Levels):
        fit_levels(model.classes, z, model.config.cut)
    elif isinstance(model.classes, Conditions):
        fit_conditions(model.classes, z)


def fit_levels(levels: Levels, z: Float64, cut: Cut) -> None:
    """Cut each target into levels, each of which stands for its windows' mean.

    Parameters
    ----------
    levels : Levels
    z : float64, shape (n, n_targets)
        Of the training part.
    cut : str
        `quantiles`: levels that are as frequent; `width`: as wide. A level of no window
        stands for its middle.

    Raises
    ------
    DatasetError
        If a target has too few different values.
    """
    n_targets, n_levels = levels.values.shape
    edges = np.stack([_edges(z[:, i], n_levels, cut) for i in range(n_targets)])
    values = np.stack([_values(z[:, i], edges[i]) for i in range(n_targets)])
    levels.set(edges, values)


def _edges(z: Float64, n_levels: int, cut: Cut) -> Float64:
    share = np.arange(1, n_levels) / n_levels
    edges = np.quantile(z, share) if cut == "quantiles" else z.min() + share * np.ptp(z)
    every = np.array([z.min(), *edges, z.max()], dtype=np.float32)
    if not np.all(np.diff(every) > 0):
        raise DatasetError(
            f"A target cannot be cut into {n_levels} levels",
            found=f"It has {len(np.unique(z))} different values in the training part",
            do="Take fewer levels, cut by width, or train on more runs",
        )
    return np.asarray(edges, dtype=np.float64)


def _values(z: Float64, edges: Float64) -> Float64:
    level = np.searchsorted(edges, z)  # what lies on an edge belongs below it
    whole = np.array([z.min(), *edges, z.max()])
    middles = (whole[1:] + whole[:-1]) / 2
    held = [z[level == i] for i in range(len(middles))]
    return np.array([np.mean(h) if len(h) else m for h, m in zip(held, middles, strict=True)])


def fit_conditions(conditions: Conditions, z: Float64) -> None:
    """Take the z of a condition that holds and of one that does not.

    Parameters
    ----------
    conditions : Conditions
    z : float64, shape (n, n_targets)
        Of the training part: each target has two values.

    Raises
    ------
    DatasetError
        If a target is no condition, or holds in all of the training windows or in none.
    """
    found = [len(np.unique(column)) for column in z.T]
    if set(found) != {2}:
        raise DatasetError(
            "The targets are no conditions of a task that come and go",
            found=f"Of {', '.join(map(str, found))} different values in the training part,"
            " where each has to have two",
            do="Train on runs that hold each condition and rest, or take another model.head",
        )
    conditions.set(z.min(axis=0), z.max(axis=0))
