"""Fit the ridge model in closed form, its penalty chosen inside the training part."""

from __future__ import annotations

import numpy as np
import torch
from scipy import linalg

from offline.splits.blocks import BESIDE
from offline.store.examples import Examples
from rtfeedback.errors import DatasetError
from rtfeedback.models.ridge import Ridge, RidgeConfig
from rtfeedback.signals import Bool, Float64


def fit_ridge(
    model: Ridge, config: RidgeConfig, train: Examples, z: Float64
) -> dict[str, float | int | str]:
    """Set a model's scaler and weights; return what was chosen.

    The solution is taken in the dual, whose size is the number of windows. The penalty
    is the one with the least squared error over held-out runs of the training part, or
    over blocks where that is one run; windows that overlap a held-out block are left out.

    Parameters
    ----------
    model : Ridge
    config : RidgeConfig
    train : Examples
    z : float64, shape (n, n_targets)

    Raises
    ------
    DatasetError
        If what is left of a lone run beside a held-out block is nothing.
    """
    mean, sd = train.statistics()
    model.scaler.fit(mean, sd)
    windows = train.gather(np.arange(len(train)))
    left_out = model.scaler.left_out(torch.from_numpy(windows)).numpy()
    x: Float64 = np.where(left_out, 0.0, (windows - mean[:, None]) / sd[:, None])
    x = x.reshape(len(train), -1)
    kernel = x @ x.T
    errors = [_held_out_error(kernel, z, train, penalty) for penalty in config.penalties]
    penalty = config.penalties[int(np.argmin(errors))]
    bias = z.mean(axis=0)
    model.set(_solve(kernel, z - bias, penalty).T @ x, bias)
    return {"penalty": penalty, "held_out_mse": float(min(errors))}


def _solve(kernel: Float64, y: Float64, penalty: float) -> Float64:
    regularised = kernel + penalty * np.eye(len(kernel))
    return np.asarray(linalg.solve(regularised, y, assume_a="pos"))


def _held_out_error(kernel: Float64, z: Float64, train: Examples, penalty: float) -> float:
    folds, squared = train.folds(), 0.0
    for fold in np.unique(folds):
        held = folds == fold
        kept = ~held & ~_beside(held, train)
        if not kept.any():
            raise DatasetError(
                "There is too little to train on to choose ridge's penalty by",
                found=f"{len(train)} windows of one run, all within {_gap(train):g} s of a"
                " block that is held out",
                do="Train on two runs or more, or on a longer one",
            )
        bias = z[kept].mean(axis=0)
        dual = _solve(kernel[np.ix_(kept, kept)], z[kept] - bias, penalty)
        predicted = kernel[np.ix_(held, kept)] @ dual + bias
        squared += float(np.sum((z[held] - predicted) ** 2))
    return squared / z.size


def _beside(held: Bool, train: Examples) -> Bool:
    """Tell which windows of the held-out block's own run are too near to it."""
    times, gap = train.times[held], _gap(train)
    near = (train.times > times.min() - gap) & (train.times < times.max() + gap)
    return np.asarray(near & np.isin(train.run, train.run[held]))


def _gap(train: Examples) -> float:
    return train.n_times / train.rate + BESIDE
