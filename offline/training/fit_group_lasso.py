"""Fit the linear model with few channels or few bands, by a path of penalties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offline.store.examples import Examples
from offline.training.group_lasso import group_lasso, largest_curvature, least_empty, norms
from offline.training.inner_folds import inner_folds
from offline.training.rows import Rows
from rtfeedback.errors import DatasetError
from rtfeedback.models.architecture import Shape
from rtfeedback.models.ridge import Ridge, RidgeConfig
from rtfeedback.signals import Float32, Float64, Int64

LARGEST = 4 * 2**30  # bytes of windows, which are gone through thousands of times


def fit_group_lasso(
    model: Ridge, config: RidgeConfig, train: Examples, z: Float64, rows: Rows
) -> dict[str, float | int | str]:
    """Set a model's weights; return what was chosen.

    Each target has groups of its own. A penalty is a share of the least one that leaves no
    group of the whole training part, so that one share can be chosen for all targets.

    Parameters
    ----------
    model : Ridge
    config : RidgeConfig
    train : Examples
    z : float64, shape (n, n_targets)
    rows : Rows
        Of the training part.

    Raises
    ------
    DatasetError
        If there are more windows than can be held, or too few to choose by.
    """
    _check_size(rows)
    order, n_groups = _by_group(model.shape, config, rows.size)
    x, bias = rows.held(order), z.mean(axis=0)
    y = (z - bias).astype(np.float32)
    path = _Path(config.path, n_groups, least_empty(x, y, n_groups))
    errors = _held_out_errors(x, z, train, path)
    best = int(np.argmin(errors))
    solution = path.solve(x, y, best)[-1]
    weights = np.zeros((len(bias), rows.size))
    weights[:, order] = solution.T
    model.set(rows.of_lags(weights), bias)
    left = norms(solution, n_groups).any(axis=1)
    return {
        "penalty": config.path[best],
        "held_out_mse": float(errors[best]),
        f"{config.group}s": int(left.sum()),
    }


@dataclass(frozen=True)
class _Path:
    """Penalties from large to small, each begun from the solution for the one before."""

    shares: tuple[float, ...]
    n_groups: int
    most: Float32

    def solve(self, x: Float32, y: Float32, last: int) -> list[Float32]:
        """Return the weights, (n_weights, n_targets), for each penalty up to one's index."""
        curvature, found = largest_curvature(x), []
        w = np.zeros((x.shape[1], y.shape[1]), dtype=np.float32)
        for share in self.shares[: last + 1]:
            penalty = share * self.most
            w = group_lasso(x, y, penalty, n_groups=self.n_groups, start=w, curvature=curvature)
            found.append(w)
        return found


def _held_out_errors(x: Float32, z: Float64, train: Examples, path: _Path) -> Float64:
    """Return the mean squared error for each penalty, over all that is held out in turn."""
    squared = np.zeros(len(path.shares))
    for held, kept in inner_folds(train):
        bias = z[kept].mean(axis=0)
        found = path.solve(x[kept], (z[kept] - bias).astype(np.float32), len(squared) - 1)
        predicted = [x[held] @ w + bias for w in found]
        squared += [float(np.sum((z[held] - each) ** 2)) for each in predicted]
    return squared / z.size


def _by_group(shape: Shape, config: RidgeConfig, size: int) -> tuple[Int64, int]:
    """Return the order in which a row's numbers stand group by group, and the groups."""
    numbers = np.arange(size).reshape(shape.n_channels, shape.n_bands, -1)
    if config.group == "band":
        numbers = numbers.transpose(1, 0, 2)
    return numbers.ravel(), len(numbers)


def _check_size(rows: Rows) -> None:
    size = 4 * len(rows) * rows.size
    if size > LARGEST:
        raise DatasetError(
            "There are more windows than group lasso can hold",
            found=f"{len(rows)} of {rows.size} numbers, {size / 2**30:.1f} GiB, where"
            f" {LARGEST / 2**30:.0f} are the most",
            do="Take basis = 'hrf', a shorter window or fewer runs",
        )
