"""An ensemble: its members' mean, its sd, and that both are the same each time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offline.ensemble import join, train_ensemble
from offline.evaluate import evaluate
from offline.store.dataset import Store
from offline.train import TrainConfig, train
from offline.training.pretrain import PretrainConfig, pretrain_store
from offline.training.pretrained import read_pretrained
from rtfeedback.checkpoint import load_checkpoint
from rtfeedback.errors import ConfigError
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32
from tests.offline.killed import Killed


def tcn(seed: int = 3, **model: Any) -> TrainConfig:
    loss = "nll" if model.get("variance") else "mse"
    settings = {"name": "tcn", "length": 4.0, "blocks": 2, "width": 4, **model}
    fit = {"epochs": 2, "batch": 16, "loss": loss}
    return TrainConfig.model_validate({"model": settings, "fit": fit, "seed": seed})


def window(predictor: Predictor, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).normal(-11, 1, predictor.shape).astype(np.float32)


@pytest.fixture(scope="module")
def alone(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two networks of other seeds."""
    paths = [tmp_path_factory.mktemp("alone") / f"{seed}" for seed in (3, 4)]
    for path in paths:
        train(Store(prepared), path, tcn(int(path.name)))
    return paths


@pytest.fixture(scope="module")
def both(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the ensemble that the command would make of these seeds."""
    out = tmp_path_factory.mktemp("ensemble") / "tcn"
    train_ensemble(Store(prepared), out, tcn(3), 2)
    assert [path.name for path in out.parent.iterdir()] == ["tcn"]
    return out


def test_it_says_its_members_mean_and_how_far_they_are_apart(
    alone: list[Path], both: Path
) -> None:
    members, ensemble = [Predictor.load(path) for path in alone], Predictor.load(both)
    x = window(ensemble)
    told = ensemble(x)
    for name, roi in told.items():
        zs = np.array([member(x)[name].z for member in members], np.float64)
        assert roi.z == pytest.approx(np.mean(zs), abs=1e-6)
        assert roi.sd == pytest.approx(np.std(zs), rel=1e-4)
        assert roi.sd is not None
        assert roi.sd > 0


def test_the_same_window_gets_the_same_bits_however_often(both: Path) -> None:
    one, other = Predictor.load(both), Predictor.load(both)
    told = [one(window(one)) for _ in range(3)]
    one(window(one, 1))
    torch.rand(5)
    assert told[0] == told[1] == told[2] == one(window(one)) == other(window(one))


def test_members_that_agree_have_an_sd_of_0(alone: list[Path], tmp_path: Path) -> None:
    member = load_checkpoint(alone[0])
    join([member] * 3, tmp_path / "same")
    ensemble = Predictor.load(tmp_path / "same")
    x = window(ensemble)
    told, said = ensemble(x), Predictor(member)(x)
    assert {roi.sd for roi in told.values()} == {0.0}
    assert [roi.z for roi in told.values()] == [roi.z for roi in said.values()]


def test_what_members_state_themselves_is_in_it(store: Store, tmp_path: Path) -> None:
    train(store, tmp_path / "one", tcn(variance=True))
    member = load_checkpoint(tmp_path / "one")
    join([member] * 2, tmp_path / "same")
    ensemble = Predictor.load(tmp_path / "same")
    x = window(ensemble)
    for name, roi in Predictor(member)(x).items():
        assert roi.sd == pytest.approx(ensemble(x)[name].sd, rel=1e-5)


def test_its_checkpoint_says_how_many_there_are_and_it_is_judged_as_any(
    both: Path, alone: list[Path], store: Store, tmp_path: Path
) -> None:
    spec = load_checkpoint(both).spec
    assert (spec.members, spec.training.seed, spec.training.notes["members"]) == (2, 3, 2)
    losses = [load_checkpoint(path).spec.training.notes["loss"] for path in alone]
    assert spec.training.notes["loss"] == pytest.approx(np.mean(np.array(losses, float)))
    report = evaluate(Predictor.load(both), store, tmp_path / "out")
    assert report["uncertainty"]["factor"] > 1  # weights that agree know nothing of noise


def test_members_that_began_with_other_weights_are_not_gone_on_with(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights were learnt anew, in the same folder, after the first member."""
    model = {"name": "patch-transformer", "layers": 1, "span": 9, "width": 8, "heads": 2}
    model |= {"hidden": 8, "chain": "tokens", "length": 4.0}
    recipe = {"model": model, "fit": {"epochs": 1, "windows": 16, "length": 4.0}}
    config = TrainConfig.model_validate({"model": model, "fit": {"epochs": 1}})
    begun, out = tmp_path / "begun", tmp_path / "out"
    pretrain_store(store, begun, PretrainConfig.model_validate(recipe))
    seeds = list[int]()

    def until_killed(*args: Any, **how: Any) -> Any:
        if len(seeds) == 1:
            seeds.append(-1)
            raise Killed
        seeds.append(args[2].seed)
        return train(*args, **how)

    monkeypatch.setattr("offline.ensemble.train", until_killed)
    with pytest.raises(Killed):
        train_ensemble(store, out, config, 2, pretrained=begun)
    shutil.rmtree(begun)
    pretrain_store(store, begun, PretrainConfig.model_validate({**recipe, "seed": 1}))
    spec = train_ensemble(store, out, config, 2, pretrained=begun)
    assert seeds == [0, -1, 0, 1]
    assert spec.training.notes["pretrained"] == read_pretrained(begun).weights_sha256


@pytest.mark.parametrize(
    ("model", "n", "words"),
    [
        ({"name": "ridge"}, 3, "all the same"),
        ({"name": "eegnet", "head": "levels"}, 3, "whole volumes or classes"),
        ({"name": "volume-lowrank"}, 3, "whole volumes or classes"),
        ({"name": "tcn"}, 1, "two members"),
    ],
)
def test_what_makes_no_ensemble_is_refused(
    store: Store, tmp_path: Path, model: dict[str, Any], n: int, words: str
) -> None:
    config = TrainConfig.model_validate({"model": model})
    with pytest.raises(ConfigError, match=words):
        train_ensemble(store, tmp_path / "out", config, n)
    assert list(tmp_path.iterdir()) == []
