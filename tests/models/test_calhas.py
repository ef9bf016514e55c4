from __future__ import annotations

import copy
import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from scipy.fft import dctn, idctn
from scipy.stats import zscore
from torch import Tensor, nn

from rtfeedback.errors import ConfigError
from rtfeedback.models.architecture import Shape
from rtfeedback.models.calhas import EEG, FMRI, Calhas, CalhasConfig
from rtfeedback.models.layers.dct import Stretch, stretching
from rtfeedback.models.layers.fourier_features import OctaveFeatures, RandomFourierFeatures
from rtfeedback.models.layers.latent_decoder import Dense
from rtfeedback.models.layers.residual_encoder import Block, ResidualBlock, Stack
from rtfeedback.models.layers.spectra import Spectra
from rtfeedback.models.layers.topographical_attention import TopographicalAttention, neglect
from rtfeedback.models.volume import VolumeSpec

RECIPE = Path(__file__).parents[2] / "configs/train-calhas.toml"
AFFINE = (
    (2.0, 0.0, 0.0, 0.0),
    (0.0, 2.0, 0.0, 0.0),
    (0.0, 0.0, 2.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)
GRID, N_VOXELS = (6, 7, 5), 90
SMALL = {"tr": 1.0, "columns": 4, "length": 4.0, "latent": 12}


def spec(grid: tuple[int, int, int] = GRID, n_voxels: int = N_VOXELS) -> VolumeSpec:
    return VolumeSpec(grid=grid, affine=AFFINE, n_voxels=n_voxels, unit="percent signal change")


def calhas(
    *,
    n_channels: int = 5,
    rate: float = 50.0,
    n_times: int | None = None,
    n_targets: int = 2,
    hold: int = 0,
    seed: int = 0,
    **config: Any,
) -> Calhas:
    torch.manual_seed(seed)
    settings = CalhasConfig.model_validate({**SMALL, **config})
    n_times = n_times or settings.shortest(rate)
    model = settings.build(Shape(n_channels, n_times, n_targets, rate, hold, volume=spec()))
    rng = np.random.default_rng(1)
    voxels = np.sort(rng.choice(np.prod(GRID), N_VOXELS, replace=False))
    model.set_volume(voxels, rng.normal(5, 1, N_VOXELS), rng.uniform(0.5, 2, N_VOXELS))
    weights = rng.uniform(0, 1, (n_targets, N_VOXELS))
    model.set_regions(weights, np.ones(n_targets), np.ones(n_targets))
    return model.eval()


def windows(n: int = 3, n_channels: int = 5, n_times: int = 200, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, 1, (n, n_channels, n_times)).astype(np.float32))


def volumes(n: int = 3) -> Tensor:
    rng = np.random.default_rng(5)
    return torch.from_numpy(rng.normal(0, 1, (n, N_VOXELS)).astype(np.float32))


def numbers(*modules: nn.Module | None) -> int:
    """Return how many numbers modules hold, trained or not, without torch's own counters."""
    assert None not in modules
    state = [module.state_dict() for module in modules if module is not None]
    return sum(v.numel() for each in state for k, v in each.items() if "tracked" not in k)


# ------------------------------------------------------------------------------- the whole


def test_its_docstring_counts_its_parameters() -> None:
    shape = Shape(64, 5400, 1, 250.0, volume=spec((64, 64, 30), 122880))
    model = CalhasConfig().build(shape)
    stated = re.search(
        r"([\d ]+) parameters are trained, ([\d ]+) of them of the fMRI's encoder\. With what "
        r"is not trained \(.*\), the EEG's encoder has ([\d ]+) numbers, the path from EEG to "
        r"volume ([\d ]+), the fMRI's encoder ([\d ]+):",
        " ".join((Calhas.__doc__ or "").split()),
    )
    assert stated is not None
    encoder = numbers(model.attention, model.eeg_encoder)
    assert [int(number.replace(" ", "")) for number in stated.groups()] == [
        sum(p.numel() for p in model.parameters()),
        sum(p.numel() for p in model.fmri_encoder.parameters()),
        encoder,
        encoder + numbers(model.features, model.style, model.decoder),
        numbers(model.fmri_encoder),
    ]


@pytest.mark.parametrize(
    ("n_channels", "rate", "tr", "n_targets"),
    [(2, 85.33, 2.0, 1), (16, 125.0, 1.28, 3), (33, 250.0, 2.16, 2), (5, 40.0, 0.7, 1)],
)
def test_windows_give_a_volume_and_its_regions(
    n_channels: int, rate: float, tr: float, n_targets: int
) -> None:
    model = calhas(n_channels=n_channels, rate=rate, tr=tr, n_targets=n_targets)
    x = windows(2, n_channels, model.config.shortest(rate))
    voxels, z = model.volume(x), model(x)
    assert (voxels.shape, z.shape) == ((2, N_VOXELS), (2, n_targets))
    assert voxels.dtype == z.dtype == torch.float32
    assert torch.isfinite(voxels).all()
    assert torch.allclose(z, model.of_volume(voxels))


def test_masked_channels_make_no_nan() -> None:
    model, x = calhas(hold=3), windows(3)
    x[0, 2] = torch.nan
    x[1, :, 50:120] = torch.nan
    x[2] = torch.nan
    z = model(x)
    assert torch.isfinite(z).all()
    zeroed = x[:1].clone()
    zeroed[0, 2] = 0.0  # the unfitted scaler's mean
    assert torch.equal(model(x[:1]), model(zeroed))


def test_amplitudes_have_neither_sign_nor_offset() -> None:
    model, x = calhas().double(), windows().double()
    offsets = torch.arange(5.0).double()[:, None]
    assert torch.allclose(model(x), model(-x), rtol=0, atol=1e-9)
    assert torch.allclose(model(x), model(x + offsets), rtol=0, atol=1e-9)


def test_a_silent_window_has_a_gradient_too() -> None:
    x = torch.zeros(1, 5, 200, requires_grad=True)
    calhas()(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_it_sees_its_columns_and_no_further() -> None:
    model = calhas(n_times=230, n_targets=1)
    x = windows(1, n_times=230).requires_grad_()
    model(x).sum().backward()
    assert x.grad is not None
    assert (x.grad[0].abs().sum(dim=0) > 0).tolist() == [False] * 30 + [True] * 200


def test_the_measured_volume_is_needed_in_training_only() -> None:
    model = calhas()
    before = model(windows())
    del model.fmri_encoder
    assert torch.equal(model(windows()), before)


def test_the_loss_is_the_recipes_and_each_windows_cosine() -> None:
    model, x, y = calhas(agreement=0.5).requires_grad_(False), windows(4), volumes(4)
    code, _ = model.encode(x)
    measured = model.fmri_encoder(model.on_grid(y))
    norms = code.norm(dim=1) * measured.norm(dim=1)
    cosines = [float(code[i] @ measured[i] / norms[i]) for i in range(4)]
    expected = float(F.l1_loss(model.volume(x), y)) + 0.5 * (1 - np.mean(cosines))
    assert float(model.loss(x, y, F.l1_loss)) == pytest.approx(expected, abs=1e-5)


def test_without_agreement_the_loss_is_the_recipes() -> None:
    model, x, y = calhas(agreement=0.0), windows(4), volumes(4)
    assert torch.equal(model.loss(x, y, F.mse_loss), F.mse_loss(model.volume(x), y))


def test_what_is_neglected_costs() -> None:
    x, y = windows(4), volumes(4)
    plain, costly = calhas().requires_grad_(False), calhas(neglect=2.0).requires_grad_(False)
    _, weights = plain.encode(x)
    assert weights is not None
    more = float(costly.loss(x, y, F.l1_loss) - plain.loss(x, y, F.l1_loss))
    assert more == pytest.approx(2 * float(neglect(weights)), rel=1e-4)


def test_it_is_bound_to_its_tr() -> None:
    assert CalhasConfig(tr=1.28).bound_to_tr == 1.28


def test_the_recipe_states_every_key() -> None:
    values = tomllib.loads(RECIPE.read_text("utf-8"))["model"]
    config = CalhasConfig.model_validate(values)
    assert values.keys() == CalhasConfig.model_fields.keys()
    assert values["eeg"].keys() == values["fmri"].keys() == Stack.model_fields.keys()
    assert (config.eeg, config.fmri) == (EEG, FMRI)
    for rate in (80.0, 85.33, 100.0, 125.0):
        assert round(config.length * rate) >= config.shortest(rate)


@pytest.mark.parametrize(
    ("config", "shape", "match"),
    [
        ({}, Shape(5, 200, 1, 50.0), "predicts whole volumes"),
        ({}, Shape(6, 200, 1, 50.0, n_bands=3, volume=spec()), "3 bands of each channel"),
        ({"highest": 0.5}, Shape(5, 200, 1, 50.0, volume=spec()), "model.highest 0.5 Hz"),
        ({}, Shape(1, 200, 1, 50.0, volume=spec()), "A single channel has no z"),
        (
            {"decoder": "dct", "resolution": [6, 8, 5]},
            Shape(5, 200, 1, 50.0, volume=spec()),
            r"\[6, 8, 5\] against \[6, 7, 5\]",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    config: dict[str, Any], shape: Shape, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        CalhasConfig.model_validate({**SMALL, **config}).build(shape)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"tr": 0.0}, "greater than 0"),
        ({"attention": False}, "style is 'prior' or 'none'"),
        ({"eeg": {**EEG.model_dump(), "strides": [[1, 1, 1]]}}, "as many kernels as strides"),
        ({"eeg": {**EEG.model_dump(), "pool": [2, 2, 9]}}, "take more than"),
        ({"dropout": 1.0}, "less than 1"),
    ],
)
def test_a_senseless_setting_is_refused(values: dict[str, Any], match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        CalhasConfig.model_validate(values)


# -------------------------------------------------------------------------------- spectra


def spectra(n_times: int, rate: float, tr: float, **settings: Any) -> Spectra:
    settings = {"columns": 3, "bins": 8, "over": "channels", **settings}
    return Spectra(4, n_times, rate=rate, tr=tr, **settings)


def test_spectra_are_numpys_amplitudes_standardised_as_scipy_does() -> None:
    x = windows(2, 4, 75).double()
    columns = x.numpy()[..., 15:].reshape(2, 4, 3, 20)
    amplitude = np.abs(np.fft.fft(columns))[..., 1:9].swapaxes(2, 3)
    made = spectra(75, 20.0, 1.0)(x)
    assert made.shape == (2, 4, 8, 3)
    np.testing.assert_allclose(made, zscore(amplitude, axis=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tr", [1.0, 1.28, 0.73])
def test_columns_of_any_tr_neither_overlap_nor_leave_more_than_a_sample(tr: float) -> None:
    made = spectra(200, 33.3, tr, columns=5)
    starts = [end - made.samples for end in made.ends]
    assert made.ends[-1] == 200
    between = {b - a for a, b in zip(made.ends[:-1], starts[1:], strict=True)}
    assert between <= {0, 1}
    assert made.samples == int(33.3 * tr)


def test_an_oscillation_shows_in_its_channel_bin_and_column() -> None:
    x = windows(1, 4, 60) * 0.01
    x[0, 2, 20:40] += torch.sin(torch.arange(20) / 20 * 2 * torch.pi * 5)
    made = spectra(60, 20.0, 1.0)(x)[0]
    assert np.unravel_index(int(made.argmax()), made.shape)[0] == 2
    assert made[2, 4, 1] > 1.5 > made[2, 4, [0, 2]].max()


def test_over_the_training_part_an_amplitude_keeps_what_it_is_by() -> None:
    made, x = spectra(60, 20.0, 1.0, over="training"), windows(300, 4, 60) * 3
    for part in x.chunk(3):
        made(part)
    made.eval()
    standard = made(x)
    assert torch.allclose(standard.mean(dim=(0, 3)), torch.zeros(4, 8), atol=1e-3)
    assert torch.allclose(standard.std(dim=(0, 3)), torch.ones(4, 8), atol=0.05)
    assert made(2 * x).mean() > 1
    assert spectra(60, 20.0, 1.0)(2 * x).mean().abs() < 1e-3


# ------------------------------------------------------------------------------ attention


def test_each_channel_is_a_mean_of_all() -> None:
    attention, x = TopographicalAttention(5, 12), windows(3, 5, 12)
    attended, weights = attention(x.reshape(3, 5, 4, 3))
    assert (attended.shape, weights.shape) == ((3, 5, 4, 3), (3, 5, 5))
    assert (weights > 0).all()
    assert torch.allclose(weights.sum(dim=2), torch.ones(3, 5))
    assert torch.allclose(attended.reshape(3, 5, 12), weights @ x, atol=1e-6)


def test_attention_knows_channels_by_their_patterns_alone() -> None:
    attention, x = TopographicalAttention(5, 12).double(), windows(2, 5, 12).double()
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = copy.deepcopy(attention)
    with torch.no_grad():
        moved.patterns.copy_(attention.patterns[order])
    attended, weights = attention(x)
    same, moved_weights = moved(x[:, order])
    assert torch.allclose(same, attended[:, order], atol=1e-12)
    assert torch.allclose(moved_weights, weights[:, order][:, :, order], atol=1e-12)


def test_neglect_is_least_where_each_channel_is_attended_to_alike() -> None:
    even, one = torch.full((2, 4, 4), 0.25), torch.eye(4)[[0, 0, 0, 0]].expand(2, 4, 4)
    assert float(neglect(even)) == pytest.approx(0)
    assert float(neglect(one)) > 10
    assert torch.isfinite(neglect(one))


# -------------------------------------------------------------------------------- encoder


def test_on_the_stated_shape_kernels_are_the_stated_ones() -> None:
    for stack, left in ((EEG, (6, 6, 8)), (FMRI, (7, 7, 7))):
        blocks = stack.on(stack.stated_for)
        assert tuple(block.kernel for block in blocks) == stack.kernels
        assert tuple(block.stride for block in blocks) == stack.strides
        assert {block.pool for block in blocks} == {stack.pool}
        assert blocks[-1].left == left


@pytest.mark.parametrize("stack", [EEG, FMRI])
def test_a_stack_goes_on_any_shape(stack: Stack) -> None:
    sizes = (1, 2, 3, 5, 16, 31, 64, 91, 128, 256)
    for shape in itertools.product(sizes, sizes, (1, 4, 10, 30, 73)):
        size = shape
        for block in stack.on(shape):
            for i in range(3):
                positions = (size[i] - block.kernel[i]) // block.stride[i] + 1
                assert 1 <= block.kernel[i] <= size[i]
                assert block.left[i] == positions - block.pool[i] + 1 >= 1
            size = block.left
        assert max(size) <= 16


def test_a_montage_and_a_grid_of_another_size_leave_about_as_many_positions() -> None:
    assert EEG.on((63, 80, 10))[-1].left == (5, 6, 8)
    assert EEG.on((16, 134, 10))[-1].left == (4, 6, 8)
    assert FMRI.on((53, 63, 46))[-1].left == (6, 7, 5)
    assert FMRI.on((91, 109, 91))[-1].left == (6, 6, 7)


def test_both_paths_at_once_are_the_two_that_the_source_has() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(2, 3, Block((3, 2, 2), (2, 1, 1), (2, 2, 1), (3, 5, 4))).double()
    block.eval()
    x = torch.randn(2, 2, 9, 7, 5).double()
    for norm in (block.norm, block.left_norm):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
        norm.running_mean = torch.randn(norm.num_features).double()

    def path(maps: slice) -> Tensor:
        weight, bias = block.both.weight[maps], block.both.bias
        assert bias is not None
        pooled = F.max_pool3d(F.conv3d(x, weight, bias[maps], (2, 1, 1)), (2, 2, 1), stride=1)
        norm = block.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        means, variances = norm.running_mean[maps], norm.running_var[maps]
        return F.batch_norm(pooled, means, variances, norm.weight[maps], norm.bias[maps])

    left = F.relu(block.left_norm(block.left(F.relu(path(slice(0, 3))))))
    expected = F.relu(left + path(slice(3, 6)))
    assert expected.shape == (2, 3, 3, 5, 4)
    assert torch.allclose(block(x), expected, rtol=0, atol=1e-12)


# -------------------------------------------------------------------------------- decoder


def test_random_features_are_drawn_once() -> None:
    torch.manual_seed(3)
    features = RandomFourierFeatures(8)
    assert {name for name, _ in features.named_parameters()} == {
        "scale",
        "norm.weight",
        "norm.bias",
    }
    code = torch.randn(50, 8)
    projected = code @ features.kernel / features.scale + features.phase
    spread = F.layer_norm(projected, (8,)) * torch.pi / 2 + torch.pi / 2
    assert torch.allclose(features(code), torch.cos(spread), atol=1e-5)
    assert features.scale.item() == 2.0


def test_the_scale_of_random_features_stays_above_zero() -> None:
    model = calhas()
    assert isinstance(model.features, RandomFourierFeatures)
    with torch.no_grad():
        model.features.scale.fill_(-1.0)
    model.constrain()
    assert model.features.scale.item() > 0


def test_octaves_go_from_half_a_turn_to_a_whole_one() -> None:
    features = OctaveFeatures(4)
    made = features(torch.ones(1, 4))[0]
    turns = torch.tensor([1.0, 2**0.25, 2**0.5, 2**0.75])
    assert torch.allclose(made, torch.cos(torch.pi * turns), atol=1e-6)


@pytest.mark.parametrize(("kind", "differs"), [("attention", True), ("prior", False)])
def test_a_style_multiplies_the_features(kind: str, differs: bool) -> None:
    style = calhas(style=kind).style
    features, weights = windows(2, 3, 12)[:, 0], torch.softmax(windows(2, 5, 5), dim=-1)
    factor = style(torch.ones(2, 12), weights)
    assert torch.allclose(style(features, weights), features * factor)
    assert torch.equal(factor[0], factor[1]) != differs


def test_the_convolution_of_one_voxel_is_a_gain_and_an_offset() -> None:
    torch.manual_seed(0)
    dense, features = Dense(6, 24), torch.randn(3, 6)
    with torch.no_grad():
        dense.bias.normal_()
        dense.gain.fill_(1.7)
        dense.offset.fill_(-0.3)
        laid = (features @ dense.weight + dense.bias).reshape(3, 1, 2, 3, 4)
        expected = F.conv3d(laid, dense.gain.reshape(1, 1, 1, 1, 1), dense.offset)
        assert torch.allclose(dense(features), expected.flatten(1), atol=1e-6)


def test_a_stretched_volume_is_scipys() -> None:
    low = np.random.default_rng(2).normal(0, 1, (3, 2, 4))
    padded = np.zeros(GRID)
    padded[:3, :2, :4] = dctn(low, norm="ortho")
    expected = idctn(padded, norm="ortho") * np.sqrt(np.prod(GRID) / low.size)
    made = Stretch((3, 2, 4), GRID)(torch.from_numpy(low).float().flatten()[None])[0]
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_what_is_constant_or_not_stretched_stays_what_it_is() -> None:
    assert torch.allclose(stretching(3, 11) @ torch.ones(3), torch.ones(11), atol=1e-6)
    assert torch.allclose(stretching(7, 7), torch.eye(7), atol=1e-6)


def test_volumes_of_low_resolution_hold_no_higher_frequency() -> None:
    model = calhas(decoder="dct", resolution=[3, 2, 4], seed=4)
    volume = model.decoder(torch.randn(2, 12)).detach().numpy()
    spectrum = dctn(volume, axes=(1, 2, 3), norm="ortho")
    assert np.abs(spectrum[:, :3, :2, :4]).max() > 0.1
    spectrum[:, :3, :2, :4] = 0
    assert np.abs(spectrum).max() < 1e-5
    whole = model.of_grid(model.decoder(torch.zeros(1, 12)))
    assert whole.shape == (1, N_VOXELS)
