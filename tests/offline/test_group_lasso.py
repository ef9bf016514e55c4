"""The minimum that is found, by what is known of it and by scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Lasso

from offline.training.group_lasso import (
    Array,
    duality_gap,
    group_lasso,
    largest_curvature,
    least_empty,
    norms,
)


def problem(n: int = 40, n_groups: int = 6, size: int = 4) -> tuple[Array, Array]:
    """Return windows of correlated features and two targets that two groups make."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (n, n_groups * size)) + rng.normal(0, 1, (n, 1))
    w = np.zeros((n_groups * size, 2))
    w[:size, 0] = w[-size:, 1] = rng.normal(0, 1, size)
    return x, x @ w + rng.normal(0, 0.5, (n, 2))


def solved(x: Array, y: Array, penalty: Array, n_groups: int, tolerance: float) -> Array:
    return group_lasso(
        x,
        y,
        penalty,
        n_groups=n_groups,
        start=np.zeros((x.shape[1], y.shape[1])),
        curvature=largest_curvature(x),
        tolerance=tolerance,
    )


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_at_the_minimum_every_group_pulls_as_hard_as_the_penalty_or_less(share: float) -> None:
    x, y = problem()
    penalty = share * least_empty(x, y, 6)
    w = solved(x, y, penalty, 6, tolerance=1e-12)
    slope = x.T @ (y - x @ w) / len(x)
    pull, size = norms(slope, 6), norms(w, 6)
    assert 0 < np.sum(size > 0) < size.size
    assert (pull[size == 0] <= np.broadcast_to(penalty, pull.shape)[size == 0] + 1e-6).all()
    direction = (slope.reshape(6, 4, 2) * size[:, None]) - w.reshape(6, 4, 2) * penalty
    assert np.abs(direction).max() < 1e-4 * penalty.max() * size.max()


def test_groups_of_one_are_sklearns_lasso() -> None:
    x, y = problem()
    penalty = np.array([0.2, 0.4])
    w = solved(x, y, penalty, x.shape[1], tolerance=1e-10)
    for target in range(2):
        lasso = Lasso(alpha=penalty[target], fit_intercept=False, tol=1e-10, max_iter=100_000)
        lasso.fit(x, y[:, target])
        assert np.allclose(w[:, target], lasso.coef_, rtol=0, atol=1e-4)
        assert 0 < np.sum(lasso.coef_ != 0) < x.shape[1]


def test_targets_do_not_know_each_other() -> None:
    x, y = problem()
    penalty = 0.2 * least_empty(x, y, 6)
    both = solved(x, y, penalty, 6, tolerance=1e-10)
    for target in range(2):
        own = slice(target, target + 1)
        alone = solved(x, y[:, own], penalty[own], 6, tolerance=1e-10)
        assert np.allclose(both[:, own], alone, atol=1e-4)


def test_the_least_empty_penalty_leaves_no_group_and_a_smaller_one_does() -> None:
    x, y = problem()
    most = least_empty(x, y, 6)
    assert not solved(x, y, 1.001 * most, 6, tolerance=1e-10).any()
    assert (norms(solved(x, y, 0.98 * most, 6, tolerance=1e-10), 6).sum(axis=0) > 0).all()


def test_the_gap_is_never_less_than_what_is_left_to_gain() -> None:
    x, y = problem()
    penalty = 0.2 * least_empty(x, y, 6)

    def objective(w: Array) -> Array:
        whole = np.sum(y**2, axis=0) / 2
        squares = np.sum((y - x @ w) ** 2, axis=0) / 2
        return np.asarray((squares + len(x) * penalty * norms(w, 6).sum(axis=0)) / whole)

    best = solved(x, y, penalty, 6, tolerance=1e-12)
    rng = np.random.default_rng(1)
    for size in (0.0, 0.01, 0.3):
        w = best + size * rng.normal(0, 1, best.shape)
        gap, excess = duality_gap(x, y, w, penalty, 6), objective(w) - objective(best)
        assert (gap >= excess - 1e-9).all()
    assert (duality_gap(x, y, best, penalty, 6) < 1e-9).all()


@pytest.mark.parametrize("n", [10, 60])
def test_the_curvature_is_the_largest_eigenvalue(n: int) -> None:
    x, _ = problem(n)
    assert largest_curvature(x) == pytest.approx(np.linalg.norm(x, 2) ** 2 / n)
