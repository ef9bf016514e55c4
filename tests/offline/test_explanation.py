"""What explanations are made of: views, contributions, shares, attention, patterns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from offline.explanation.attention import ChannelAttention, LagAttention, attention_of
from offline.explanation.figures import attention_figure, share_figure
from offline.explanation.filters import LinearWeights, SpatialFilters, filters_of
from offline.explanation.gradients import Contributions, unmasked
from offline.explanation.pairs import pairs_of, windows_of
from offline.explanation.shares import Shares
from offline.explanation.topography import Head
from offline.explanation.views import SampleView, View, view_of
from offline.store.dataset import Store
from rtfeedback.chain import ChainConfig, ChainSpec
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.checkpoint import CheckpointSpec, Target, Training, load_checkpoint
from rtfeedback.config import parse_config
from rtfeedback.errors import DatasetError
from rtfeedback.models import EEGNet, PatchTransformer, Ridge, VolumeLowRank, VolumeNetwork
from rtfeedback.models.layers.classes import Levels
from rtfeedback.models.patch_transformer import Layer
from rtfeedback.models.volume import VolumeSpec
from rtfeedback.windows import WindowSpec

CHANNELS = ("F3", "F4", "C3", "C4", "O1")
EYE = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
VOLUME = VolumeSpec(grid=(3, 4, 5), affine=EYE, n_voxels=40, unit="none")
OF_VOLUMES = ("fc", "siamese-fc", "cnn", "channel-transformer", "calhas", "volume-lowrank")
DENSE = {"embedding": 6, "hidden": [8]}
PATCHES = {"width": 8, "layers": 2, "heads": 2, "hidden": 8, "span": 4}
TOKENS = WindowSpec(length=8.0, lead=1.0)
ZOO: dict[str, dict[str, Any]] = {
    "ridge": {"name": "ridge"},
    "eegnet": {"name": "eegnet"},
    "levels": {"name": "eegnet", "head": "levels"},
    "tcn": {"name": "tcn", "blocks": 3, "width": 8, "variance": True},
    "patches": {"name": "patch-transformer", **PATCHES},
    "patches of tokens": {"name": "patch-transformer", "chain": "tokens", **PATCHES},
    "fc": {"name": "fc", **DENSE},
    "siamese-fc": {"name": "siamese-fc", **DENSE},
    "cnn": {"name": "cnn", **DENSE, "convolution": {"filters": 4}, "refinements": 1},
    "slices": {"name": "channel-transformer", "width": 8, "heads": 2, "layers": 2},
    "channels": {
        "name": "channel-transformer",
        "decoding": "dense",
        "width": 8,
        "heads": 2,
        "layers": 1,
    },
    "calhas": {"name": "calhas", "tr": 1.0, "columns": 4, "latent": 12},
    "volume-lowrank": {
        "name": "volume-lowrank",
        "components": 3,
        "encoder": {"name": "tcn", "blocks": 3, "width": 8},
    },
}


def chain(*, tokens: bool) -> ChainSpec:
    config = ChainConfig(
        artefacts=None, max_rate=50.0, band=(1.0, 20.0), notch=(),
        band_power=BandPowerConfig(bands=((4, 8), (8, 13), (13, 20))) if tokens else None,
    )  # fmt: skip
    return ChainSpec(config=config, channels=CHANNELS, sfreq=50.0)


def made_up(name: str) -> tuple[CheckpointSpec, nn.Module]:
    """Return a model of two targets, untrained, and its spec."""
    model = {"length": 8.0, "lead": 1.0, "chain": "samples", **ZOO[name]}
    if model["name"] in ("ridge", "tcn", "volume-lowrank"):
        model["chain"] = "tokens"
    spec = parse_config(
        {
            "model": model,
            "chain": chain(tokens=model["chain"] == "tokens").model_dump(),
            "window": TOKENS.model_dump(),
            "volume": VOLUME.model_dump() if model["name"] in OF_VOLUMES else None,
            "targets": [
                Target(name=name, unit="1", mean=0, sd=1).model_dump() for name in "ab"
            ],
            "tr": 1.0,
            "environment": "scanner",
            "training": Training(
                store="", subjects=(), train=(), validation=(), test=(), seed=0
            ).model_dump(),
        },
        CheckpointSpec,
        source="test",
    )
    torch.manual_seed(0)
    built = spec.build().eval()
    if isinstance(built, VolumeNetwork):
        built.voxels.copy_(torch.arange(VOLUME.n_voxels))
        built.regions.normal_()
    for parameter in built.parameters():
        if not parameter.any():  # a head that training begins at 0
            nn.init.normal_(parameter, std=0.1)
    if isinstance(built, VolumeLowRank):
        built.basis.normal_()
    if isinstance(built, EEGNet) and isinstance(built.classes, Levels):
        built.classes.set(np.array([[-0.5, 0.5]] * 2), np.array([[-1.0, 0.0, 1.0]] * 2))
    return spec, built


def windows(spec: CheckpointSpec, n: int) -> torch.Tensor:
    shape = (n, spec.chain.n_features, spec.window.n_times(spec.chain.rate))
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ZOO)
def test_contributions_of_every_model_add_up_to_the_difference(name: str) -> None:
    spec, model = made_up(name)
    view = view_of(spec.chain, spec.window)
    for target in (0, 1):
        contributions = Contributions(model, view, target)
        more, less = windows(spec, 2)
        found = contributions(more, less)
        assert found.shape == (len(CHANNELS), len(view.bands), len(view.lags))
        with torch.inference_mode():
            z = model(torch.stack([more, less]))[:, target]
        size = float(found.abs().sum())
        assert float(found.sum()) == pytest.approx(float(z[0] - z[1]), abs=0.04 * size)
        assert size > 0


@pytest.mark.parametrize(("n_times", "rate"), [(400, 50.0), (77, 85.33), (31, 50.0), (1, 4.0)])
def test_parts_of_samples_make_the_window_again(n_times: int, rate: float) -> None:
    view = SampleView(n_times, rate, lead=0.0)
    x = torch.randn(2, 3, n_times)
    parts = view.analyse(x)
    assert parts.shape == (2, 3, len(view.bands), len(view.lags), 2)
    torch.testing.assert_close(view.synthesise(parts), x, atol=1e-5, rtol=0)
    assert (view.bands[0][0], view.lags[-1]) == (0.0, 0.0)
    assert all(a[1] == b[0] for a, b in zip(view.bands, view.bands[1:], strict=False))


def test_a_burst_is_seen_at_its_frequency_and_lag() -> None:
    view = SampleView(500, 50.0, lead=1.5)
    t = np.arange(500) / 50.0
    burst = np.sin(2 * np.pi * 12.0 * t) * (np.abs(t - 6.0) < 0.5)
    level = view.level(view.analyse(torch.tensor(burst, dtype=torch.float32)[None, None]))[0, 0]
    band, lag = np.unravel_index(int(level.argmax()), level.shape)
    assert view.bands[band] == pytest.approx((11.5, 12.5))
    assert view.lags[lag] == pytest.approx(4.0 + 1.5, abs=0.26)  # of a window of 10 s


def test_parts_of_tokens_are_its_features_and_their_middles_are_half_a_token_ago() -> None:
    spec = chain(tokens=True)
    view = view_of(spec, TOKENS)
    x = torch.arange(15 * 32.0).reshape(1, 15, 32)
    parts = view.analyse(x)
    assert torch.equal(parts[0, 3, 2], x[0, 3 * 3 + 2])
    assert torch.equal(view.synthesise(parts), x)
    assert view.lags[[0, -1]].tolist() == [31 / 4 + 0.5 + 1.0, 0.5 + 1.0]


def test_what_is_masked_is_filled_so_that_predictions_stay(ridge: Path, store: Store) -> None:
    model = load_checkpoint(ridge).model
    x = torch.from_numpy(windows_of(load_checkpoint(ridge).spec, store, "train").gather(
        np.arange(3)))  # fmt: skip
    x[1, 5, 20] = torch.nan
    x[2, :, :7] = torch.nan
    filled = unmasked(model, x)
    assert not filled.isnan().any()
    torch.testing.assert_close(model(filled), model(x))
    assert torch.equal(filled[0], unmasked(model, x[:1])[0])


def test_shares_tell_what_matters_from_what_is_there() -> None:
    rng = np.random.default_rng(0)
    shares = Shares((1, 3, 1))
    for _ in range(400):
        change = rng.standard_normal((1, 3, 1))
        parts = change * np.array([2.0, -1.0, 0.0])[None, :, None]
        shares.add(parts, float(parts.sum()), change)
    np.testing.assert_allclose(shares.share()[0, :, 0], [0.8, 0.2, 0.0], atol=0.05)
    assert shares.share().sum() == pytest.approx(1.0)
    np.testing.assert_allclose(shares.direction(), [[1.0, -1.0, 0.0]])
    assert shares.unexplained() == pytest.approx(0.0)
    shares.add(np.zeros((1, 3, 1)), 100.0, np.zeros((1, 3, 1)))
    assert shares.unexplained() > 0.9


def test_pairs_are_of_one_run_each_and_none_comes_twice(ridge: Path, store: Store) -> None:
    examples = windows_of(load_checkpoint(ridge).spec, store, "train")
    assert len(examples.runs) == 2
    pairs = pairs_of(examples, 50)
    assert len(pairs) == 50
    assert (examples.run[pairs.first] == examples.run[pairs.second]).all()
    assert (pairs.first != pairs.second).all()
    both = np.sort(np.stack([pairs.first, pairs.second], 1), axis=1)
    assert len(np.unique(both, axis=0)) == 50
    assert set(examples.run[pairs.windows]) == {0, 1}
    assert np.array_equal(pairs_of(examples, 50).first, pairs.first)


def test_where_runs_are_cut_the_windows_are_those_of_the_part(
    ridge: Path, store: Store
) -> None:
    spec = load_checkpoint(ridge).spec
    run = spec.training.train[0]
    cut = {"train": {run: (20, 21)}, "validation": {run: (10, 11, 12)}, "test": {run: (30,)}}
    update = {"train": (run,), "validation": (run,), "test": (run,), "volumes": cut}
    training = spec.training.model_copy(update=update)
    spec = spec.model_copy(update={"training": training})
    assert windows_of(spec, store, "validation").volumes.tolist() == [10, 11, 12]
    assert windows_of(spec, store, "train").volumes.tolist() == [20, 21]
    cut["validation"] = {run: (10,)}
    with pytest.raises(DatasetError, match="No two windows"):
        pairs_of(windows_of(spec, store, "validation"), 5)
    cut["validation"] = {run: ()}
    with pytest.raises(DatasetError, match="no validation part"):
        windows_of(spec, store, "validation")


@pytest.mark.parametrize(
    ("name", "by", "shape"),
    [("slices", "slices", (2, 3, 5)), ("channels", "channels", (1, 5, 5)),
     ("calhas", "channels", (1, 5, 5))],
)  # fmt: skip
def test_attention_to_channels_is_a_mean_that_sums_to_one(
    name: str, by: str, shape: tuple[int, ...]
) -> None:
    spec, model = made_up(name)
    x = windows(spec, 4)
    found = attention_of(model, spec, [x[:3], x[3:]])
    assert isinstance(found, ChannelAttention)
    assert (found.by, found.weights.shape) == (by, shape)
    np.testing.assert_allclose(found.weights.sum(-1), 1.0, rtol=1e-5)
    whole = attention_of(model, spec, [x])
    assert isinstance(whole, ChannelAttention)
    np.testing.assert_allclose(found.weights, whole.weights, rtol=1e-5)
    np.testing.assert_allclose(found.given, found.weights.mean(1))


def test_attention_to_a_lag_is_found_at_that_lag() -> None:
    spec, model = made_up("patches")
    assert isinstance(model, PatchTransformer)
    with torch.no_grad():
        for layer in model.layers:
            assert isinstance(layer, Layer)
            layer.by_lag.fill_(-20.0)
            layer.by_lag[:, 1] = 20.0
    found = attention_of(model, spec, [windows(spec, 2)])
    assert isinstance(found, LagAttention)
    stride = 0.24  # s: 12 samples of 50 Hz are what fits into 0.25 s
    np.testing.assert_allclose(found.ago, [3 * stride, 2 * stride, stride, 0.0], atol=1e-9)
    np.testing.assert_allclose(found.weights[..., 1], 1.0, atol=1e-6)
    # Of 7 patches, half is the newest's own, by both layers; a quarter is 4 patches ago.
    np.testing.assert_allclose(found.rolled, [0, 0, 0.25, 0, 0.5, 0, 0.25], atol=1e-6)
    middle = 5.5 / 50.0 + spec.window.lead
    assert found.lags[-1] == pytest.approx(middle)


def test_models_without_attention_or_filters_have_none() -> None:
    spec, model = made_up("tcn")
    assert attention_of(model, spec, [windows(spec, 1)]) is None
    assert filters_of(model, spec, 0, [windows(spec, 1)]) is None


def test_a_filter_that_cancels_noise_has_the_pattern_of_its_source() -> None:
    spec, model = made_up("eegnet")
    assert isinstance(model, EEGNet)
    rng = np.random.default_rng(3)
    pattern, noise = np.array([0.0, 0.0, 0.2, 1.0, 0.4]), np.array([1.0, 1.0, 1.0, 0.9, 0.2])
    source, shared = rng.standard_normal((2, 40, 1, 400))
    own = 0.05 * rng.standard_normal((40, 5, 400))
    eeg = (pattern[:, None] * source + 3 * noise[:, None] * shared + own) * 1e-6
    covariance = np.cov(eeg.transpose(1, 0, 2).reshape(5, -1) * 1e6)
    weights = np.linalg.solve(covariance, pattern)
    with torch.no_grad():
        model.scaler.sd.fill_(1e-6)
        model.spatial.weight[0, :, 0] = torch.from_numpy(weights)
        model.temporal.weight[0] = 0.0
        model.temporal.weight[0, 0, 4] = 3.0  # passes all alike, three times as large
    batches = torch.tensor(eeg, dtype=torch.float32).split(16)  # type: ignore[no-untyped-call]
    found = filters_of(model, spec, 0, batches)
    assert isinstance(found, SpatialFilters)
    np.testing.assert_allclose(found.patterns[0], pattern, atol=0.1)  # of a source of 1 uV
    assert np.abs(weights / weights.max() - pattern).max() > 0.2  # they are another map
    np.testing.assert_allclose(found.spectra[0], 1.0, atol=1e-5)
    assert found.kernel == (*[0] * 2, *[1] * 2, *[2] * 2, *[3] * 2, *[4] * 2, *[5] * 2,
                            *[6] * 2, *[7] * 2)  # fmt: skip
    assert found.frequencies[-1] == 25.0


def test_the_pattern_of_a_linear_model_is_how_features_go_with_its_prediction() -> None:
    spec, model = made_up("ridge")
    assert isinstance(model, Ridge)
    x = windows(spec, 30)
    found = filters_of(model, spec, 1, [x[:7], x[7:]])
    assert isinstance(found, LinearWeights)
    assert found.weights.shape == found.pattern.shape == (5, 3, 32)
    with torch.inference_mode():
        z = model(x)[:, 1].numpy()
    expected = np.corrcoef(x[:, 2 * 3 + 1, 9].numpy(), z)[0, 1]
    assert found.pattern[2, 1, 9] == pytest.approx(expected, abs=1e-5)
    weight = model.linear.weight[1].detach().reshape(5, 3, 32)[2, 1, 9]
    assert found.weights[2, 1, 9] == pytest.approx(float(weight))


@pytest.mark.parametrize("channels", [CHANNELS, ("E1", "E2", "E3", "C4", "E5")])
def test_pictures_are_drawn_wherever_channels_are(
    tmp_path: Path, channels: tuple[str, ...]
) -> None:
    head = Head(channels)
    assert head.drawable == (channels == CHANNELS)
    assert head.unknown == [name for name in channels if name.startswith("E")]
    rng = np.random.default_rng(0)
    bands = ((4.0, 8.0), (8.0, 13.0), (10.0, 20.0))  # two that overlap
    share = rng.standard_normal((5, 3, 6))
    note = "A note."
    share_figure(tmp_path / "a.png", share, head, bands, np.arange(6.0)[::-1], "A title", note)
    attention = ChannelAttention("slices", rng.dirichlet(np.ones(5), (2, 7)))
    attention_figure(tmp_path / "b.png", attention, head, "A title")
    lags = np.arange(9.0)[::-1]
    by_lag = LagAttention(lags[-4:], rng.dirichlet(np.ones(4), (2, 3)), lags, lags / 36)
    attention_figure(tmp_path / "c.png", by_lag, head, "A title")
    for name in "abc":
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_view_has_as_many_lags_as_parts() -> None:
    for tokens in (False, True):
        spec = chain(tokens=tokens)
        view: View = view_of(spec, TOKENS)
        x = torch.zeros(1, spec.n_features, TOKENS.n_times(spec.rate))
        level = view.level(view.analyse(x))
        assert level.shape == (1, len(CHANNELS), len(view.bands), len(view.lags))
        assert (np.diff(view.lags) < 0).all()
