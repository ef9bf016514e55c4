"""Monte-Carlo dropout: passes are torch's own dropout with given masks, and always the same."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from bench.stepping import made
from rtfeedback.errors import ConfigError
from rtfeedback.models import (
    AnyModelConfig,
    EEGNet,
    EEGNetConfig,
    ModelConfig,
    PatchTransformerConfig,
    RidgeConfig,
    Shape,
    TCNConfig,
    VolumeNetwork,
)
from rtfeedback.models.ensemble import Ensemble
from rtfeedback.models.layers.classes import Levels
from rtfeedback.models.layers.fixed_dropout import DROPOUTS, FixedDropout
from rtfeedback.models.layers.transformer_layers import Attention
from rtfeedback.models.monte_carlo import MonteCarlo, network_of
from rtfeedback.models.volume import VolumeSpec

PASSES = 5
ROOT = Path(__file__).parents[2]
EYE = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
VOLUME = VolumeSpec(grid=(3, 4, 5), affine=EYE, n_voxels=40, unit="percent signal change")
DENSE = {"embedding": 6, "hidden": [8]}
PATCHES = {"width": 8, "layers": 2, "heads": 2, "hidden": 8, "span": 4}
ENCODER = {"name": "tcn", "blocks": 3, "width": 8}
ATTENDING = {"name": "channel-transformer", "width": 8, "heads": 2, "layers": 2}
ZOO: dict[str, dict[str, Any]] = {
    "eegnet": {"name": "eegnet"},
    "levels": {"name": "eegnet", "head": "levels"},
    "conditions": {"name": "eegnet", "head": "conditions"},
    "tcn": {**ENCODER},
    "tcn with a variance": {**ENCODER, "variance": True},
    "patches": {"name": "patch-transformer", **PATCHES},
    "fc": {"name": "fc", **DENSE},
    "siamese-fc": {"name": "siamese-fc", **DENSE},
    "cnn": {"name": "cnn", **DENSE, "convolution": {"filters": 4}, "refinements": 1},
    "slices": {**ATTENDING, "decoding": "parallel"},
    "slices one by one": {**ATTENDING, "decoding": "autoregressive"},
    "channels": {**ATTENDING, "decoding": "dense"},
    "calhas": {"name": "calhas", "tr": 1.0, "columns": 4, "latent": 12},
    "volume-lowrank": {"name": "volume-lowrank", "components": 3, "encoder": ENCODER},
}
each_model = pytest.mark.parametrize("name", ZOO)


def config_of(name: str) -> AnyModelConfig:
    adapter: TypeAdapter[AnyModelConfig] = TypeAdapter(ModelConfig)
    return adapter.validate_python(ZOO[name])


def shape_of(config: AnyModelConfig) -> Shape:
    """Return five channels of eight seconds, and two targets."""
    volume = VOLUME if config.of_volumes else None
    if config.chain == "tokens":
        return Shape(15, 64, 2, 4.0, n_bands=3, volume=volume)
    return Shape(5, 1016, 2, 62.5, volume=volume)


def plain(config: AnyModelConfig, seed: int = 0) -> nn.Module:
    """Return a network that says something, though nothing was trained."""
    model = made(config, shape_of(config), seed).eval()
    torch.manual_seed(seed)
    for parameter in model.parameters():
        if not parameter.any():  # a head that training begins at 0
            nn.init.normal_(parameter, std=0.1)
    return model


def thinned(network: nn.Module, config: AnyModelConfig, passes: int = PASSES) -> MonteCarlo:
    shape = shape_of(config)
    size = (shape.n_features, shape.n_times)
    return MonteCarlo(copy.deepcopy(network), size, passes, seed=3).eval()


def windows(config: AnyModelConfig, n: int = 1, seed: int = 1) -> Tensor:
    shape = shape_of(config)
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, shape.n_features, shape.n_times, generator=random)


def layers(model: MonteCarlo) -> dict[str, FixedDropout]:
    named = model.network.named_modules()
    return {name: each for name, each in named if isinstance(each, FixedDropout)}


# ------------------------------------------------------- torch's own dropout, masks given


class Given:
    """Torch's own layers in training mode, which take a pass's masks and draw none."""

    def __init__(self, model: MonteCarlo, i: int) -> None:
        self._masks = {
            name: iter([mask[i] > 0 for mask in layer.buffers()])
            for name, layer in layers(model).items()
        }
        self._name = ""

    def called(self, name: str) -> Callable[..., None]:
        def note(*_: object) -> None:
            self._name = name

        return note

    def dropout(self, x: Tensor, p: float, training: bool, inplace: bool = False) -> Tensor:
        return x * next(self._masks[self._name]) / (1 - p) if training else x

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, *, dropout_p: float, is_causal: bool
    ) -> Tensor:
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return self.dropout(weights, dropout_p, training=dropout_p > 0) @ v

    def used_up(self) -> bool:
        return all(next(each, None) is None for each in self._masks.values())


def reference(network: nn.Module, model: MonteCarlo, x: Tensor, i: int) -> Tensor:
    """Return what a network says in a pass, by torch's dropout in its training mode."""
    given, network = Given(model, i), copy.deepcopy(network)
    for name, layer in network.named_modules():
        if isinstance(layer, DROPOUTS):
            layer.training = True
            layer.register_forward_pre_hook(given.called(name))
        elif isinstance(layer, Attention):
            layer.training = True
            layer.register_forward_pre_hook(given.called(f"{name}.dropout"))
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(nn.functional, "dropout", given.dropout)
        patch.setattr(nn.functional, "dropout1d", given.dropout)
        patch.setattr(nn.functional, "scaled_dot_product_attention", given.attend)
        told: Tensor = network(x)
    assert given.used_up()
    return told


def by_hand(told: Tensor, gaussian: bool) -> tuple[Tensor, Tensor]:
    """Return mean and sd of passes (n_passes, n_outputs), as the paper has them."""
    told, stated = told.double(), torch.zeros(())
    if gaussian:
        told, log_variances = told.chunk(2, dim=-1)
        stated = log_variances.exp().mean(dim=0)
    return told.mean(dim=0), (told.var(dim=0, unbiased=False) + stated).sqrt()


@each_model
def test_its_passes_are_torchs_dropout_in_training_mode_with_the_same_masks(name: str) -> None:
    config = config_of(name)
    network, x = plain(config), windows(config)
    model = thinned(network, config)
    told = torch.cat([reference(network, model, x, i) for i in range(PASSES)])
    assert len(torch.unique(told, dim=0)) == PASSES
    mean, sd = by_hand(told, gaussian=bool(getattr(network, "gaussian", False)))
    with torch.inference_mode():
        found, log_variance = model(x).double().chunk(2, dim=-1)
    torch.testing.assert_close(found[0], mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close((0.5 * log_variance[0]).exp(), sd, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", DROPOUTS)
def test_a_mask_does_to_numbers_what_torchs_layer_does(kind: type[nn.Dropout]) -> None:
    torch.manual_seed(2)
    layer, x = kind(0.3), torch.randn(1, 50, 7)
    dropped = layer(x)
    fixed = FixedDropout(layer)
    fixed.shapes.append(tuple(x.shape))
    fixed.draw(1, 0, "", x.device)
    (mask,) = fixed.buffers()
    assert torch.equal(torch.unique(mask), torch.unique(layer(torch.ones(1, 500, 7))))
    mask.copy_((dropped != 0).float()[:, None, :, : mask.shape[-1]] / (1 - layer.p))
    with fixed.on():
        assert torch.equal(fixed(x), dropped)


@each_model
def test_every_dropout_of_the_zoo_is_of_a_kind_that_takes_part(name: str) -> None:
    network = plain(config_of(name))
    dropping = {type(m) for m in network.modules() if "Dropout" in type(m).__name__}
    assert dropping
    assert dropping <= set(DROPOUTS)


# ------------------------------------------------------------------------ always the same


@each_model
def test_the_same_window_gets_the_same_bits_whatever_came_before_it(name: str) -> None:
    config = config_of(name)
    network = plain(config)
    one, other = thinned(network, config), thinned(network, config)
    x = windows(config, 3)
    with torch.inference_mode():
        first = one(x[:1])
        one(x[1:2])
        torch.rand(5)
        again = one(x[:1])
        assert torch.equal(first, again)
        assert torch.equal(first, other(x[:1]))
        assert torch.equal(one(x), torch.cat([other(each[None]) for each in x]))


def test_a_pass_that_failed_changes_nothing() -> None:
    config = config_of("tcn")
    model = thinned(plain(config), config)
    x = windows(config)
    with torch.inference_mode():
        first = model(x)
        broken = nn.Module()
        head, model.network.head = model.network.head, broken
        with pytest.raises(NotImplementedError):
            model(x)
        model.network.head = head
        assert torch.equal(model(x), first)


PROCESS = """
import torch
from rtfeedback.models import Shape, TCNConfig
from rtfeedback.models.monte_carlo import MonteCarlo
torch.rand(7)
model = MonteCarlo(TCNConfig().build(Shape(15, 64, 2, 4.0, n_bands=3)), (15, 64), 5, seed=3)
masks = [each for name, each in model.named_buffers() if "mask" in name]
print(b"".join(each.numpy().tobytes() for each in masks).hex())
"""


def test_another_process_draws_the_same_masks() -> None:
    config = TCNConfig()
    here = thinned(config.build(shape_of(config)), config)
    masks = [each for name, each in here.named_buffers() if "mask" in name]
    assert len(masks) == 6
    there = subprocess.run(
        [sys.executable, "-c", PROCESS],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "5"},
    ).stdout
    assert bytes.fromhex(there) == b"".join(each.numpy().tobytes() for each in masks)


def test_no_version_of_numpy_draws_other_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are of the bits that numpy keeps, and of no `Generator`, which may change."""
    monkeypatch.setattr(np.random, "default_rng", lambda *_: pytest.fail("a Generator"))
    layer = FixedDropout(nn.Dropout(0.4))
    layer.shapes.append((1, 7))
    layer.draw(3, 11, "blocks.0.dropout", torch.device("cpu"))
    (mask,) = layer.buffers()
    assert (mask > 0).int().flatten(1).tolist() == [
        [1, 1, 1, 0, 1, 0, 1],
        [1, 0, 1, 1, 0, 1, 0],
        [0, 1, 1, 1, 0, 1, 0],
    ]


# ---------------------------------------------------------------------------------- masks


def masks_of(model: MonteCarlo) -> dict[str, list[Tensor]]:
    return {name: list(each.buffers()) for name, each in layers(model).items()}


def test_masks_keep_what_they_should_within_binomial_bounds() -> None:
    config = PatchTransformerConfig(dropout=0.3, feature_dropout=0.6)
    model = thinned(plain(config), config, passes=20)
    for name, masks in masks_of(model).items():
        p = 0.6 if "feature" in name else 0.3
        for mask in masks:
            n, kept = mask.numel(), int((mask > 0).sum())
            assert abs(kept - n * (1 - p)) < 5 * np.sqrt(n * p * (1 - p))
            assert torch.all((mask == 0) | (mask == torch.tensor(1.0) / (1 - p)))


def test_each_pass_place_and_call_has_masks_of_its_own() -> None:
    config = config_of("patches")
    masks = masks_of(thinned(plain(config), config))
    attention, dense = masks["layers.0.dropout"]  # one layer, called twice
    assert attention.shape == dense.shape
    assert not torch.equal(attention, dense)
    other = masks["layers.1.dropout"][0]  # of fewer patches: the newest are compared
    assert not torch.equal(attention[:, :, -other.shape[2] :], other)
    every = [each.flatten(1) for mask in masks.values() for each in mask]
    assert all(len(torch.unique(rows, dim=0)) == PASSES for rows in every)


def test_a_dropout_that_stands_in_two_places_drops_in_both() -> None:
    shared = nn.Dropout(0.5)
    network = nn.Sequential(nn.Conv1d(3, 4, 1), shared, nn.ReLU(), shared)
    model = MonteCarlo(network, (3, 6), PASSES, 0)
    assert masks_of(model).keys() == {"1", "3"}
    assert not torch.equal(*(masks[0] for masks in masks_of(model).values()))


def test_a_feature_is_dropped_from_the_whole_window() -> None:
    config = config_of("tcn")
    (mask,) = masks_of(thinned(plain(config), config))["feature_dropout"]
    assert mask.shape == (PASSES, 1, 15, 1)


def test_masks_of_few_passes_are_the_first_of_more_and_hang_on_the_seed() -> None:
    config = config_of("eegnet")
    network, size = plain(config), (5, 1016)
    few, more = (masks_of(thinned(network, config, passes=n)) for n in (3, 7))
    other = masks_of(MonteCarlo(copy.deepcopy(network), size, 3, seed=4))
    for name, masks in few.items():
        for mask, longer, changed in zip(masks, more[name], other[name], strict=True):
            assert torch.equal(mask, longer[:3])
            assert not torch.equal(mask, changed)


def test_weights_are_the_networks_and_masks_are_none_of_them() -> None:
    config = config_of("slices")
    network = plain(config)
    model = thinned(network, config)
    assert model.network.state_dict().keys() == network.state_dict().keys()
    assert all("mask" not in name for name in model.state_dict())


@each_model
def test_by_itself_the_network_answers_as_before(name: str) -> None:
    config = config_of(name)
    network, x = plain(config), windows(config, 2)
    alone = network_of(thinned(network, config))
    assert network_of(network) is network
    with torch.inference_mode():
        torch.testing.assert_close(alone(x), network(x), rtol=1e-5, atol=1e-6)


# --------------------------------------------------------------------------- what is told


def sd_of(model: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        log_variance: Tensor = model(x).chunk(2, dim=-1)[1]
        return (0.5 * log_variance).exp()


def test_the_sd_grows_with_the_dropout() -> None:
    x = windows(config_of("eegnet"), 8)
    sds = []
    for dropout in (1e-9, 0.05, 0.2, 0.5):
        config = EEGNetConfig(dropout=dropout)
        sds.append(float(sd_of(thinned(plain(config), config, passes=40), x).mean()))
    assert sds[0] == 0
    assert sds[1] < 0.7 * sds[2] < 0.4 * sds[3]


def test_volumes_are_the_passes_mean_and_regions_are_read_off_each() -> None:
    config = config_of("fc")
    network, x = plain(config), windows(config)
    assert isinstance(network, VolumeNetwork)
    network.regions.normal_()
    model = thinned(network, config)
    volumes = copy.deepcopy(network)
    volumes.register_buffer("regions", torch.eye(VOLUME.n_voxels))
    volumes.register_buffer("offset", torch.zeros(VOLUME.n_voxels))
    each = torch.cat([reference(volumes, model, x, i) for i in range(PASSES)])
    with torch.inference_mode():
        z, voxels = model.whole(x)
    assert voxels is not None
    torch.testing.assert_close(voxels[0], each.mean(dim=0), rtol=1e-4, atol=1e-5)
    mean, sd = by_hand(network.of_volume(each), gaussian=False)
    torch.testing.assert_close(z[0, :2].double(), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sd_of(model, x)[0].double(), sd, rtol=1e-3, atol=1e-6)


def test_probabilities_of_classes_are_the_passes_mean_and_so_is_what_they_come_to() -> None:
    config = config_of("levels")
    model, x = thinned(plain(config), config), windows(config, 2)
    network = network_of(model)
    assert isinstance(network, EEGNet)
    assert isinstance(network.classes, Levels)
    with torch.inference_mode():
        likely = model.mean_of(network.probabilities, x)
        expected = (likely * network.classes.values).sum(dim=-1)
        torch.testing.assert_close(model(x)[:, :2], expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(likely, network.probabilities(x), atol=1e-4)


def test_an_ensembles_members_are_thinned_each_in_its_own_way() -> None:
    config = config_of("tcn")
    members = [plain(config, seed) for seed in (1, 2)]
    ensemble, x = Ensemble(members), windows(config)
    model = thinned(ensemble, config)
    masks = [each for name, each in masks_of(model).items() if name.endswith(".dropout")]
    assert len(masks) == 2
    assert not torch.equal(masks[0][0], masks[1][0])
    told = torch.stack([
        torch.cat([reference(each, _member(model, k), x, i) for k, each in enumerate(members)])
        for i in range(PASSES)
    ])  # fmt: skip
    mean, sd = by_hand(told.flatten(0, 1), gaussian=False)  # of all members' passes alike
    torch.testing.assert_close(model(x)[0, :2].double(), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sd_of(model, x)[0].double(), sd, rtol=1e-3, atol=1e-6)


def _member(model: MonteCarlo, k: int) -> MonteCarlo:
    alone = copy.copy(model)
    ensemble = model.network
    assert isinstance(ensemble, Ensemble)
    alone._modules = {"network": ensemble.members[k]}
    return alone


# ----------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    "config", [RidgeConfig(), EEGNetConfig(dropout=0), TCNConfig(dropout=0, feature_dropout=0)]
)
def test_a_model_without_dropout_is_refused(config: AnyModelConfig) -> None:
    shape = shape_of(config)
    network = config.build(shape)
    with pytest.raises(ConfigError, match="would all be the same"):
        MonteCarlo(network, (shape.n_features, shape.n_times), PASSES, 0)


def test_masks_that_are_too_large_are_refused_before_they_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = EEGNetConfig()
    with torch.device("meta"):
        network = config.build(Shape(5, 10**7, 2, 62.5))
    monkeypatch.setattr(FixedDropout, "draw", lambda *_: pytest.fail("masks were drawn"))
    with pytest.raises(ConfigError, match="too large") as caught:
        MonteCarlo(network, (5, 10**7), 256, 0)
    assert "GiB" in str(caught.value)
