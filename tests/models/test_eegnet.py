from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from scipy import signal

from rtfeedback.errors import ConfigError
from rtfeedback.models import EEGNet, EEGNetConfig, Shape, build_model
from rtfeedback.models.eegnet import POOLED
from rtfeedback.models.layers.classes import Conditions, Levels


def eegnet(
    *,
    n_features: int = 5,
    n_times: int = 96,
    n_targets: int = 2,
    seed: int = 0,
    **config: object,
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


@pytest.mark.parametrize(
    ("head", "n_outputs"), [("value", 2), ("levels", 10), ("conditions", 3)]
)
def test_its_docstring_counts_its_parameters_at_the_sources_shape(
    head: str, n_outputs: int
) -> None:
    model = eegnet(n_features=31, n_times=250, kernel=0.512, head=head, levels=5)
    stated = re.search(r"([\d ]+) \+ ([\d ]+) per output\s+parameters", EEGNet.__doc__ or "")
    assert stated is not None
    body, each = (int(number.replace(" ", "")) for number in stated.groups())
    assert n_parameters(model) == body + each * n_outputs
    # The source's 1 713 for one value have the batch norm of 8 maps that is left out here.
    assert body + each == 1713 - 2 * 8


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


@pytest.mark.parametrize(
    "values",
    [
        {"f1": 0},
        {"kernel": 0.0},
        {"dropout": 1.0},
        {"length": 0},
        {"head": "level"},
        {"levels": 1},
        {"levels": 11},
        {"cut": "median"},
        {"head_max_norm": -1.0},
        {"lowpass": -1.0},
    ],
)
def test_a_senseless_setting_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EEGNetConfig.model_validate(values)


def test_the_recipes_loss_is_of_values_and_classes_have_their_own() -> None:
    def measure(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (z - y).abs().sum()

    x, y = windows(), torch.zeros(3, 2)
    model = eegnet().eval()
    assert torch.equal(model.loss(x, y, measure), model(x).abs().sum())
    classes = eegnet(head="conditions").eval()
    expected = -classes.probabilities(x)[:, 0].log().mean()  # all are rest
    assert torch.allclose(classes.loss(x, y, measure), expected)


def test_a_head_of_classes_is_a_z_for_each_target() -> None:
    for head, n_outputs, found in (("levels", 6, Levels), ("conditions", 3, Conditions)):
        model = eegnet(head=head).eval()
        assert isinstance(model.classes, found)
        assert model.outcome(windows()).shape == (3, n_outputs)
        assert model(windows()).shape == (3, 2)
        assert torch.equal(model(windows()), model.classes(model.outcome(windows())))
        buffers = {f"classes.{name}" for name, _ in model.classes.named_buffers()}
        assert buffers <= model.state_dict().keys()


def test_only_a_head_of_conditions_is_of_the_task() -> None:
    assert [eegnet(head=head).config.of_task for head in ("value", "levels", "conditions")] == [
        False,
        False,
        True,
    ]


def test_no_output_has_larger_weights_than_its_largest_norm() -> None:
    model = eegnet(head_max_norm=0.15)
    with torch.no_grad():
        model.head.weight[0] *= 100.0
        model.head.weight[1] *= 1e-3
    small = model.head.weight[1].clone()
    model.constrain()
    assert model.head.weight[0].norm().item() == pytest.approx(0.15, rel=1e-5)
    assert torch.equal(model.head.weight[1], small)
    free = eegnet()
    with torch.no_grad():
        free.head.weight.mul_(100.0)
    large = free.head.weight.clone()
    free.constrain()
    assert torch.equal(free.head.weight, large)


def test_after_an_epoch_temporal_filters_are_what_the_butterworth_filter_leaves() -> None:
    model, free = eegnet(lowpass=30.0), eegnet()
    before = model.temporal.weight.detach().clone()
    model.after_epoch()
    free.after_epoch()
    assert torch.equal(free.temporal.weight, before)
    b, a = signal.butter(10, 30.0, fs=125.0)
    expected = signal.lfilter(b, a, before.double().numpy())
    assert np.allclose(model.temporal.weight.detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("frequency", "left"), [(5.0, 1.0), (30.0, 0.5), (45.0, 0.0)])
def test_after_an_epoch_little_is_left_above_the_lowpass(frequency: float, left: float) -> None:
    model = eegnet(lowpass=30.0, kernel=8.0)
    times = torch.arange(model.temporal.kernel_size[0]) / 125.0
    tone = torch.sin(2 * torch.pi * frequency * times)
    with torch.no_grad():
        model.temporal.weight[:] = tone
    model.after_epoch()
    settled = model.temporal.weight[0, 0, 500:].detach()
    assert settled.square().mean().item() == pytest.approx(0.5 * left, abs=0.01)


def test_its_docstring_says_how_far_an_epoch_moves_a_filter() -> None:
    stated = re.search(r"by (\d+) ms an epoch\s+at (\d+) Hz", EEGNet.after_epoch.__doc__ or "")
    assert stated is not None
    model = eegnet(lowpass=float(stated[2]), kernel=2.0)
    times = torch.arange(250) / 125.0
    with torch.no_grad():
        model.temporal.weight[:] = torch.exp(-(((times - 1.0) / 0.1) ** 2))
    model.after_epoch()
    weight = model.temporal.weight[0, 0].detach()
    centre = float((weight * times).sum() / weight.sum())
    assert round(1000 * (centre - 1.0)) == int(stated[1])


def test_a_lowpass_above_all_there_is_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"above 62\.5 Hz.*At 125 Hz.*Lower model\.lowpass"):
        eegnet(lowpass=62.5)
