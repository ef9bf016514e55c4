from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from rtfeedback.errors import ConfigError
from rtfeedback.models import EEGNet, EEGNetConfig, Shape, build_model
from rtfeedback.models.eegnet import POOLED


def eegnet(
    *,
    n_features: int = 5,
    n_times: int = 96,
    n_targets: int = 2,
    seed: int = 0,
    **config: float,
) -> EEGNet:
    torch.manual_seed(seed)
    model = build_model(
        EEGNetConfig.model_validate(config),
        Shape(n_features=n_features, n_times=n_times, n_targets=n_targets, rate=125.0),
    )
    assert isinstance(model, EEGNet)
    return model


def windows(n: int = 3, n_features: int = 5, n_times: int = 96) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(0, 1, (n, n_features, n_times)).astype(np.float32))


def n_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("n_targets", [1, 4])
def test_its_docstring_counts_its_parameters(n_targets: int) -> None:
    model = eegnet(n_features=64, n_times=1875, n_targets=n_targets)
    stated = re.search(r"([\d ]+) \+ ([\d ]+) per ROI\s+parameters", EEGNet.__doc__ or "")
    assert stated is not None
    body, each = (int(number.replace(" ", "")) for number in stated.groups())
    assert n_parameters(model) == body + each * n_targets


@pytest.mark.parametrize("n_times", [32, 33, 63, 64, 96, 1875])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_windows_of_any_length_give_one_z_per_target(n_times: int, n_targets: int) -> None:
    model = eegnet(n_times=n_times, n_targets=n_targets).eval()
    z = model(windows(n_times=n_times))
    assert z.shape == (3, n_targets)
    assert z.dtype == torch.float32
    assert torch.isfinite(z).all()


def test_a_window_too_short_to_pool_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"31 samples is too short for 'eegnet'\. It takes 32"
    ):
        eegnet(n_times=POOLED - 1)


def test_filtering_in_space_first_is_filtering_in_time_first() -> None:
    model = eegnet(n_features=5, f1=4, depth=3, kernel=0.1).double()
    x = windows().double()
    spatial_first = model._filter_in_time(model.spatial(x))

    # The paper's order: each temporal filter over every channel, then its own depth of
    # spatial filters over the channels.
    kernel = model.temporal.kernel_size[0]
    padded = F.pad(x[:, None], (kernel // 2, (kernel - 1) // 2))
    in_time = F.conv2d(padded, model.temporal.weight[:, :, None])
    temporal_first = F.conv2d(in_time, model.spatial.weight[:, None], groups=4)[:, :, 0]
    assert spatial_first.shape == temporal_first.shape == (3, 12, 96)
    assert torch.allclose(spatial_first, temporal_first, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [0.008, 0.016, 0.024, 0.496, 0.504])
def test_a_kernel_even_or_odd_keeps_the_length_without_a_warning(kernel: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = eegnet(kernel=kernel)
        assert model._filter_in_time(model.spatial(windows())).shape == (3, 16, 96)
        assert model(windows()).shape == (3, 2)


def test_no_spatial_filter_is_larger_than_its_largest_norm() -> None:
    model = eegnet(max_norm=0.5)
    with torch.no_grad():
        model.spatial.weight.mul_(100.0)
        model.spatial.weight[0] *= 1e-4
    small = model.spatial.weight[0].clone()
    directions = F.normalize(model.spatial.weight.detach().clone(), dim=1)
    model.constrain()
    norms = model.spatial.weight.norm(dim=1)
    assert norms.max() <= 0.5 * (1 + 1e-5)
    assert torch.allclose(F.normalize(model.spatial.weight, dim=1), directions, atol=1e-6)
    assert torch.equal(model.spatial.weight[0], small)  # what is within it stays


def test_the_same_seed_gives_the_same_weights() -> None:
    a, b, c = eegnet(seed=1), eegnet(seed=1), eegnet(seed=2)
    weights = a.state_dict()
    assert all(torch.equal(weights[name], b.state_dict()[name]) for name in weights)
    assert not torch.equal(a.spatial.weight, c.spatial.weight)


def test_it_knows_no_unit_once_the_scaler_is_fitted() -> None:
    rng = np.random.default_rng(3)
    mean, sd = rng.normal(0, 1, 5), rng.uniform(0.5, 2, 5)
    plain, scaled = eegnet().eval(), eegnet().eval()
    scaled.scaler.fit(mean, sd)
    x = windows()
    moved = x * torch.from_numpy(sd).float()[:, None] + torch.from_numpy(mean).float()[:, None]
    assert torch.allclose(plain(x), scaled(moved), atol=1e-5)


def test_what_scales_its_input_travels_with_the_weights() -> None:
    names = eegnet().state_dict()
    assert {"scaler.mean", "scaler.sd"} <= names.keys()


def test_dropout_is_off_when_it_predicts() -> None:
    model = eegnet().eval()
    assert torch.equal(model(windows()), model(windows()))


@pytest.mark.parametrize(
    "values", [{"f1": 0}, {"kernel": 0.0}, {"dropout": 1.0}, {"length": 0}]
)
def test_a_senseless_setting_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        EEGNetConfig.model_validate(values)
