from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from rtfeedback.errors import ConfigError
from rtfeedback.models import Ridge, RidgeConfig, Shape, build_model


def ridge(*, n_features: int = 4, n_times: int = 6, n_targets: int = 2) -> Ridge:
    model = build_model(
        RidgeConfig(),
        Shape(n_features=n_features, n_times=n_times, n_targets=n_targets, rate=4.0),
    )
    assert isinstance(model, Ridge)
    return model


def test_its_docstring_counts_its_parameters() -> None:
    text = " ".join((Ridge.__doc__ or "").split())
    stated = re.search(r"With (\d+) channels, (\d+) bands and (\d+) lags: ([\d ]+) param", text)
    assert stated is not None
    channels, bands, lags, count = (int(n.replace(" ", "")) for n in stated.groups())
    for n_targets in (1, 3):
        model = ridge(n_features=channels * bands, n_times=lags, n_targets=n_targets)
        assert sum(p.numel() for p in model.parameters()) == count * n_targets
    assert lags == RidgeConfig().length * 4.0


@pytest.mark.parametrize("n_targets", [1, 3])
def test_windows_give_one_z_per_target(n_targets: int) -> None:
    z = ridge(n_targets=n_targets)(torch.zeros(5, 4, 6))
    assert z.shape == (5, n_targets)
    assert z.dtype == torch.float32


def test_it_is_the_linear_map_that_it_was_given() -> None:
    rng = np.random.default_rng(0)
    model = ridge()
    mean, sd = rng.normal(0, 1, 4), rng.uniform(0.5, 2, 4)
    weights, bias = rng.normal(0, 1, (2, 24)), rng.normal(0, 1, 2)
    model.scaler.fit(mean, sd)
    model.set(weights, bias)
    x = rng.normal(0, 1, (7, 4, 6))
    scaled = (x - mean[:, None]) / sd[:, None]
    expected = scaled.reshape(7, -1) @ weights.T + bias
    given = model(torch.from_numpy(x.astype(np.float32))).detach().numpy()
    assert np.allclose(given, expected, atol=1e-4)


def test_each_lag_and_feature_has_a_weight_of_its_own() -> None:
    model = ridge(n_targets=1)
    model.set(np.arange(24.0)[None], np.zeros(1))
    for feature in range(4):
        for lag in range(6):
            x = torch.zeros(1, 4, 6)
            x[0, feature, lag] = 1.0
            assert model(x).item() == 6 * feature + lag


def test_an_unfitted_scaler_changes_nothing() -> None:
    x = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ridge().scaler(x), x)


def test_what_scales_its_input_travels_with_the_weights() -> None:
    assert set(ridge().state_dict()) == {
        "scaler.mean",
        "scaler.sd",
        "linear.weight",
        "linear.bias",
    }


def test_a_window_without_a_token_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"0 samples is too short for 'ridge'"):
        ridge(n_times=0)


def test_an_hrf_basis_takes_a_window_that_holds_whole_responses() -> None:
    config = RidgeConfig(basis="hrf", length=20.0)
    shape = Shape(n_features=4, n_times=47, n_targets=1, rate=4.0)
    with pytest.raises(ConfigError, match=r"47 samples is too short for 'ridge'\. It takes 48"):
        build_model(config, shape)
    build_model(config, Shape(n_features=4, n_times=48, n_targets=1, rate=4.0))


def test_its_docstring_counts_the_weights_of_an_hrf_basis() -> None:
    stated = re.search(r"three responses have ([\d ]+) to choose", Ridge.__doc__ or "")
    assert stated is not None
    assert int(stated[1].replace(" ", "")) == 64 * 8 * 3 + 1


def test_a_batch_is_its_windows_one_by_one_and_what_is_masked_is_no_nan() -> None:
    model = ridge()
    x = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(0))
    x[:, 1] = torch.nan
    one_by_one = torch.cat([model(x[i : i + 1]) for i in range(5)])
    assert torch.isfinite(one_by_one).all()
    assert torch.allclose(model(x), one_by_one, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "values", [{"basis": "fir"}, {"penalty": "lasso"}, {"group": "lag"}, {"path": [1.1]}]
)
def test_a_senseless_setting_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RidgeConfig.model_validate(values)
