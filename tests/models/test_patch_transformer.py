from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from rtfeedback.errors import ConfigError
from rtfeedback.models import Shape
from rtfeedback.models.layers.head import LARGEST
from rtfeedback.models.patch_transformer import Layer, PatchTransformer, PatchTransformerConfig
from rtfeedback.models.streaming import Streaming

SMALL = {"width": 8, "layers": 2, "heads": 2, "hidden": 16, "span": 4}
RATE, N_TIMES = 40.0, 100  # patches of 10 samples, 7 of which the newest output sees


def transformer(
    *,
    n_features: int = 5,
    n_times: int = N_TIMES,
    n_targets: int = 2,
    rate: float = RATE,
    hold: int = 0,
    seed: int = 0,
    **config: Any,
) -> PatchTransformer:
    """Return a small one whose attention is not even, as it is untrained."""
    torch.manual_seed(seed)
    settings = PatchTransformerConfig.model_validate({**SMALL, **config})
    shape = Shape(
        n_features=n_features, n_times=n_times, n_targets=n_targets, rate=rate, hold=hold
    )
    assert settings.shortest(rate) <= n_times
    model = settings.build(shape)
    for layer in model.layers:
        assert isinstance(layer, Layer)
        torch.nn.init.normal_(layer.by_lag)
    return model.eval()


def windows(n: int = 3, n_features: int = 5, n_times: int = N_TIMES) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(0, 1, (n, n_features, n_times)).astype(np.float32))


def masked_attention(model: PatchTransformer, x: Tensor) -> Tensor:
    """Return z of windows by full attention among all patches, masked as the papers do it."""
    x = model.embed(model.scaler(x)).mT
    n_patches, heads = x.shape[1], model.config.heads
    lag = torch.arange(n_patches)[:, None] - torch.arange(n_patches)
    for layer in model.layers:
        assert isinstance(layer, Layer)
        normed = layer.norm1(x)
        key, value = layer.key_value(normed).chunk(2, dim=-1)
        query, key, value = (
            each.unflatten(-1, (heads, -1)).transpose(1, 2)
            for each in (layer.query(normed), key, value)
        )
        bias = layer.by_lag.flip(-1)[:, lag.clamp(0, layer.span - 1)]
        bias = bias.masked_fill((lag < 0) | (lag >= layer.span), -torch.inf)
        heard = F.scaled_dot_product_attention(query, key, value, bias)
        x = x + layer.mix(heard.transpose(1, 2).flatten(2))
        x = x + layer.dense(layer.norm2(x))
    return model.head(model.norm(x))  # type: ignore[no-any-return]


def test_its_docstring_counts_its_parameters() -> None:
    text = " ".join((PatchTransformer.__doc__ or "").split())
    stated = re.search(
        r"With (\d+) channels at (\d+) Hz and the defaults: ([\d ]+) \+ (\d+) per ROI"
        r" parameters, and (\d+) more with its variance",
        text,
    )
    assert stated is not None
    channels, rate, body, each, more = (int(n.replace(" ", "")) for n in stated.groups())
    for n_targets, variance in ((1, False), (3, False), (3, True)):
        shape = Shape(n_features=channels, n_times=2031, n_targets=n_targets, rate=rate)
        model = PatchTransformerConfig(variance=variance).build(shape)
        count = sum(parameter.numel() for parameter in model.parameters())
        assert count == body + (each + variance * more) * n_targets


@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize(("n_features", "n_times"), [(1, 70), (5, 79), (16, 200)])
def test_windows_give_one_z_per_target(n_features: int, n_times: int, n_targets: int) -> None:
    model = transformer(n_features=n_features, n_times=n_times, n_targets=n_targets)
    z = model(windows(4, n_features, n_times))
    assert z.shape == (4, n_targets)
    assert z.dtype == torch.float32
    assert torch.isfinite(z).all()


@pytest.mark.parametrize(("layers", "span"), [(1, 2), (2, 4), (3, 3)])
def test_a_window_is_answered_as_by_masked_attention(layers: int, span: int) -> None:
    model = transformer(layers=layers, span=span).double()
    x = windows().double()[..., -model.reach :]
    assert torch.allclose(model(x), masked_attention(model, x)[:, -1], rtol=0, atol=1e-12)


def test_every_patch_with_its_reach_behind_it_has_the_same_outcome() -> None:
    model, x = transformer().double(), windows(1).double()
    everywhere = model.head(model.encode(model.scaler(x)))
    assert everywhere.shape == (1, 10 - model.config.reach + 1, 2)
    for i in range(everywhere.shape[1]):
        end = model.reach + i * model.stride
        assert torch.allclose(model(x[..., :end]), everywhere[:, i], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("layers", "span"), [(1, 2), (2, 4), (3, 3)])
def test_it_sees_its_reach_and_no_further(layers: int, span: int) -> None:
    model = transformer(layers=layers, span=span)
    x = windows(1).requires_grad_()
    model(x).sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(dim=0) > 0
    assert model.reach == 10 * (layers * (span - 1) + 1)
    assert seen.tolist() == [False] * (N_TIMES - model.reach) + [True] * model.reach


def test_a_windows_place_does_not_matter() -> None:
    model, x = transformer(), windows(n_times=200)
    assert torch.equal(model(x), model(x[..., -model.reach :]))


def test_patches_are_weighed_to_1_and_none_outside_the_span() -> None:
    model = transformer()
    found = model.attention(windows())
    assert [each.shape for each in found] == [(3, 2, 4, 7), (3, 2, 1, 4)]
    for weights in found:
        assert torch.allclose(weights.sum(dim=-1), torch.ones(()), atol=1e-6)
        lag = torch.arange(3, 3 + weights.shape[2])[:, None] - torch.arange(weights.shape[3])
        inside = (lag >= 0) & (lag < 4)
        assert (weights[..., inside] > 0).all()
        assert (weights[..., ~inside] == 0).all()


def test_a_lag_weighs_what_its_bias_says() -> None:
    model = transformer(layers=1)
    layer = model.layers[0]
    assert isinstance(layer, Layer)
    with torch.no_grad():
        layer.by_lag.zero_()
        layer.by_lag[0, 1] = 30.0  # the oldest but one: 2 patches ago
    (weights,) = model.attention(windows())
    assert (weights[:, 0, 0, 1] > 0.99).all()
    assert (weights[:, 1, 0, 1] < 0.9).all()


@pytest.mark.parametrize("hold", [0, 4, 10, 23])
@pytest.mark.parametrize("variance", [False, True])
def test_patch_by_patch_it_answers_as_to_whole_windows(hold: int, variance: bool) -> None:
    model, x = transformer(hold=hold, variance=variance), windows(3, n_times=160)
    assert isinstance(model, Streaming)
    x[0, 2, 61:90] = x[1, :, 111] = x[1, 3, 131:153] = x[2, 1, 159] = torch.nan
    state = model.start(3)
    for end in range(10, 161, 10):
        z, state = model.step(x[..., end - 10 : end], state)
        if end >= model.reach:
            assert torch.allclose(z, model(x[..., :end]), rtol=0, atol=1e-5)


def test_tokens_are_patches_of_one() -> None:
    model, x = transformer(rate=4.0, hold=1, n_times=40), windows(2, n_times=40)
    assert (model.stride, model.reach) == (1, 7)
    x[0, 1, 38] = torch.nan
    state = model.start(2)
    for token in torch.split(x, 1, dim=-1):
        z, state = model.step(token, state)
    assert torch.allclose(z, model(x), rtol=0, atol=1e-5)


def test_a_step_costs_the_same_however_long_the_window_and_the_past() -> None:
    short, long = transformer(n_times=70), transformer(n_times=4000)
    assert [each.shape for each in short.start()] == [each.shape for each in long.start()]
    x, state = windows(1, n_times=10), long.start()
    for _ in range(3):
        before = [each.clone() for each in state]
        _, after = long.step(x, state)
        assert [each.shape for each in after] == [each.shape for each in before]
        assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True))
        state = after


def test_a_masked_channel_is_left_out_with_the_samples_held_before() -> None:
    model, x = transformer(hold=5), windows(1)
    x[0, 3, 60:] = torch.nan
    zeroed = x.clone()
    zeroed[0, 3, 55:] = 0.0  # the unfitted scaler's mean
    assert torch.isfinite(model(x)).all()
    assert torch.equal(model(x), model(zeroed))


def test_with_variance_it_tells_means_and_then_log_variances() -> None:
    model = transformer(variance=True)
    assert (transformer().gaussian, model.gaussian) == (False, True)
    with torch.no_grad():
        model.head.weight[2:] *= 1e4
    out = model(windows())
    assert out.shape == (3, 4)
    assert 0.9 * LARGEST < out[:, 2:].abs().max() <= LARGEST


def test_in_training_whole_channels_are_dropped() -> None:
    model = transformer(feature_dropout=0.5, n_features=40).train()
    seen: list[Tensor] = []
    model.embed.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    model(torch.ones(4, 40, N_TIMES))
    dropped = (seen[0] == 0).all(dim=-1)
    assert torch.equal(dropped, (seen[0] == 0).any(dim=-1))
    assert 0.3 < dropped.float().mean() < 0.7


def test_a_patch_shorter_than_a_sample_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"0\.25 s holds no sample\. 2 Hz.*Lengthen"):
        PatchTransformerConfig().shortest(2.0)


@pytest.mark.parametrize(
    "values",
    [{"width": 0}, {"width": 10, "heads": 4}, {"span": 1}, {"layers": 0}, {"patch": 0.0},
     {"dropout": 1.0}, {"length": 0}],
)  # fmt: skip
def test_a_senseless_setting_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        PatchTransformerConfig.model_validate(values)
