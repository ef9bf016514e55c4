"""A last layer that is fitted anew, between the data and what it was."""

from __future__ import annotations

import numpy as np
import pytest

from offline.calibration.closed_form import Readout, Solve, gain, ridge
from rtfeedback.signals import Float64

RNG = np.random.default_rng(0)
PARENT = Readout(RNG.normal(size=(2, 5)), RNG.normal(size=2))
X: Float64 = RNG.normal(3.0, 1.0, (80, 5))


@pytest.mark.parametrize("solve", [gain, ridge])
def test_a_large_penalty_leaves_the_parent(solve: Solve) -> None:
    z = RNG.normal(2.0, 3.0, (80, 2))
    child = solve(PARENT, X, z, 1e12)
    np.testing.assert_allclose(child(X), PARENT(X), atol=1e-6)


@pytest.mark.parametrize("solve", [gain, ridge])
def test_a_small_penalty_finds_a_gain_and_an_offset(solve: Solve) -> None:
    z = PARENT(X) * [0.5, 2.0] + [1.0, -3.0]
    child = solve(PARENT, X, z, 1e-9)
    np.testing.assert_allclose(child(X), z, atol=1e-5)
    np.testing.assert_allclose(child.weights, PARENT.weights * [[0.5], [2.0]], atol=1e-5)


def test_a_gain_is_halfway_where_the_penalty_is_as_large_as_the_data() -> None:
    child = gain(PARENT, X, 3 * PARENT(X), 1.0)
    np.testing.assert_allclose(child.weights, 2 * PARENT.weights)


def test_ridge_finds_other_weights_where_no_gain_would_do() -> None:
    other = Readout(RNG.normal(size=(2, 5)), np.zeros(2))
    z = other(X)
    error = [np.mean((solve(PARENT, X, z, 1e-9)(X) - z) ** 2) for solve in (gain, ridge)]
    assert error[1] < 1e-6 < error[0]
