"""The whole volume behind the regions: of the same pass, and on its grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rtfeedback.models import VolumeLowRank
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32
from tests.lab import checkpoint_spec, save_model
from tests.volume_lab import GRID, N_VOXELS, save_volume_model, volume_spec


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    return save_volume_model(tmp_path / "model", volume_spec())


def windows(predictor: Predictor, n: int = 6) -> Float32:
    rng = np.random.default_rng(2)
    return rng.normal(-11, 0.5, (n, *predictor.shape)).astype(np.float32)


def model_of(predictor: Predictor) -> VolumeNetwork:
    model = predictor.checkpoint.model
    assert isinstance(model, VolumeNetwork)
    return model


def test_it_is_the_models_own_volume_and_nothing_outside_the_mask(predictor: Predictor) -> None:
    model = model_of(predictor)
    for window in windows(predictor):
        predictor(window)
        volume = predictor.volume()
        with torch.inference_mode():
            voxels = model.raw(model.volume(torch.from_numpy(window)[None]))
            laid = model.on_grid(voxels)[0].numpy()
        assert volume is not None
        assert (volume.shape, volume.dtype.str) == (GRID, "<f4")
        inside = np.zeros(np.prod(GRID), dtype=bool)
        inside[model.voxels.numpy()] = True
        assert inside.sum() == N_VOXELS
        assert np.array_equal(np.isnan(volume), ~inside.reshape(GRID))
        assert np.array_equal(volume[~np.isnan(volume)], laid[inside.reshape(GRID)])


def test_regions_have_the_same_bits_whether_or_not_the_volume_is_asked_for(
    predictor: Predictor, tmp_path: Path
) -> None:
    other = Predictor.load(tmp_path / "model", "cpu")
    for window in windows(predictor):
        told = predictor(window)
        predictor.volume()
        assert told == predictor(window) == other(window)
        with torch.inference_mode():
            z = model_of(other)(torch.from_numpy(window)[None])[0]
        assert [roi.z for roi in told.values()] == z.tolist()


def test_one_pass_gives_both(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    passes, courses = [], VolumeLowRank.courses

    def counted(self: VolumeLowRank, x: torch.Tensor) -> torch.Tensor:
        passes.append(len(x))
        return courses(self, x)

    monkeypatch.setattr(VolumeLowRank, "courses", counted)
    for window in windows(predictor, 3):
        predictor(window)
        predictor.volume()
        predictor.volume()
    assert passes == [1, 1, 1]


def test_a_volume_that_was_taken_is_not_changed_by_the_next(predictor: Predictor) -> None:
    first, second = windows(predictor, 2)
    predictor(first)
    taken = predictor.volume()
    assert taken is not None
    before = taken.copy()
    predictor(second)
    other = predictor.volume()
    assert np.array_equal(taken, before, equal_nan=True)
    assert other is not None
    assert not np.array_equal(other, taken, equal_nan=True)


def test_regions_are_sums_of_the_voxels_that_are_told(predictor: Predictor) -> None:
    model = model_of(predictor)
    weights = (model.regions / model.sd).double().numpy()
    (window,) = windows(predictor, 1)
    told, volume = predictor(window), predictor.volume()
    assert volume is not None
    voxels = volume.reshape(-1)[model.voxels.numpy()].astype(np.float64)
    centre = weights @ model.mean.double().numpy()
    read = weights @ voxels - centre + model.offset.double().numpy()
    assert [roi.z for roi in told.values()] == pytest.approx(read.tolist(), abs=1e-5)


def test_a_model_of_regions_has_no_volume(tmp_path: Path) -> None:
    ridge = save_model(tmp_path / "ridge", checkpoint_spec())
    ridge.warm_up()
    assert ridge.volume() is None
    assert ridge.inference.voxels() is None


def test_there_is_no_volume_before_a_window(predictor: Predictor) -> None:
    assert predictor.volume() is None
    predictor.warm_up()
    assert predictor.volume() is not None
