from __future__ import annotations

import numpy as np
import pytest
import torch

from rtfeedback.errors import ConfigError
from rtfeedback.models import MeanPower, MeanPowerConfig, Shape, build_model
from rtfeedback.signals import Float32, Float64

VOLTS = 2e-5


def mean_power(n: int = 3, n_times: int = 500) -> MeanPower:
    model = build_model(
        MeanPowerConfig(), Shape(n_features=n, n_times=n_times, n_targets=n, rate=1000.0)
    )
    assert isinstance(model, MeanPower)
    return model.eval()


def window(n: int = 3, n_times: int = 500, seed: int = 0) -> Float32:
    rng = np.random.default_rng(seed)
    return (VOLTS * rng.standard_normal((n, n_times))).astype(np.float32)


def answer(model: MeanPower, x: Float32) -> Float64:
    with torch.inference_mode():
        return np.asarray(model(torch.from_numpy(x)[None])[0].numpy(), dtype=np.float64)


def test_it_is_the_mean_square_in_the_targets_z() -> None:
    model, x = mean_power(), window()
    mean, sd = np.array([4e-10, 3e-10, 0.0]), np.array([4e-10, 1e-10, 1.0])
    model.set(mean, sd)
    expected = (np.mean(x.astype(np.float64) ** 2, axis=1) - mean) / sd
    assert np.allclose(answer(model, x), expected, rtol=1e-5, atol=1e-12)


def test_long_windows_lose_no_precision() -> None:
    x = window(2, 300_000)
    expected = np.mean(x.astype(np.float64) ** 2, axis=1)
    assert np.allclose(answer(mean_power(2, 300_000), x), expected, rtol=1e-4, atol=0)


def test_what_is_masked_is_left_out_of_the_mean() -> None:
    model, x = mean_power(), window()
    x[0, 100:300] = np.nan
    found = answer(model, x)
    assert np.allclose(found, np.nanmean(x.astype(np.float64) ** 2, axis=1), rtol=1e-5, atol=0)
    rest = answer(model, np.delete(x, np.s_[100:300], axis=1))
    assert np.allclose(found[0], rest[0], rtol=1e-6, atol=0)


def test_a_channel_that_is_masked_throughout_says_the_mean() -> None:
    model, x = mean_power(), window()
    model.set(np.full(3, 4e-10), np.full(3, 2e-10))
    x[1] = np.nan
    found = answer(model, x)
    assert found[1] == 0.0
    assert np.isfinite(found).all()


def test_channels_without_masks_keep_their_value_beside_one_with() -> None:
    model, x = mean_power(), window()
    whole = answer(model, x)
    x[2, 7] = np.nan
    assert np.array_equal(answer(model, x)[:2], whole[:2])


def test_where_a_window_lies_in_memory_changes_no_bit() -> None:
    model, x = mean_power(4, 333), window(4, 333)
    floats = np.empty(x.size + 64, dtype=np.float32)
    found = set()
    for offset in range(33):  # the ring's window moves on by one float a sample
        view = floats[offset : offset + x.size].reshape(x.shape)
        view[:] = x
        found.add(tuple(answer(model, view).tolist()))
    assert len(found) == 1


def test_what_it_is_set_to_travels_with_the_weights() -> None:
    assert set(mean_power().state_dict()) == {"mean", "sd"}


@pytest.mark.parametrize("n_targets", [1, 4])
def test_other_targets_than_one_for_each_channel_are_refused(n_targets: int) -> None:
    with pytest.raises(ConfigError, match=r"one target for each channel.*bench\.checkpoint"):
        build_model(
            MeanPowerConfig(), Shape(n_features=3, n_times=9, n_targets=n_targets, rate=1000.0)
        )
