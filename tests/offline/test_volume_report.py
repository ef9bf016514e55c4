"""What whole volumes are worth: every number against its definition, on real parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from offline.evaluate import (
    FIGURE,
    PARTIAL_R_MAP,
    R_MAP,
    REPORT,
    VOLUMES,
    evaluate,
    print_report,
)
from offline.evaluation.metrics import partial_correlation
from offline.evaluation.similarity import Similarity
from offline.store.dataset import Store, window_at
from offline.train import TrainConfig, train
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float64

MODEL = {
    "name": "volume-lowrank",
    "length": 8.0,
    "components": 4,
    "encoder": {"name": "tcn", "blocks": 3},
}
Parts = tuple[Predictor, Store, dict[str, Any], Path]


@pytest.fixture(scope="module")
def parts(volumes: Store, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Return a briefly trained model of volumes, its store, its report and that's folder."""
    out = tmp_path_factory.mktemp("card")
    recipe = TrainConfig.model_validate({"model": MODEL, "fit": {"epochs": 2}})
    train(volumes, out / "model", recipe)
    predictor = Predictor.load(out / "model", "cpu")
    return predictor, volumes, evaluate(predictor, volumes, out / "card"), out / "card"


@pytest.fixture(scope="module")
def pairs(parts: Parts) -> tuple[Float64, Float64]:
    """Return what is predicted and measured of each held-out volume, (n_volumes, n_voxels)."""
    predictor, store, report, _ = parts
    model, (told,) = predictor.checkpoint.model, report["runs"]
    assert isinstance(model, VolumeNetwork)
    run = store.runs[told["name"]]
    features = run.features(predictor.spec.model.chain)
    examples = run.examples(predictor.spec.model.chain, predictor.spec.window)
    predicted = []
    for end in examples.ends[np.isin(examples.volumes, told["volumes"])]:
        predictor(window_at(features, int(end), predictor.shape[1]))
        volume = predictor.volume()
        assert volume is not None
        predicted.append(volume.reshape(-1)[model.voxels.numpy()])
    measured = np.array(run.voxels[told["volumes"]], np.float64)
    return np.array(predicted, np.float64), measured


def scores(parts: Parts) -> dict[str, Any]:
    found: dict[str, Any] = parts[2]["whole_volumes"]
    return found


def training_mean(parts: Parts) -> Float64:
    model = parts[0].checkpoint.model
    assert isinstance(model, VolumeNetwork)
    return model.mean.double().numpy()


def test_errors_and_skill_are_what_they_are_called(
    parts: Parts, pairs: tuple[Float64, Float64]
) -> None:
    predicted, measured = pairs
    images = {
        "predicted": predicted,
        "training_mean": training_mean(parts),
        "subject_mean": measured.mean(axis=0),
    }
    mse = {name: np.mean((image - measured) ** 2) for name, image in images.items()}
    told = scores(parts)
    assert told["n_volumes"] == len(measured)
    for name, value in mse.items():
        assert told["rmse"][name] == pytest.approx(np.sqrt(value))
    for name in ("predicted", "subject_mean"):
        assert told["skill"][name] == pytest.approx(1 - mse[name] / mse["training_mean"])
    assert told["skill"]["subject_mean"] >= 0  # it has read what it is judged by
    assert told["reads_fmri"] == ["subject_mean"]
    assert {k: v for k, v in told["runs"][0].items() if k != "name"} == {
        k: told[k] for k in ("n_volumes", "rmse", "ssim", "skill", "skill_over_best")
    }


def held_out_design(parts: Parts) -> Float64:
    _, store, report, _ = parts
    (told,) = report["runs"]
    return np.array(store.runs[told["name"]].design[told["volumes"]])


def test_what_the_task_alone_says_of_each_voxel_stands_beside(
    parts: Parts, pairs: tuple[Float64, Float64], capsys: pytest.CaptureFixture[str]
) -> None:
    """It knows no EEG, and may be better than the mean image, or worse: the better counts."""
    predictor, store, _, _ = parts
    predicted, measured = pairs
    training = [store.runs[name] for name in predictor.spec.training.train]
    rows = [np.flatnonzero(np.isfinite(run.targets[:, 0])) for run in training]
    x = np.concatenate([run.design[r] for run, r in zip(training, rows, strict=True)])
    y = np.concatenate([run.voxels[r] for run, r in zip(training, rows, strict=True)])
    weights = np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), y, rcond=None)[0]
    design = held_out_design(parts)
    image = np.column_stack([np.ones(len(design)), design]) @ weights
    told, error = scores(parts), np.mean((image - measured) ** 2)
    assert told["rmse"]["task"] == pytest.approx(np.sqrt(error))
    least = min(error, np.mean((training_mean(parts) - measured) ** 2))
    expected = 1 - np.mean((predicted - measured) ** 2) / least
    assert told["skill_over_best"] == pytest.approx(expected)
    assert told["skill_over_best"] <= told["skill"]["predicted"]
    assert "task" not in told["reads_fmri"]
    print_report(parts[2])
    said = capsys.readouterr().out
    assert "task's design alone (no EEG)" in said
    assert f"Skill over the best image that takes no EEG: {expected:.3f}." in said


def test_a_partial_r_is_what_the_design_leaves_of_both(
    parts: Parts, pairs: tuple[Float64, Float64]
) -> None:
    predicted, measured = pairs
    design, model = held_out_design(parts), parts[0].checkpoint.model
    assert isinstance(model, VolumeNetwork)
    expected = np.array(
        [
            partial_correlation(m, p, design)
            for p, m in zip(predicted.T, measured.T, strict=True)
        ]
    )
    told = scores(parts)["partial_r_over_time"]
    kept = nibabel.load(parts[3] / PARTIAL_R_MAP).get_fdata().reshape(-1)[model.voxels.numpy()]
    assert kept == pytest.approx(expected, abs=1e-4)
    assert told["median"] == pytest.approx(np.median(expected), abs=1e-4)
    plain = scores(parts)["r_over_time"]
    assert told["median"] != pytest.approx(plain["median"], abs=1e-3)


def test_the_index_is_by_the_range_of_a_typical_volume(parts: Parts) -> None:
    """Not by the two voxels of all that are furthest apart, which make any two alike."""
    predictor, store, _, _ = parts
    training = [store.runs[name] for name in predictor.spec.training.train]
    volumes = np.concatenate(
        [run.voxels[np.isfinite(run.targets[:, 0])] for run in training]
    ).astype(np.float64)
    ranges = np.ptp(np.percentile(volumes, (0.1, 99.9), axis=1), axis=0)
    assert scores(parts)["ssim_range"] == pytest.approx(np.median(ranges), rel=1e-3)
    assert scores(parts)["ssim_range"] < 0.8 * np.ptp(volumes)


def test_r_is_over_time_about_the_runs_means(
    parts: Parts, pairs: tuple[Float64, Float64]
) -> None:
    predicted, measured = pairs
    expected = [np.corrcoef(p, m)[0, 1] for p, m in zip(predicted.T, measured.T, strict=True)]
    told, model = scores(parts)["r_over_time"], parts[0].checkpoint.model
    assert isinstance(model, VolumeNetwork)
    laid = nibabel.load(parts[3] / R_MAP)
    assert np.array_equal(laid.affine, model.spec.affine)
    drawn = laid.get_fdata().reshape(-1)
    kept = drawn[model.voxels.numpy()]
    assert kept == pytest.approx(np.array(expected), abs=1e-4)
    assert np.count_nonzero(drawn) <= len(kept)
    assert told["median"] == pytest.approx(np.median(expected), abs=1e-4)
    assert told["highest"] == pytest.approx(max(expected), abs=1e-4)
    assert told["share_above_0"] == pytest.approx(np.mean(np.array(expected) > 0), abs=0.01)


def test_pictures_and_numbers_are_in_the_folder_and_said(
    parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = parts[3]
    files = [FIGURE, REPORT, R_MAP, PARTIAL_R_MAP, VOLUMES]
    assert sorted(p.name for p in folder.iterdir()) == sorted(files)
    assert (folder / VOLUMES).read_bytes().startswith(b"\x89PNG")
    written = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    assert written["whole_volumes"] == scores(parts)
    print_report(parts[2])
    said = capsys.readouterr().out
    assert "subject's mean image (reads fMRI)" in said
    assert "Each voxel's r over time, each run's mean taken out" in said
    assert "It includes the task." in said


def test_it_is_the_same_whenever_it_is_made(parts: Parts, tmp_path: Path) -> None:
    predictor, store, report, folder = parts
    again = evaluate(predictor, store, tmp_path / "again")
    assert again["whole_volumes"] == report["whole_volumes"]
    assert again["test_reads"] == report["test_reads"] + 1
    assert (tmp_path / "again" / VOLUMES).read_bytes() == (folder / VOLUMES).read_bytes()


def test_a_model_of_regions_has_no_such_scores(
    ridge: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = evaluate(Predictor.load(ridge, "cpu"), store, tmp_path / "card")
    assert report["whole_volumes"] is None
    assert not (tmp_path / "card" / VOLUMES).exists()
    print_report(report)
    assert "Whole volumes" not in capsys.readouterr().out


# ------------------------------------------------------------------ likeness


def ball(n: int = 16) -> Any:
    x, y, z = np.indices((n, n, n)) - (n - 1) / 2
    return x**2 + y**2 + z**2 < (n / 2.5) ** 2


def test_a_volume_is_like_itself_and_less_so_the_more_noise_there_is() -> None:
    mask, rng = ball(), np.random.default_rng(0)
    volume, noise = rng.normal(0, 1, (2, mask.sum()))
    similar = Similarity(mask, 6.0)
    assert similar(volume, volume) == pytest.approx(1.0)
    found = [similar(volume + size * noise, volume) for size in (0.0, 0.5, 1.0, 2.0, 4.0)]
    assert found == sorted(found, reverse=True)
    assert similar(noise, volume) == pytest.approx(0.0, abs=0.15)
    assert similar(volume, noise) == pytest.approx(similar(noise, volume))


def test_what_lies_outside_the_mask_weighs_nothing() -> None:
    mask, rng = ball(), np.random.default_rng(1)
    flat = np.full(int(mask.sum()), 3.0)
    assert Similarity(mask, 6.0)(flat, flat + 1e-6) == pytest.approx(1.0, abs=1e-6)
    a, b = rng.normal(0, 1, (2, mask.sum()))
    padded = np.pad(mask, ((7, 0), (2, 9), (0, 5)))
    assert Similarity(padded, 6.0)(a, b) == pytest.approx(Similarity(mask, 6.0)(a, b))


def test_likeness_does_not_depend_on_the_unit() -> None:
    mask, rng = ball(), np.random.default_rng(2)
    a, b = rng.normal(0, 1, (2, mask.sum()))
    assert Similarity(mask, 6e3)(1e3 * a, 1e3 * b) == pytest.approx(Similarity(mask, 6.0)(a, b))


def test_it_is_the_published_index_on_one_place() -> None:
    """Where all is the same everywhere, only the means and the constants are left."""
    mask = np.ones((9, 9, 9), dtype=bool)
    a, b, c1 = np.full(729, 2.0), np.full(729, 3.0), (0.01 * 5.0) ** 2
    expected = (2 * 2.0 * 3.0 + c1) / (2.0**2 + 3.0**2 + c1)
    assert Similarity(mask, 5.0)(a, b) == pytest.approx(expected)
