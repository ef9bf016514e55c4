from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offline.dataset import MANIFEST, Store
from offline.examples import Examples
from offline.train import TrainConfig, train
from rtfeedback.checkpoint import Checkpoint, load_checkpoint
from rtfeedback.errors import ConfigError, DatasetError, OutputError
from rtfeedback.windows import WindowSpec

RUN = "sub-01_task-motorimagery_run-0{}"
TRAINING, VALIDATION, TEST = (RUN.format(1), RUN.format(2)), (RUN.format(3),), (RUN.format(4),)
WINDOW = WindowSpec(length=10.0)


def eegnet(**fit: Any) -> TrainConfig:
    """Return a recipe of a network that is quickly trained."""
    return TrainConfig.model_validate(
        {
            "model": {"name": "eegnet", "length": 4.0, "f1": 2, "f2": 4},
            "fit": {"epochs": 2, "batch": 16, **fit},
        }
    )


def trained(store: Store, out: Path, config: TrainConfig | None = None) -> Checkpoint:
    train(store, out, config or TrainConfig())
    return load_checkpoint(out)


def weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    return checkpoint.model.state_dict()


def same(a: Checkpoint, b: Checkpoint) -> bool:
    return all(torch.equal(weights(a)[name], weights(b)[name]) for name in weights(a))


def scramble(store: Store, runs: tuple[str, ...], *arrays: str) -> None:
    """Put other numbers in place of some runs' arrays, the manifest as it was."""
    for run in runs:
        for name in arrays:
            path = store.path / run / f"{name}.npy"
            array = np.load(path)
            np.save(
                path, np.random.default_rng(9).normal(50, 9, array.shape).astype(array.dtype)
            )


# ------------------------------------------------------------------- the checkpoint's facts


def test_a_checkpoint_says_what_it_was_trained_on(store: Store, ridge: Path) -> None:
    spec = load_checkpoint(ridge).spec
    training = spec.training
    assert (training.train, training.validation, training.test) == (TRAINING, VALIDATION, TEST)
    assert (training.store, training.subjects) == (store.hash, ("01",))
    assert spec.chain == store.chain("tokens")
    assert (spec.tr, spec.environment, spec.window.length) == (2.0, "scanner", 10.0)
    assert [target.name for target in spec.targets] == ["motor", "spheres"]
    notes = training.notes
    windows, left_out = notes["windows"], notes["windows_left_out"]
    assert isinstance(windows, int)
    assert isinstance(left_out, int)
    assert windows + left_out == 2 * 38


def test_targets_become_z_by_the_training_windows(store: Store, ridge: Path) -> None:
    spec = load_checkpoint(ridge).spec
    y = Examples(store, TRAINING, "tokens", spec.window).targets
    assert [target.mean for target in spec.targets] == y.mean(axis=0).tolist()
    assert [target.sd for target in spec.targets] == y.std(axis=0).tolist()


# ----------------------------------------------------------------- what is read, and what not


def test_ridge_reads_neither_test_nor_validation_targets(
    store_copy: Store, ridge: Path, tmp_path: Path
) -> None:
    scramble(store_copy, VALIDATION + TEST, "targets", "design", "tokens", "samples")
    assert same(trained(store_copy, tmp_path / "a"), load_checkpoint(ridge))
    assert load_checkpoint(tmp_path / "a").hash == load_checkpoint(ridge).hash


def test_ridge_reads_the_training_part(store_copy: Store, ridge: Path, tmp_path: Path) -> None:
    scramble(store_copy, TRAINING[:1], "targets")
    assert not same(trained(store_copy, tmp_path / "a"), load_checkpoint(ridge))


@pytest.mark.parametrize("config", [TrainConfig(), eegnet()], ids=["ridge", "eegnet"])
def test_training_goes_on_without_the_test_part(
    store: Store, store_copy: Store, tmp_path: Path, config: TrainConfig
) -> None:
    shutil.rmtree(store_copy.path / TEST[0])
    (store_copy.path / "test_reads.json").unlink(missing_ok=True)
    without = trained(store_copy, tmp_path / "without", config)
    assert without.hash == trained(store, tmp_path / "with", config).hash
    assert not (store_copy.path / "test_reads.json").exists()


def test_the_scaler_has_the_training_parts_statistics(store: Store, ridge: Path) -> None:
    rows = np.concatenate([store.runs[name].features("tokens") for name in TRAINING])
    rows = rows.astype(np.float64)
    scaler = weights(load_checkpoint(ridge))
    assert np.allclose(scaler["scaler.mean"][:, 0], np.nanmean(rows, axis=0), rtol=1e-6)
    assert np.allclose(scaler["scaler.sd"][:, 0], np.nanstd(rows, axis=0), rtol=1e-6)


def test_the_networks_scaler_has_them_too(store: Store, tmp_path: Path) -> None:
    rows = np.concatenate([store.runs[name].features("samples") for name in TRAINING])
    rows = rows.astype(np.float64)
    scaler = weights(trained(store, tmp_path / "a", eegnet()))
    assert np.allclose(scaler["scaler.sd"][:, 0], np.nanstd(rows, axis=0), rtol=1e-5)


def test_a_feature_that_never_changes_stays_finite(store_copy: Store, tmp_path: Path) -> None:
    for run in TRAINING:
        path = store_copy.path / run / "tokens.npy"
        features = np.load(path)
        features[:, 3] = -16.0
        np.save(path, features)
    model = trained(store_copy, tmp_path / "a")
    assert weights(model)["scaler.sd"][3] == 1.0


def test_a_checkpoint_says_how_much_of_its_eeg_repeats_with_the_volumes(
    store: Store, store_copy: Store, ridge: Path, tmp_path: Path
) -> None:
    shares = {run.name: run.volume_locked for run in store.manifest.runs}
    largest = load_checkpoint(ridge).spec.training.volume_locked
    assert largest == max(shares[name] or 0.0 for name in TRAINING)
    assert largest is not None
    assert largest < 0.1
    path = store_copy.path / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["runs"][1]["volume_locked"] = 0.97
    path.write_text(json.dumps(manifest))
    assert trained(Store(store_copy.path), tmp_path / "a").spec.training.volume_locked == 0.97


def test_a_model_leaves_out_as_much_before_an_artefact_as_the_chain_holds_it(
    ridge: Path,
) -> None:
    checkpoint = load_checkpoint(ridge)
    assert checkpoint.spec.chain.hold == round(0.35 * 4)
    assert checkpoint.model.get_submodule("scaler").hold == checkpoint.spec.chain.hold


# -------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("what", ["artefacts", "eog"])
def test_a_store_that_was_fitted_on_a_held_out_run_is_refused(
    store_copy: Store, tmp_path: Path, what: str
) -> None:
    path = store_copy.path / MANIFEST
    manifest = json.loads(path.read_text())
    chain = manifest["chains"]["tokens"]
    n = len(chain["channels"])
    chain["eog"] = {
        "channels": ["VEOG"],
        "referenced": [False],
        "coefficients": [[0.0] * n],
        "fitted_on": [],
    }
    chain[what]["fitted_on"] = [*TRAINING, *TEST]
    path.write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match=rf"held-out run\. {TEST[0]}.*\[split\]"):
        train(Store(store_copy.path), tmp_path / "a", TrainConfig())
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"model": {"name": "ridge", "length": 500.0}}, "too short for one window"),
        ({"model": {"name": "ridge", "chain": "token"}}, "no chain 'token'"),
        ({"split": {"test": 4}}, "no run for train"),
        ({"model": {"name": "ridge", "length": 0.1}}, "0 samples is too short for 'ridge'"),
        ({"model": {"name": "eegnet", "length": 0.2}}, "25 samples is too short for 'eegnet'"),
        ({"model": {"name": "tcn", "length": 15.5}}, "62 samples is too short for 'tcn'"),
        ({"model": {"name": "mean-power"}}, "'mean-power' has nothing to learn"),
    ],
)
def test_a_recipe_that_does_not_go_with_the_store_is_refused(
    store: Store, tmp_path: Path, values: dict[str, Any], word: str
) -> None:
    config = TrainConfig.model_validate(values)
    with pytest.raises((DatasetError, ConfigError), match=word):
        train(store, tmp_path / "a", config)
    assert list(tmp_path.iterdir()) == []


def test_a_run_too_short_for_one_window_is_named(store: Store, tmp_path: Path) -> None:
    config = TrainConfig.model_validate({"model": {"name": "ridge", "length": 90.5}})
    with pytest.raises(DatasetError, match=rf"The run {RUN.format(1)} is too short.*takes 362"):
        train(store, tmp_path / "a", config)


def test_a_checkpoint_is_never_written_over(store: Store, ridge: Path) -> None:
    before = hashlib.sha256((ridge / "checkpoint.json").read_bytes()).digest()
    with pytest.raises(OutputError, match="is there already"):
        train(store, ridge, TrainConfig())
    assert hashlib.sha256((ridge / "checkpoint.json").read_bytes()).digest() == before


def test_a_semi_synthetic_store_gives_a_semi_synthetic_checkpoint(
    store_copy: Store, tmp_path: Path
) -> None:
    path = store_copy.path / MANIFEST
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "semi_synthetic": True}))
    assert trained(Store(store_copy.path), tmp_path / "a").spec.training.semi_synthetic
