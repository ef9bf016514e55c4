"""What every model of the zoo owes alike; what is its own stands in a file of its own."""

from __future__ import annotations

import copy
import re
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor, nn

from rtfeedback.errors import ConfigError
from rtfeedback.models import AnyModelConfig, Network, Shape, VolumeNetwork
from rtfeedback.models.layers.scaler import FeatureScaler
from tests.models.zoo import FORMS, Form, answer

BENCH_ONLY = {"mean-power"}
CONFIGS = {
    config.model_fields["name"].default: config
    for config in get_args(AnyModelConfig)
    if config.model_fields["name"].default not in BENCH_ONLY
}
TRAINED = {name: form for name, form in FORMS.items() if name != "ridge"}  # by a gradient

each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
each_trained = pytest.mark.parametrize("form", TRAINED.values(), ids=TRAINED)
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def network(form: Form, seed: int = 0, **changes: Any) -> Network:
    model = form.model(seed, **changes)
    assert isinstance(model, Network)
    return model.train()


def test_every_architecture_is_among_the_forms() -> None:
    assert {form.settings["name"] for form in FORMS.values()} == CONFIGS.keys()


@each_form
def test_a_window_gives_the_same_bits_each_time_and_those_of_its_batch_nearly(
    form: Form,
) -> None:
    model, x = form.model(), form.windows(4)
    x[1, 2, -20:] = torch.nan
    given = x.clone()
    with torch.inference_mode():
        together = answer(model, x)
        for window, expected in zip(x, together, strict=True):
            alone = answer(model, window[None])
            assert torch.equal(alone, answer(model, window[None].clone()))
            assert torch.allclose(alone[0], expected, rtol=0, atol=1e-5)
    assert torch.equal(x.nan_to_num(7.0), given.nan_to_num(7.0))  # it is left as it was


@each_form
def test_what_is_masked_is_at_its_mean(form: Form) -> None:
    model, x = form.model(), form.windows()
    x[0, 2], x[1, :, -20:] = torch.nan, torch.nan
    zeroed = x.nan_to_num(0.0)  # the unfitted scaler's mean
    assert torch.equal(answer(model, x), answer(model, zeroed))
    assert torch.isfinite(answer(model, torch.full_like(x, torch.nan))).all()


@each_form
def test_it_knows_no_unit_once_the_scaler_is_fitted(form: Form) -> None:
    rng, n = np.random.default_rng(3), form.n_features
    mean, sd = rng.normal(0, 1, n), rng.uniform(0.5, 2, n)
    plain, scaled, x = form.model(), form.model(), form.windows()
    assert isinstance(scaled.scaler, FeatureScaler)
    scaled.scaler.fit(mean, sd)
    moved = x * torch.from_numpy(sd).float()[:, None] + torch.from_numpy(mean).float()[:, None]
    assert torch.allclose(answer(plain, x), answer(scaled, moved), atol=1e-4)


@each_form
def test_a_target_is_a_z_and_a_region_is_of_the_volume(form: Form) -> None:
    model, x = form.model(), form.windows()
    z = model(x)
    assert (z.shape, z.dtype) == ((3, 2), torch.float32)
    assert torch.isfinite(z).all()
    if isinstance(model, VolumeNetwork):
        assert torch.equal(z, model.of_volume(model.volume(x)))


@each_trained
def test_a_seed_is_its_weights(form: Form) -> None:
    weights, again, other = (dict(form.model(seed).named_parameters()) for seed in (1, 1, 2))
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not all(torch.equal(weights[name], other[name]) for name in weights)


@each_form
def test_it_is_copied_and_stored_whole(form: Form) -> None:
    model, other, x = form.model(), form.model(seed=1), form.windows()
    for weights in model.parameters():  # a ridge's are 0 until they are fitted
        nn.init.normal_(weights, std=0.1)
    assert not torch.equal(answer(model, x), answer(other, x))
    other.load_state_dict(load(save(model.state_dict())))
    for same in (other, copy.deepcopy(model)):
        assert torch.equal(answer(same, x), answer(model, x))
        assert torch.equal(same(x), model(x))


@each_trained
def test_a_gradient_reaches_every_parameter(form: Form) -> None:
    model = network(form)
    torch.manual_seed(0)
    model.loss(form.windows(8), form.outcomes(8), F.mse_loss).backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if not re.search(form.spare, name):
            assert parameter.grad.abs().max() > 1e-7, name


@each_trained
def test_it_learns_16_windows_by_heart(form: Form) -> None:
    model, x, y = network(form, **still(form.config)), form.windows(16), form.outcomes(16)
    optimiser = torch.optim.Adam(model.parameters(), form.learning_rate)
    before = judged(model, x, y)
    for _ in range(form.steps):
        loss = model.train().loss(x, y, F.mse_loss)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        model.constrain()
    assert judged(model, x, y) < 0.1 * before


@torch.inference_mode()
def judged(model: Network, x: Tensor, y: Tensor) -> float:
    """Return the loss of what a model predicts, which is told nothing of what was measured."""
    return float(model.loss_of(model.eval().outcome(x), y, F.mse_loss))


def still(config: Any) -> dict[str, Any]:
    """Return settings by which a model, and what it encodes by, drops nothing."""
    changes: dict[str, Any] = {n: 0.0 for n in type(config).model_fields if "dropout" in n}
    if encoder := getattr(config, "encoder", None):
        changes["encoder"] = encoder.model_copy(update=still(encoder))
    return changes


@each_config
def test_the_default_window_is_long_enough(config: Any) -> None:
    default = config()
    for rate in (
        (4.0,)
        if "power" in default.chain
        else (125.0, 40.0, 62.5, 250 / 3, 85.3, 100.0, 1000.0)
    ):
        assert default.shortest(rate) <= round(default.length * rate)


@each_config
def test_whole_volumes_are_predicted_only_where_there_are_some(config: Any) -> None:
    if not config.of_volumes:
        return
    default = config()
    shape = Shape(5, round(default.length * 125.0), 1, 125.0)
    with pytest.raises(ConfigError, match=rf"'{default.name}' predicts whole.*\[volumes\]"):
        default.build(shape)
