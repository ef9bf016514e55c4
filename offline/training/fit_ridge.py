"""Fit the linear model, its penalty chosen inside the training part."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from offline.store.examples import Examples
from offline.training.fit_group_lasso import fit_group_lasso
from offline.training.inner_folds import inner_folds
from offline.training.rows import Rows
from rtfeedback.models.ridge import Ridge, RidgeConfig
from rtfeedback.signals import Float64


def fit_ridge(
    model: Ridge, config: RidgeConfig, train: Examples, z: Float64
) -> dict[str, float | int | str]:
    """Set a model's scaler and weights; return what was chosen.

    Ridge's solution is taken in the dual, whose size is the number of windows. The penalty,
    of either kind, is the one with the least squared error over held-out runs of the
    training part, or over blocks where that is one run (`inner_folds`).

    Parameters
    ----------
    model : Ridge
    config : RidgeConfig
    train : Examples
    z : float64, shape (n, n_targets)

    Raises
    ------
    DatasetError
        If what is left of a lone run beside a held-out block is nothing, or windows are
        more than group lasso can hold.
    """
    rows = Rows(model, config, train)
    if config.penalty == "group-lasso":
        return fit_group_lasso(model, config, train, z, rows)
    kernel = rows.kernel()
    errors = [_held_out_error(kernel, z, train, penalty) for penalty in config.penalties]
    penalty = config.penalties[int(np.argmin(errors))]
    bias = z.mean(axis=0)
    model.set(rows.of_lags(rows.weighted(_solve(kernel, z - bias, penalty))), bias)
    return {"penalty": penalty, "held_out_mse": float(min(errors))}


def _solve(kernel: Float64, y: Float64, penalty: float) -> Float64:
    regularised = kernel + penalty * np.eye(len(kernel))
    return np.asarray(linalg.solve(regularised, y, assume_a="pos"))


def _held_out_error(kernel: Float64, z: Float64, train: Examples, penalty: float) -> float:
    squared = 0.0
    for held, kept in inner_folds(train):
        bias = z[kept].mean(axis=0)
        dual = _solve(kernel[np.ix_(kept, kept)], z[kept] - bias, penalty)
        predicted = kernel[np.ix_(held, kept)] @ dual + bias
        squared += float(np.sum((z[held] - predicted) ** 2))
    return squared / z.size
