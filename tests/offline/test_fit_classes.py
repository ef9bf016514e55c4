"""What classes are is read off the training part, and off nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from offline.training.fit_classes import Cut, fit_classes, fit_conditions, fit_levels
from rtfeedback.errors import DatasetError
from rtfeedback.models import EEGNet, EEGNetConfig, Shape
from rtfeedback.models.layers.classes import Conditions, Levels
from rtfeedback.signals import Float64


def courses(n: int = 300) -> Float64:
    """Return two skewed courses, as z."""
    rng = np.random.default_rng(0)
    raw = np.exp(rng.normal(0, 1, (n, 2)))
    return np.asarray((raw - raw.mean(axis=0)) / raw.std(axis=0))


@pytest.mark.parametrize("n_levels", [2, 3, 5, 10])
def test_quantiles_make_levels_as_frequent(n_levels: int) -> None:
    levels, z = Levels(2, n_levels), courses()
    fit_levels(levels, z, "quantiles")
    found = levels.of(torch.from_numpy(z).float())
    for target in range(2):
        counts = np.bincount(found[:, target].numpy(), minlength=n_levels)
        assert counts.tolist() == [300 // n_levels] * n_levels


def test_width_makes_levels_as_wide() -> None:
    levels, z = Levels(2, 4), courses()
    fit_levels(levels, z, "width")
    for target in range(2):
        every = [z[:, target].min(), *levels.edges[target].tolist(), z[:, target].max()]
        assert np.allclose(np.diff(every), np.ptp(z[:, target]) / 4, atol=1e-5)


@pytest.mark.parametrize("cut", ["quantiles", "width"])
def test_a_level_stands_for_the_mean_of_its_windows(cut: Cut) -> None:
    levels, z = Levels(2, 3), courses()
    fit_levels(levels, z, cut)
    found = levels.of(torch.from_numpy(z).float()).numpy()
    for target in range(2):
        for level in range(3):
            mean = z[found[:, target] == level, target].mean()
            assert levels.values[target, level].item() == pytest.approx(mean, rel=1e-5)


def test_a_level_of_no_window_stands_for_its_middle() -> None:
    z = np.array([0.0, 0.1, 0.2, 0.9, 1.0])[:, None]
    levels = Levels(1, 5)
    fit_levels(levels, z, "width")
    assert levels.values[0].tolist() == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.95], abs=0.051)
    assert levels.values[0, 2].item() == pytest.approx(0.5)


def test_more_levels_than_values_are_refused() -> None:
    z = np.repeat([0.0, 1.0], 10)[:, None]
    with pytest.raises(DatasetError, match=r"into 3 levels.*2 different values.*fewer levels"):
        fit_levels(Levels(1, 3), z, "quantiles")
    with pytest.raises(DatasetError, match="into 2 levels"):
        fit_levels(Levels(1, 2), np.zeros((10, 1)), "width")


def test_conditions_know_the_z_of_0_and_1() -> None:
    held = np.zeros((10, 2))
    held[:3, 0] = held[5:9, 1] = 1.0
    z = (held - held.mean(axis=0)) / held.std(axis=0)
    conditions = Conditions(2)
    fit_conditions(conditions, z)
    found = conditions.of(torch.from_numpy(z).float())
    assert found.tolist() == [1, 1, 1, 0, 0, 2, 2, 2, 2, 0]


@pytest.mark.parametrize("column", [np.zeros(10), np.linspace(0, 1, 10)])
def test_what_is_no_condition_is_refused(column: Float64) -> None:
    z = np.stack([np.repeat([0.0, 1.0], 5), column], axis=1)
    with pytest.raises(DatasetError, match=r"no conditions.*Of 2, \d+ different values"):
        fit_conditions(Conditions(2), z)


def test_a_network_gets_the_classes_that_it_has() -> None:
    shape, z = Shape(n_features=3, n_times=64, n_targets=2, rate=125.0), courses()
    levels = EEGNet(EEGNetConfig(head="levels", cut="width"), shape)
    fit_classes(levels, z)
    expected = Levels(2, 3)
    fit_levels(expected, z, "width")
    assert levels.classes is not None
    assert torch.equal(levels.classes.state_dict()["edges"], expected.edges)
    conditions = EEGNet(EEGNetConfig(head="conditions"), shape)
    fit_classes(conditions, np.sign(z))
    assert conditions.classes is not None
    assert conditions.classes.state_dict()["low"].tolist() == [-1, -1]
    fit_classes(EEGNet(EEGNetConfig(), shape), z)  # which has none
