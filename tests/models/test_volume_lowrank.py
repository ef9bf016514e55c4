from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from rtfeedback.models import Shape
from rtfeedback.models.patch_transformer import PatchTransformerSettings
from rtfeedback.models.streaming import Streaming
from rtfeedback.models.volume import VolumeSpec
from rtfeedback.models.volume_lowrank import VolumeLowRank, VolumeLowRankConfig

PATCHES = {"name": "patch-transformer", "width": 8, "layers": 2, "heads": 2, "span": 4}
TCN = {"name": "tcn", "width": 8, "blocks": 2}
GRID, N_VOXELS, N_COMPONENTS = (3, 4, 5), 40, 6
AFFINE = (
    (2.0, 0.0, 0.0, 0.0),
    (0.0, 2.0, 0.0, 0.0),
    (0.0, 0.0, 2.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)
ENCODERS = pytest.mark.parametrize("encoder", [PATCHES, TCN], ids=["patches", "tcn"])


def spec(n_voxels: int = N_VOXELS) -> VolumeSpec:
    return VolumeSpec(grid=GRID, affine=AFFINE, n_voxels=n_voxels, unit="percent signal change")


def lowrank(
    encoder: dict[str, Any], *, n_targets: int = 2, hold: int = 0, seed: int = 0, **more: Any
) -> VolumeLowRank:
    """Return a small one, fitted to made-up volumes."""
    torch.manual_seed(seed)
    config = VolumeLowRankConfig.model_validate(
        {"components": N_COMPONENTS, "encoder": {**encoder, **more}}
    )
    shape = Shape(5, 100, n_targets, 40.0, hold=hold, volume=spec())
    model = config.build(shape)
    rng = np.random.default_rng(1)
    voxels = np.sort(rng.choice(60, N_VOXELS, replace=False))
    model.set_volume(voxels, rng.normal(5, 1, N_VOXELS), rng.uniform(0.5, 2, N_VOXELS))
    basis = np.linalg.qr(rng.normal(0, 1, (N_VOXELS, N_COMPONENTS)))[0].T
    model.set_components(basis, rng.uniform(1, 9, N_COMPONENTS), rng.normal(5, 1, N_VOXELS))
    model.set_regions(
        rng.uniform(0, 1, (n_targets, N_VOXELS)), np.ones(n_targets), np.ones(n_targets)
    )
    torch.nn.init.normal_(model.encoder.head.weight)  # as if it were trained
    return model.eval()


def windows(n: int = 3, n_times: int = 100) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(0, 1, (n, 5, n_times)).astype(np.float32))


def test_its_docstring_counts_its_parameters() -> None:
    text = " ".join((VolumeLowRank.__doc__ or "").split())
    stated = re.search(
        r"With (\d+) channels, (\d+) bands and the defaults: ([\d ]+) param", text
    )
    other = re.search(r"patch-transformer on samples at (\d+) Hz [^:]*: ([\d ]+) param", text)
    assert stated is not None
    assert other is not None
    channels, bands, count = (int(n.replace(" ", "")) for n in stated.groups())
    rate, with_patches = (int(n.replace(" ", "")) for n in other.groups())
    patches = VolumeLowRankConfig(encoder=PatchTransformerSettings())
    for n_voxels, n_targets in ((40, 1), (60, 3)):
        shape = Shape(channels * bands, 64, n_targets, 4.0, volume=spec(n_voxels))
        assert n_parameters(VolumeLowRankConfig().build(shape)) == count
        shape = Shape(channels, 2031, n_targets, rate, volume=spec(n_voxels))
        assert n_parameters(patches.build(shape)) == with_patches


def n_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("config", "rate"),
    [
        (VolumeLowRankConfig(), 4.0),
        (VolumeLowRankConfig(encoder=PatchTransformerSettings(), length=16.25), 125.0),
    ],
)
def test_the_default_window_holds_its_reach(config: VolumeLowRankConfig, rate: float) -> None:
    assert config.shortest(rate) <= round(config.length * rate)


@ENCODERS
@pytest.mark.parametrize("n_targets", [1, 3])
def test_windows_give_voxels_and_regions(encoder: dict[str, Any], n_targets: int) -> None:
    model = lowrank(encoder, n_targets=n_targets)
    volume = model.volume(windows())
    assert volume.shape == (3, N_VOXELS)
    assert model(windows()).shape == (3, n_targets)
    assert torch.equal(model(windows()), model.of_volume(volume))
    assert torch.isfinite(volume).all()


@ENCODERS
def test_volumes_are_the_mean_and_the_components_in_their_unit(encoder: dict[str, Any]) -> None:
    """A component's course is z: what it adds is its map times its sd."""
    model = lowrank(encoder).double()
    rng = np.random.default_rng(4)
    basis, sd = rng.normal(0, 1, (N_COMPONENTS, N_VOXELS)), rng.uniform(1, 9, N_COMPONENTS)
    mean = rng.normal(5, 1, N_VOXELS)
    model.set_components(basis, sd, mean)
    x = windows().double()
    courses = model.courses(x).detach().numpy() * sd
    assert courses.shape == (3, N_COMPONENTS)
    raw = model.raw(model.volume(x)).detach().numpy()
    np.testing.assert_allclose(raw, courses @ basis + mean, atol=1e-10)


@ENCODERS
def test_untrained_it_tells_the_mean_volume(encoder: dict[str, Any]) -> None:
    config = VolumeLowRankConfig.model_validate({"encoder": encoder})
    model = config.build(Shape(5, 100, 1, 40.0, volume=spec()))
    model.set_volume(np.arange(N_VOXELS), np.full(N_VOXELS, 5.0), np.full(N_VOXELS, 2.0))
    maps = np.random.default_rng(0).normal(0, 1, (64, N_VOXELS))
    model.set_components(maps, np.ones(64), np.full(N_VOXELS, 5.0))
    assert torch.equal(model.raw(model.volume(windows())), torch.full((3, N_VOXELS), 5.0))


@ENCODERS
def test_piece_by_piece_it_answers_as_to_whole_windows(encoder: dict[str, Any]) -> None:
    model, x = lowrank(encoder, hold=3), windows()
    assert isinstance(model, Streaming)
    x[0, 2, 61:90] = x[2, 1, 99] = torch.nan
    state = model.start(3)
    for piece in torch.split(x, model.stride, dim=-1):
        z, state = model.step(piece, state)
    assert torch.allclose(z, model(x), rtol=0, atol=1e-5)
    assert torch.allclose(model.volume(x), model.volume(x[..., -model.reach :]), atol=1e-6)


def test_fitting_its_scaler_fits_the_encoders() -> None:
    model = lowrank(PATCHES)
    model.scaler.fit(np.arange(5.0), np.ones(5))
    assert model.encoder.scaler.mean[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


@ENCODERS
def test_a_window_has_to_hold_what_the_encoder_sees(encoder: dict[str, Any]) -> None:
    config = VolumeLowRankConfig.model_validate({"encoder": encoder})
    assert config.shortest(40.0) == config.encoder.shortest(40.0) == lowrank(encoder).reach


@pytest.mark.parametrize(
    "values", [{"components": 0}, {"encoder": {"name": "ridge"}}, {"encoder": {"width": 8}}]
)
def test_a_senseless_setting_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VolumeLowRankConfig.model_validate(values)
