from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from offline.training.augment import Augment, AugmentConfig

N, CHANNELS, BANDS, TIMES = 400, 4, 2, 50
SD = torch.tensor([1e-5, 2e-5, 3e-5, 4e-5, 1.0, 2.0, 3.0, 4.0])[:, None]


def augmented(x: Tensor, *, seed: int = 0, **values: Any) -> Tensor:
    config = AugmentConfig.model_validate(values)
    return Augment(config, SD, n_bands=BANDS, log_power=False, seed=seed)(x.clone())


@pytest.fixture
def windows() -> Tensor:
    """Return windows, one of them masked in part."""
    random = torch.Generator().manual_seed(3)
    x = torch.randn((N, CHANNELS * BANDS, TIMES), generator=random) * SD
    x[7, 2:4, 10:20] = torch.nan
    return x


EVERY: dict[str, Any] = {"shift": 1.0, "noise": 0.1, "scale": 0.2, "channel_dropout": 0.3}


def test_nothing_is_changed_by_default(windows: Tensor) -> None:
    assert not AugmentConfig().does_anything
    assert torch.equal(augmented(windows).nan_to_num(9.0), windows.nan_to_num(9.0))


@pytest.mark.parametrize("name", EVERY)
def test_each_option_changes_windows_and_is_the_same_again(windows: Tensor, name: str) -> None:
    values: dict[str, Any] = {name: EVERY[name]}
    assert AugmentConfig.model_validate(values).does_anything
    once = augmented(windows, **values).nan_to_num(9.0)
    assert not torch.equal(once, windows.nan_to_num(9.0))
    assert torch.equal(once, augmented(windows, **values).nan_to_num(9.0))
    assert not torch.equal(once, augmented(windows, seed=1, **values).nan_to_num(9.0))


@pytest.mark.parametrize("name", EVERY)
def test_what_is_masked_stays_masked(windows: Tensor, name: str) -> None:
    found = augmented(windows, **{name: EVERY[name]})
    assert found[windows.isnan()].isnan().all()
    if name != "channel_dropout":
        assert torch.equal(found.isnan(), windows.isnan())


def test_a_shift_is_one_for_a_feature_of_a_window_in_its_sd(windows: Tensor) -> None:
    moved = ((augmented(windows, shift=2.0) - windows) / SD)[8:]
    assert (moved.std(dim=2) < 1e-3).all()
    assert moved.mean(dim=2).std(dim=0).sub(2.0).abs().max() < 0.3


def test_noise_is_white_and_in_a_features_sd(windows: Tensor) -> None:
    noise = ((augmented(windows, noise=0.5) - windows) / SD)[8:]
    assert noise.std(dim=(0, 2)).sub(0.5).abs().max() < 0.02
    lagged = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
    assert abs(float(lagged)) < 0.02


def test_a_factor_is_one_for_all_channels_of_a_window(windows: Tensor) -> None:
    factor = (augmented(windows, scale=0.2) / windows)[8:]
    assert torch.allclose(factor, factor[:, :1, :1], rtol=1e-4)
    assert 0.17 < float(factor[:, 0, 0].log().std()) < 0.23


def test_log_power_moves_as_the_eegs_amplitude_would() -> None:
    amplitude = torch.full((N, CHANNELS * BANDS, TIMES), 3e-5)
    config = AugmentConfig(scale=0.2)
    factors = Augment(config, SD, n_bands=1, log_power=False, seed=5)(amplitude.clone())
    log = torch.log10(amplitude.square())
    moved = Augment(config, SD, n_bands=1, log_power=True, seed=5)(log.clone())
    assert torch.allclose(moved, torch.log10(factors.square()), atol=1e-5)


def test_a_lost_channel_is_masked_throughout_in_all_its_bands(windows: Tensor) -> None:
    found = augmented(windows, channel_dropout=0.3)[8:]
    lost = found.isnan()
    by_channel = lost.reshape(N - 8, CHANNELS, BANDS * TIMES)
    assert (by_channel.all(dim=2) == by_channel.any(dim=2)).all()
    share = float(by_channel[..., 0].float().mean())
    assert 0.25 < share < 0.35
    assert torch.equal(found[~lost], windows[8:][~lost])


def test_a_window_never_loses_all_of_its_channels(windows: Tensor) -> None:
    found = augmented(windows, channel_dropout=0.99)[8:]
    assert (~found.isnan()).any(dim=2).any(dim=1).all()
