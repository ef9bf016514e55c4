from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offline.evaluate import evaluate, print_report
from offline.splits.split import SplitConfig
from offline.store.dataset import MANIFEST, Store
from offline.store.examples import Examples
from offline.train import TrainConfig, train
from rtfeedback.checkpoint import Checkpoint, load_checkpoint
from rtfeedback.errors import ConfigError, DatasetError, OutputError
from rtfeedback.predictor import Predictor
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


# ------------------------------------------------------------------- splits that cut runs


BLOCKS = {"kind": "block", "blocks": 2, "validation": 0}
SHORT = {"name": "ridge", "length": 2.0}


def with_split(store: Store, split: dict[str, Any]) -> Store:
    """Return a store that was prepared with some split, as far as it tells."""
    path = store.path / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["config"]["split"] = SplitConfig.model_validate(split).model_dump(mode="json")
    path.write_text(json.dumps(manifest))
    return Store(store.path)


def test_a_checkpoint_says_which_volumes_of_each_run_were_held_out(
    store_copy: Store, tmp_path: Path
) -> None:
    config = TrainConfig.model_validate({"model": SHORT, "split": BLOCKS})
    training = trained(with_split(store_copy, BLOCKS), tmp_path / "a", config).spec.training
    assert training.split == "block"
    assert training.train == training.test == (*TRAINING, *VALIDATION, *TEST)
    for name in training.train:
        train, test = training.volumes["train"][name], training.volumes["test"][name]
        assert 2.0 * (min(test) - max(train)) >= 2.0 + 20.0
        assert training.volumes["validation"][name] == ()


def test_a_block_split_reads_nothing_of_the_test_block_or_its_gap(
    store_copy: Store, tmp_path: Path
) -> None:
    store = with_split(store_copy, BLOCKS)
    config = TrainConfig.model_validate({"model": SHORT, "split": BLOCKS})
    before = trained(store, tmp_path / "a", config)
    rng = np.random.default_rng(1)
    for name, run in store.runs.items():
        last = max(before.spec.training.volumes["train"][name])
        targets, tokens = np.array(run.targets), np.array(run.features("tokens"))
        targets[last + 1 :] = rng.normal(size=targets[last + 1 :].shape)
        later = run.stamps("tokens") > run.onsets[last] + 2.0
        tokens[later] = rng.normal(size=tokens[later].shape)
        np.save(run.folder / "targets.npy", targets)
        np.save(run.folder / "tokens.npy", tokens)
    assert same(trained(Store(store.path), tmp_path / "b", config), before)


def test_a_store_that_was_fitted_by_another_cut_is_refused(
    store: Store, store_copy: Store, tmp_path: Path
) -> None:
    config = TrainConfig.model_validate({"model": SHORT, "split": BLOCKS})
    with pytest.raises(DatasetError, match=r"fitted by another split.*'kind': 'block'"):
        train(store, tmp_path / "a", config)
    other = with_split(store_copy, {**BLOCKS, "leave_out": ["1"]})
    with pytest.raises(DatasetError, match=r"fitted by another split.*leave_out"):
        train(other, tmp_path / "a", config)


def test_blocks_too_short_for_their_gaps_are_refused(store_copy: Store, tmp_path: Path) -> None:
    split = {"kind": "block", "blocks": 2, "validation": 0}
    model = {"name": "ridge", "length": 20.0}
    config = TrainConfig.model_validate({"model": model, "split": split})
    with pytest.raises(DatasetError, match="no window for train"):
        train(with_split(store_copy, split), tmp_path / "a", config)
    assert not (tmp_path / "a").exists()


def test_shuffling_needs_leave_and_is_stamped_on_all_that_follows(
    rtfeedback: Callable[..., tuple[int, str, list[str]]],
    store: Store,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    recipe = tmp_path / "shuffled.toml"
    recipe.write_text('[split]\nkind = "shuffled"\n')
    command = ("train", store.path, "--config", recipe, "--out", tmp_path / "a")
    code, _, said = rtfeedback(*command)
    assert code == 1
    assert "--allow-shuffled" in " ".join(said)
    assert not (tmp_path / "a").exists()
    code, _, said = rtfeedback(*command, "--allow-shuffled")
    assert code == 0
    assert "no claim of skill" in " ".join(said)
    training = load_checkpoint(tmp_path / "a").spec.training
    assert training.split == "shuffled"
    parts = [set(training.volumes[part][TEST[0]]) for part in ("train", "validation", "test")]
    assert all(parts)
    assert len(set.union(*parts)) == sum(map(len, parts))
    report = evaluate(Predictor.load(tmp_path / "a", "cpu"), store, tmp_path / "evaluated")
    assert "no claim of skill" in report["note"]
    assert report["split"]["kind"] == "shuffled"
    print_report(report)
    assert capfd.readouterr().out.startswith("Shuffled: training and test windows share")


# --------------------------------------------------------------- several TRs, no targets


def test_runs_of_several_trs_are_trained_on_together_and_all_are_stated(
    store_copy: Store, tmp_path: Path, ridge: Path
) -> None:
    path = store_copy.path / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["runs"][1]["tr"] = 1.28
    path.write_text(json.dumps(manifest))
    config = TrainConfig.model_validate({"split": {"validation": 0}})
    spec = trained(Store(store_copy.path), tmp_path / "a", config).spec
    assert (spec.tr, spec.training.trs) == (2.0, (1.28, 2.0))
    assert load_checkpoint(ridge).spec.training.trs == ()


def test_volumes_without_a_target_are_no_example(store_copy: Store, tmp_path: Path) -> None:
    """Scrubbed volumes are NaN: neither they, nor what lies between them, is learnt from."""
    run = store_copy.runs[TRAINING[0]]
    targets = np.array(run.targets)
    targets[20:23] = np.nan
    np.save(run.folder / "targets.npy", targets)
    spec = trained(Store(store_copy.path), tmp_path / "a").spec
    assert spec.training.notes["windows_without_target"] == 3
    examples = Examples(Store(store_copy.path), TRAINING, "tokens", spec.window)
    assert not set(examples.volumes[examples.run == 0]) & {20, 21, 22}
    which = np.arange(len(examples)).repeat(9)
    shift = np.tile(np.arange(-4, 5), len(examples))
    moved = examples.shift(which, shift)
    assert np.isfinite(moved.between(examples.targets)).all()
    end = examples.ends[examples.volumes == 19][0]
    between = (moved.run == 0) & (moved.ends > end) & (moved.ends < end + 4 * 8)
    assert not between.any()
