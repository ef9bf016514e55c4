from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from rtfeedback.errors import ConfigError
from rtfeedback.models import TCN, Shape, TCNConfig, build_model


def tcn(
    *,
    n_features: int = 6,
    n_times: int = 64,
    n_targets: int = 2,
    hold: int = 0,
    seed: int = 0,
    **config: float,
) -> TCN:
    torch.manual_seed(seed)
    model = build_model(
        TCNConfig.model_validate({"width": 8, **config}),
        Shape(n_features=n_features, n_times=n_times, n_targets=n_targets, rate=4.0, hold=hold),
    )
    assert isinstance(model, TCN)
    return model.eval()


def windows(n: int = 3, n_features: int = 6, n_times: int = 64) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(0, 1, (n, n_features, n_times)).astype(np.float32))


def dilated(model: TCN, x: Tensor) -> Tensor:
    """Return z at each token, by convolutions as the papers state them, padded in the past."""
    x = model.embed(model.scaler(x))
    for i, block in enumerate(model.blocks):
        assert isinstance(block, torch.nn.Conv1d)
        past = F.pad(F.elu(x), (2 * 2**i, 0))
        x = x + F.conv1d(past, block.weight, block.bias, dilation=2**i)
    return model.head(F.elu(x).transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]


def test_its_docstring_counts_its_parameters() -> None:
    text = " ".join((TCN.__doc__ or "").split())
    stated = re.search(
        r"With (\d+) channels, (\d+) bands and the defaults: ([\d ]+) \+ (\d+) per ROI", text
    )
    assert stated is not None
    channels, bands, body, each = (int(n.replace(" ", "")) for n in stated.groups())
    for n_targets in (1, 3):
        model = tcn(n_features=channels * bands, n_targets=n_targets, width=64)
        count = sum(parameter.numel() for parameter in model.parameters())
        assert count == body + each * n_targets


@pytest.mark.parametrize("blocks", [1, 3, 5])
def test_a_window_is_answered_as_by_dilated_convolutions(blocks: int) -> None:
    model, x = tcn(blocks=blocks).double(), windows().double()
    assert torch.allclose(model(x), dilated(model, x)[..., -1], rtol=0, atol=1e-12)


def test_it_is_causal_and_the_same_at_each_token() -> None:
    model, x = tcn(blocks=3).double(), windows(1, n_times=40).double()
    reach = model.config.reach
    assert reach == 15
    everywhere = dilated(model, x)
    for end in range(reach, 41):
        at_end = model(x[..., end - reach : end])
        assert torch.allclose(at_end, everywhere[..., end - 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("blocks", [1, 3, 5])
def test_it_sees_its_reach_and_no_further(blocks: int) -> None:
    model = tcn(blocks=blocks, n_targets=1)
    x = windows(1).requires_grad_()
    model(x).sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(dim=0) > 0
    assert seen.tolist() == [False] * (64 - model.config.reach) + [True] * model.config.reach


@pytest.mark.parametrize(("n_times", "n_targets"), [(63, 1), (64, 3), (80, 2)])
def test_windows_give_one_z_per_target(n_times: int, n_targets: int) -> None:
    z = tcn(n_times=n_times, n_targets=n_targets)(windows(n_times=n_times))
    assert z.shape == (3, n_targets)
    assert z.dtype == torch.float32
    assert torch.isfinite(z).all()


def test_a_window_shorter_than_its_reach_is_refused() -> None:
    match = r"62 samples is too short for 'tcn'\. It takes 63 at 4 Hz, 15\.75 s\. Lengthen"
    with pytest.raises(ConfigError, match=match):
        tcn(n_times=62)


def test_the_default_window_holds_its_reach() -> None:
    config = TCNConfig()
    assert config.length * 4.0 >= config.reach


def test_a_masked_token_is_left_out_with_those_held_before_it() -> None:
    model, x = tcn(hold=2, blocks=2), windows(1)
    x[0, :, 60] = torch.nan
    zeroed = x.clone()
    zeroed[0, :, 58:61] = 0.0  # the unfitted scaler's mean
    assert torch.equal(model(x), model(zeroed))


def test_the_same_seed_gives_the_same_weights() -> None:
    a, b, c = tcn(seed=1), tcn(seed=1), tcn(seed=2)
    weights = a.state_dict()
    assert all(torch.equal(weights[name], b.state_dict()[name]) for name in weights)
    assert not torch.equal(a.embed.weight, c.embed.weight)


def test_it_knows_no_unit_once_the_scaler_is_fitted() -> None:
    rng = np.random.default_rng(3)
    mean, sd = rng.normal(0, 1, 6), rng.uniform(0.5, 2, 6)
    plain, scaled = tcn(), tcn()
    scaled.scaler.fit(mean, sd)
    x = windows()
    moved = x * torch.from_numpy(sd).float()[:, None] + torch.from_numpy(mean).float()[:, None]
    assert torch.allclose(plain(x), scaled(moved), atol=1e-5)


def test_in_training_whole_features_are_dropped() -> None:
    model = tcn(feature_dropout=0.5, dropout=0.0, n_features=40).train()
    seen: list[Tensor] = []
    model.embed.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    torch.manual_seed(0)
    model(torch.ones(4, 40, 64))
    dropped = (seen[0] == 0).all(dim=-1)
    assert torch.equal(dropped, (seen[0] == 0).any(dim=-1))
    assert 0.3 < dropped.float().mean() < 0.7


def test_dropout_is_off_when_it_predicts() -> None:
    model = tcn()
    assert torch.equal(model(windows()), model(windows()))


@pytest.mark.parametrize(
    "values", [{"width": 0}, {"blocks": 0}, {"blocks": 13}, {"dropout": 1.0}, {"length": 0}]
)
def test_a_senseless_setting_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        TCNConfig.model_validate(values)
