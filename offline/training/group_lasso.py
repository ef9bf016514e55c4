"""Least squares with a penalty on the norm of each group of weights, to its one minimum.

Knows nothing of windows or models: it is handed arrays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.floating]

STEPS = 2000  # at most, for one penalty
LOOK = 10  # steps between looks at the gap: a look costs as much as a step


def group_lasso(
    x: Array,
    y: Array,
    penalty: Array,
    *,
    n_groups: int,
    start: Array,
    curvature: float,
    tolerance: float = 1e-3,
) -> Array:
    """Minimise |y - x w|² / 2n + penalty * Σ |w_g|, for each target by itself.

    By FISTA, its momentum dropped where it leads up [1]_, [2]_; done when the duality gap,
    so the most that can be left to gain, is below a share of what no weight at all leaves.

    Parameters
    ----------
    x : float, shape (n, n_weights)
        Columns group by group; groups are of one size.
    y : float, shape (n, n_targets)
    penalty : float, shape (n_targets,)
    n_groups : int
    start : float, shape (n_weights, n_targets)
        Where to begin: the solution for a penalty nearby.
    curvature : float
        At least the largest eigenvalue of xᵀx / n (`largest_curvature`).
    tolerance : float
        Of the gap, in units of |y|² / 2n.

    Returns
    -------
    float, shape (n_weights, n_targets)

    References
    ----------
    .. [1] Beck & Teboulle 2009, SIAM J. Imaging Sci. 2:183, doi:10.1137/080716542.
    .. [2] O'Donoghue & Candès 2015, Found. Comput. Math. 15:715,
       doi:10.1007/s10208-013-9150-3.
    """
    n, w, ahead = len(x), start, start
    momentum = np.ones(y.shape[1], dtype=x.dtype)
    for step in range(STEPS):
        gradient = x.T @ (x @ ahead - y) / n
        new = _shrunk(ahead - gradient / curvature, penalty / curvature, n_groups)
        up = np.sum((ahead - new) * (new - w), axis=0) > 0
        momentum[up] = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / following * (new - w)
        w, momentum = new, following
        if step % LOOK == 0 and np.all(duality_gap(x, y, w, penalty, n_groups) <= tolerance):
            break
    return w


def duality_gap(x: Array, y: Array, w: Array, penalty: Array, n_groups: int) -> Array:
    """Return by how much, at most, each target's objective is above its minimum.

    Returns
    -------
    float, shape (n_targets,)
        In units of |y|² / 2n, what no weight at all leaves.
    """
    n, left = len(x), y - x @ w
    steepest = largest_norm(x.T @ left, n_groups) / n
    # What is left, made small enough that no group's slope is above the penalty.
    share = np.minimum(1.0, penalty / np.maximum(steepest, np.finfo(x.dtype).tiny))
    primal = np.sum(left**2, axis=0) / 2 + n * penalty * norms(w, n_groups).sum(axis=0)
    whole = np.sum(y**2, axis=0) / 2
    dual = whole - np.sum((y - share * left) ** 2, axis=0) / 2
    return np.asarray((primal - dual) / np.maximum(whole, np.finfo(x.dtype).tiny))


def least_empty(x: Array, y: Array, n_groups: int) -> Array:
    """Return the least penalty that leaves no group, of each target, shape (n_targets,)."""
    return largest_norm(x.T @ y, n_groups) / len(x)


def largest_curvature(x: Array) -> float:
    """Return the largest eigenvalue of xᵀx / n, from the smaller of two products."""
    n, n_weights = x.shape
    gram = x @ x.T if n <= n_weights else x.T @ x
    last = len(gram) - 1
    top = linalg.eigh(gram, eigvals_only=True, subset_by_index=[last, last])
    return float(top[0] / n)


def norms(w: Array, n_groups: int) -> Array:
    """Return the norm of each group of weights, shape (n_groups, n_targets)."""
    return np.asarray(np.linalg.norm(w.reshape(n_groups, -1, w.shape[1]), axis=1))


def largest_norm(w: Array, n_groups: int) -> Array:
    """Return the largest of the groups' norms, shape (n_targets,)."""
    return np.asarray(norms(w, n_groups).max(axis=0))


def _shrunk(w: Array, by: Array, n_groups: int) -> Array:
    """Return weights with each group's norm made smaller, down to nothing."""
    size = norms(w, n_groups)
    share = np.maximum(0.0, 1.0 - by / np.maximum(size, np.finfo(w.dtype).tiny))
    grouped = w.reshape(n_groups, -1, w.shape[1]) * share[:, None].astype(w.dtype)
    return grouped.reshape(w.shape)
