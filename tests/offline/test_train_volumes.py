"""Whole volumes from the command's side: every model of them is trained, saved and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offline.evaluate import evaluate
from offline.store.dataset import Store, window_at
from offline.store.examples import Examples
from offline.train import TrainConfig, train
from offline.training.outcomes import VolumeOutcomes, voxel_statistics
from rtfeedback.checkpoint import CheckpointSpec, load_checkpoint
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.models import VolumeLowRank, VolumeNetwork
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float64
from rtfeedback.windows import WindowSpec

DENSE = {"length": 8.0, "embedding": 4, "hidden": (8, 4)}
MODELS: dict[str, dict[str, Any]] = {
    "fc": DENSE,
    "siamese-fc": DENSE,
    "cnn": {
        **DENSE,
        "refinements": 2,
        "refinement_maps": 2,
        "convolution": {"filters": 4},
    },
    "channel-transformer": {
        "length": 8.0,
        "pool_to": 31.25,
        "width": 8,
        "heads": 2,
        "layers": 1,
        "feedforward": 8,
    },
    "calhas": {"length": 20.0, "tr": 2.0, "highest": 40.0, "latent": 8},
    "volume-lowrank": {"length": 8.0, "components": 4, "encoder": {"name": "tcn", "blocks": 3}},
}


def recipe(name: str, **fit: Any) -> TrainConfig:
    values = {"model": {"name": name, **MODELS[name]}, "fit": {"epochs": 1, **fit}}
    return TrainConfig.model_validate(values)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_volumes_is_trained_saved_and_judged_by_its_regions(
    volumes: Store, tmp_path: Path, name: str
) -> None:
    spec = train(volumes, tmp_path / "out", recipe(name))
    predictor = Predictor.load(tmp_path / "out", "cpu")
    model = predictor.checkpoint.model
    assert isinstance(model, VolumeNetwork)
    assert [target.name for target in spec.targets] == ["motor", "sphere", "both"]
    assert spec.volume == volumes.manifest.volume.spec  # type: ignore[union-attr]
    report = evaluate(predictor, volumes, tmp_path / "card")
    assert report["target"] == "motor"
    assert np.isfinite(report["runs"][0]["predicted"]).all()
    features = volumes.runs[spec.training.test[0]].features(spec.model.chain)
    window = window_at(features, len(features) - 5, predictor.shape[1])
    with torch.inference_mode():
        voxels = model.raw(model.volume(torch.from_numpy(window)[None]))
    weights = torch.from_numpy(np.array(volumes.shared("volumes_regions")))
    read = (voxels @ weights.T)[0].numpy()
    found = [predictor(window)[target.name].z for target in spec.targets]
    courses = training_regions(volumes, spec)
    z = (read - courses.mean(axis=0)) / courses.std(axis=0)
    assert found == pytest.approx(z.tolist(), abs=2e-3)


def training_regions(store: Store, spec: CheckpointSpec) -> Float64:
    """Return what regions of the measured volumes come to over the training windows."""
    weights = np.asarray(store.shared("volumes_regions"), np.float64)
    windows = Examples(store, spec.training.train, spec.model.chain, spec.window)
    rows = [
        run.voxels[windows.volumes[windows.run == i]].astype(np.float64)
        for i, run in enumerate(windows.runs)
    ]
    return np.asarray(np.concatenate(rows) @ weights.T)


def load_window(store: Store) -> tuple[str, WindowSpec]:
    return "samples", WindowSpec(length=8.0, slice_ref=store.manifest.slice_ref)


def test_a_volumes_regions_are_means_of_its_voxels(volumes: Store) -> None:
    weights = np.asarray(volumes.shared("volumes_regions"))
    assert weights[:2].sum(axis=1) == pytest.approx([1.0, 1.0])
    assert np.allclose(weights[2], weights[0] - weights[1])
    mask = np.asarray(volumes.shared("volumes_mask"))
    known = volumes.manifest.volume
    assert known is not None
    assert (known.spec.grid, known.spec.n_voxels) == (mask.shape, mask.sum())
    run = next(iter(volumes.runs.values()))
    assert run.voxels.shape == (run.manifest.n_volumes, mask.sum())
    r = np.corrcoef(run.voxels @ weights[1], run.targets[:, 1])[0, 1]
    assert r > 0.9  # of the same spheres, at the images' own resolution


def test_outcomes_between_volumes_are_interpolated_in_time(volumes: Store) -> None:
    names = list(volumes.runs)[:2]
    chain, window = load_window(volumes)
    examples = Examples(volumes, names, chain, window)
    mean, sd = (each.astype(np.float32) for each in voxel_statistics(examples))
    outcomes = VolumeOutcomes(examples, mean, sd)
    which = np.array([3, 4, len(examples) - 2])
    exact = outcomes.at(examples.shift(which, np.zeros(3, np.int64)))
    for row, index in zip(exact, which, strict=True):
        run = examples.runs[examples.run[index]]
        z = (run.voxels[examples.volumes[index]] - mean) / sd
        assert np.array_equal(row, z)
    half = round(examples.runs[0].manifest.tr * examples.rate / 2)
    moved = examples.shift(which[:1], np.array([half]))
    assert 0 < moved.share[0] < 1
    between = outcomes.at(moved)[0]
    assert np.allclose(
        between, (1 - moved.share[0]) * exact[0] + moved.share[0] * exact[1], atol=1e-4
    )


def test_components_are_fitted_to_the_training_part_alone(
    volumes: Store, tmp_path: Path
) -> None:
    spec = train(volumes, tmp_path / "a", recipe("volume-lowrank"))
    model = load_checkpoint(tmp_path / "a").model
    assert isinstance(model, VolumeLowRank)
    run = volumes.runs[spec.training.test[0]]
    path = run.folder / "volumes.npy"
    kept = np.array(run.voxels)
    try:
        np.save(path, 100.0 * kept)
        again = train(Store(volumes.path), tmp_path / "b", recipe("volume-lowrank"))
    finally:
        np.save(path, kept)
    assert again.weights_sha256 == spec.weights_sha256
    assert load_checkpoint(tmp_path / "b").hash == load_checkpoint(tmp_path / "a").hash


def test_a_model_that_is_bound_to_another_tr_is_refused_before_it_is_trained(
    volumes: Store, tmp_path: Path
) -> None:
    """Every run in the lab would be refused for the TR that it was trained on."""
    values = {"name": "calhas", **MODELS["calhas"], "tr": 2.5, "length": 25.0}
    config = TrainConfig.model_validate({"model": values})
    with pytest.raises(ConfigError, match=r"bound to a TR of 2\.5 s.*have 2 s.*model\.tr"):
        train(volumes, tmp_path / "out", config)
    assert list(tmp_path.iterdir()) == []


def test_too_many_components_are_refused_by_the_name_that_they_have(
    volumes: Store, tmp_path: Path
) -> None:
    values = {**MODELS["volume-lowrank"], "name": "volume-lowrank", "components": 500}
    config = TrainConfig.model_validate({"model": values})
    with pytest.raises(DatasetError, match=r"fewer in model\.components"):
        train(volumes, tmp_path / "out", config)


def test_a_store_without_volumes_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no whole volumes for 'fc'.+volumes. whole"):
        train(store, tmp_path / "out", recipe("fc"))


def test_volumes_are_not_predicted_ahead(volumes: Store, tmp_path: Path) -> None:
    config = recipe("fc").model_copy(update={"ahead": (0.0, 2.0)})
    with pytest.raises(ConfigError, match="Only regions"):
        train(volumes, tmp_path / "out", config)
