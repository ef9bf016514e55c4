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
from rtfeedback.models.layers.head import LARGEST
from rtfeedback.models.streaming import Streaming


def tcn(
    *,
    n_features: int = 6,
    n_times: int = 64,
    n_targets: int = 2,
    hold: int = 0,
    seed: int = 0,
    **config: float | bool,
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
        r"With (\d+) channels, (\d+) bands and the defaults: ([\d ]+) \+ (\d+) per ROI"
        r" parameters, and (\d+) more with its variance",
        text,
    )
    assert stated is not None
    channels, bands, body, each, more = (int(n.replace(" ", "")) for n in stated.groups())
    for n_targets, variance in ((1, False), (3, False), (3, True)):
        model = tcn(
            n_features=channels * bands, n_targets=n_targets, width=64, variance=variance
        )
        count = sum(parameter.numel() for parameter in model.parameters())
        assert count == body + (each + variance * more) * n_targets


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


def test_a_masked_token_is_left_out_with_those_held_before_it() -> None:
    model, x = tcn(hold=2, blocks=2), windows(1)
    x[0, :, 60] = torch.nan
    zeroed = x.clone()
    zeroed[0, :, 58:61] = 0.0  # the unfitted scaler's mean
    assert torch.equal(model(x), model(zeroed))


@pytest.mark.parametrize("hold", [0, 1, 3])
@pytest.mark.parametrize("variance", [False, True])
def test_token_by_token_it_answers_as_to_whole_windows(hold: int, variance: bool) -> None:
    model, x = tcn(blocks=3, hold=hold, variance=variance), windows(3, n_times=40)
    assert isinstance(model, Streaming)
    x[0, 2, 17] = x[1, :, 24] = x[1, 3, 31:33] = x[2, 1, 39] = torch.nan
    state = model.start(3)
    for end in range(1, 41):
        z, state = model.step(x[..., end - 1 : end], state)
        if end >= model.reach:
            assert torch.allclose(z, model(x[..., :end]), rtol=0, atol=1e-5)


def test_a_step_costs_the_same_however_long_the_window_and_the_past() -> None:
    short, long = tcn(n_times=63), tcn(n_times=480)
    assert [each.shape for each in short.start()] == [each.shape for each in long.start()]
    x, state = windows(1, n_times=1), long.start()
    for _ in range(3):
        before = [each.clone() for each in state]
        _, after = long.step(x, state)
        assert [each.shape for each in after] == [each.shape for each in before]
        assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True))
        state = after


def test_with_variance_it_tells_means_and_then_log_variances() -> None:
    plain, gaussian = tcn(), tcn(variance=True)
    assert (plain.gaussian, gaussian.gaussian) == (False, True)
    out = gaussian(windows())
    assert out.shape == (3, 4)
    with torch.no_grad():
        gaussian.head.weight[:2] = plain.head.weight
        gaussian.head.bias[:2] = plain.head.bias
        gaussian.head.weight[2:] *= 1e4
        plain.load_state_dict(
            {**gaussian.state_dict(), **plain.head.state_dict(prefix="head.")}
        )
    out = gaussian(windows())
    assert torch.allclose(out[:, :2], plain(windows()), atol=1e-6)
    assert out[:, 2:].abs().max() <= LARGEST


def test_a_gaussian_learns_where_it_is_unsure() -> None:
    model = tcn(n_features=1, n_targets=1, n_times=3, blocks=1, variance=True)
    x = torch.ones(64, 1, 3) * torch.tensor([-1.0, 1.0]).repeat(32)[:, None, None]
    y = torch.randn(64, 1) * torch.where(x[:, :, 0] > 0, 2.0, 0.25)
    optimiser = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(100):
        mean, log_variance = model(x).chunk(2, dim=-1)
        loss = F.gaussian_nll_loss(mean, y, log_variance.exp())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    quiet, loud = model(x[:2])[:, 1].div(2).exp().tolist()
    assert 0.15 < quiet < 0.4
    assert 1.3 < loud < 2.8


def test_in_training_whole_features_are_dropped() -> None:
    model = tcn(feature_dropout=0.5, dropout=0.0, n_features=40).train()
    seen: list[Tensor] = []
    model.embed.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    torch.manual_seed(0)
    model(torch.ones(4, 40, 64))
    dropped = (seen[0] == 0).all(dim=-1)
    assert torch.equal(dropped, (seen[0] == 0).any(dim=-1))
    assert 0.3 < dropped.float().mean() < 0.7


@pytest.mark.parametrize(
    "values", [{"width": 0}, {"blocks": 0}, {"blocks": 13}, {"dropout": 1.0}, {"length": 0}]
)
def test_a_senseless_setting_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        TCNConfig.model_validate(values)
