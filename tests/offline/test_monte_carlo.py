"""Monte-Carlo dropout from the command's side: trained, put on, saved, loaded, judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offline.calibrate import calibrate_by_eeg, calibrate_by_fmri
from offline.ensemble import join
from offline.evaluate import evaluate
from offline.explain import explain
from offline.monte_carlo import with_passes
from offline.recording_stream import recording_source
from offline.store.dataset import Store, window_at
from offline.train import TrainConfig, train
from rtfeedback.checkpoint import Checkpoint, load_checkpoint
from rtfeedback.errors import CheckpointError, ConfigError, OutputError
from rtfeedback.models import EEGNet, VolumeNetwork
from rtfeedback.models.monte_carlo import MonteCarlo, network_of
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32
from tests.offline.conftest import RUN
from tests.test_checkpoint_forgeries import content_of, refusal, write

Run = Callable[..., tuple[int, str, list[str]]]
PASSES = 8
RECIPE = """
[model]
name = "tcn"
length = 4.0
blocks = 2
width = 4
[fit]
epochs = 2
batch = 16
"""


def recipe(**model: Any) -> TrainConfig:
    settings = {"name": "tcn", "length": 4.0, "blocks": 2, "width": 4, **model}
    return TrainConfig.model_validate({"model": settings, "fit": {"epochs": 2, "batch": 16}})


def window(predictor: Predictor, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).normal(-11, 1, predictor.shape).astype(np.float32)


@pytest.fixture(scope="module")
def alone(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "tcn"
    train(Store(prepared), out, recipe())
    return out


@pytest.fixture(scope="module")
def thinned(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("thinned") / "tcn"
    train(Store(prepared), out, recipe(), passes=PASSES)
    return out


def weights(checkpoint: Checkpoint) -> dict[str, bytes]:
    state = network_of(checkpoint.model).state_dict()
    return {name: each.numpy().tobytes() for name, each in state.items()}


def test_the_command_trains_what_tells_an_sd_that_evaluate_judges(
    rtfeedback: Run, prepared: Path, tmp_path: Path
) -> None:
    (tmp_path / "tcn.toml").write_text(RECIPE)
    flags = ("--config", "tcn.toml", "--monte-carlo", PASSES, "--out", "tcn")
    code, out, said = rtfeedback("train", prepared, *flags)
    assert (code, out.splitlines()[0]) == (0, "tcn"), said
    predictor = Predictor.load(Path("tcn"), "cpu")
    assert all(
        roi.sd is not None and roi.sd > 0 for roi in predictor(window(predictor)).values()
    )
    code, out, _ = rtfeedback("evaluate", "tcn", prepared)
    assert code == 0
    assert "The stated sd's 90 % intervals hold" in out


def test_the_training_is_the_same_and_a_child_has_the_same_bits(
    alone: Path, thinned: Path, tmp_path: Path
) -> None:
    with_passes(load_checkpoint(alone), tmp_path / "child", PASSES)
    parent, trained, child = map(load_checkpoint, (alone, thinned, tmp_path / "child"))
    assert (trained.spec.passes, child.spec.passes, parent.spec.passes) == (PASSES, PASSES, 1)
    assert child.spec.training.notes["parent"] == parent.hash
    assert weights(parent) == weights(trained) == weights(child)
    one, other = Predictor(trained, "cpu"), Predictor(child, "cpu")
    for seed in range(3):
        assert one(window(one, seed)) == other(window(one, seed))


def test_a_loaded_checkpoint_tells_the_same_bits_whatever_came_before(thinned: Path) -> None:
    one, other = Predictor.load(thinned, "cpu"), Predictor.load(thinned, "cpu")
    told = [one(window(one)) for _ in range(2)]
    one(window(one, 1))
    one.warm_up()
    torch.rand(5)
    assert told[0] == told[1] == one(window(one)) == other(window(one))
    assert one(window(one)) != one(window(one, 1))


def test_a_child_of_few_passes_may_have_more(
    alone: Path, thinned: Path, tmp_path: Path
) -> None:
    for name, parent in (("again", thinned), ("anew", alone)):
        with_passes(load_checkpoint(parent), tmp_path / name, 3)
    again, anew = (Predictor.load(tmp_path / name, "cpu") for name in ("again", "anew"))
    assert again.spec.passes == 3
    assert again(window(again)) == anew(window(anew))


def test_an_ensemble_takes_passes_too(alone: Path, tmp_path: Path) -> None:
    member = load_checkpoint(alone)
    join([member] * 2, tmp_path / "same")
    with_passes(load_checkpoint(tmp_path / "same"), tmp_path / "thinned", PASSES)
    predictor = Predictor.load(tmp_path / "thinned", "cpu")
    assert (predictor.spec.members, predictor.spec.passes) == (2, PASSES)
    assert all(roi.sd for roi in predictor(window(predictor)).values())


def test_calibrating_by_eeg_keeps_the_passes_and_by_fmri_it_is_refused(
    thinned: Path, store: Store, bids: Path, tmp_path: Path
) -> None:
    parent = load_checkpoint(thinned)
    eeg = bids / "sub-01" / "eeg" / f"{RUN.format(3)}_eeg.vhdr"
    calibrate_by_eeg(parent, recording_source(eeg), tmp_path / "day")
    child = load_checkpoint(tmp_path / "day")
    before, now = (dict(each.model.named_buffers()) for each in (parent, child))
    masks = [name for name in before if "mask" in name]
    assert len(masks) == 3
    assert all(torch.equal(before[name], now[name]) for name in masks)
    assert not torch.equal(before["network.scaler.mean"], now["network.scaler.mean"])
    with pytest.raises(CheckpointError, match="Monte-Carlo"):
        calibrate_by_fmri(parent, store, tmp_path / "out")


def test_volumes_are_published_with_their_regions_sd(volumes: Store, tmp_path: Path) -> None:
    model = {"name": "fc", "length": 8.0, "embedding": 4, "hidden": (8, 4)}
    config = TrainConfig.model_validate({"model": model, "fit": {"epochs": 1}})
    spec = train(volumes, tmp_path / "out", config, passes=PASSES)
    predictor = Predictor.load(tmp_path / "out", "cpu")
    network = network_of(predictor.checkpoint.model)
    assert isinstance(network, VolumeNetwork)
    features = volumes.runs[spec.training.test[0]].features("samples")
    told = predictor(window_at(features, len(features) - 5, predictor.shape[1]))
    volume = predictor.volume()
    assert volume is not None
    z = (volume.reshape(-1)[network.voxels] - network.mean.numpy()) / network.sd.numpy()
    regions = network.of_volume(torch.from_numpy(z)[None])[0]
    assert [roi.z for roi in told.values()] == pytest.approx(regions.tolist(), abs=1e-4)
    assert all(roi.sd for roi in told.values())
    report = evaluate(predictor, volumes, tmp_path / "card")
    assert report["whole_volumes"]["n_volumes"] > 0
    assert report["uncertainty"]["n"] > 0


def test_classes_are_judged_by_the_passes_mean(store: Store, tmp_path: Path) -> None:
    model = {"name": "eegnet", "length": 2.0, "kernel": 0.1, "f1": 2, "head": "conditions"}
    config = TrainConfig.model_validate({"model": model, "fit": {"epochs": 1}})
    spec = train(store, tmp_path / "out", config, passes=PASSES)
    predictor = Predictor.load(tmp_path / "out", "cpu")
    thin = predictor.checkpoint.model
    assert isinstance(thin, MonteCarlo)
    assert isinstance(thin.network, EEGNet)
    x = window_at(store.runs[spec.training.test[0]].features("samples"), 900, 250)
    with torch.inference_mode():
        p = thin.mean_of(thin.network.probabilities, torch.from_numpy(x)[None])[0, 1].item()
    assert predictor(x)["imagery"].raw == pytest.approx(p, abs=1e-5)
    report = evaluate(predictor, store, tmp_path / "card")
    (classes,) = report["classes"]
    assert np.sum(classes["confusion"]) == report["runs"][0]["n_volumes"]
    assert report["uncertainty"] is None  # what holds or does not is in no interval


def test_what_it_goes_by_can_be_asked_of_it_and_of_an_ensemble(
    alone: Path, thinned: Path, store: Store, tmp_path: Path
) -> None:
    train(store, tmp_path / "other", recipe().model_copy(update={"seed": 1}))
    join([load_checkpoint(path) for path in (alone, tmp_path / "other")], tmp_path / "both")
    for path in (thinned, tmp_path / "both"):
        out = tmp_path / f"why-{path.name}"
        report = explain(load_checkpoint(path), store, out, pairs=2)
        assert sum(report["share"]["by_channel"]) == pytest.approx(1, abs=1e-3)


# ------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("model", "passes", "words"),
    [
        ({"name": "ridge"}, 20, "would all be the same"),
        ({"name": "eegnet", "dropout": 0}, 20, "would all be the same"),
        ({"name": "tcn"}, 0, "So many Monte-Carlo passes"),
        ({"name": "tcn"}, 257, "So many Monte-Carlo passes"),
    ],
)
def test_what_makes_no_passes_is_refused_before_it_is_trained(
    store: Store, tmp_path: Path, model: dict[str, Any], passes: int, words: str
) -> None:
    config = TrainConfig.model_validate({"model": model})
    with pytest.raises(ConfigError, match=words):
        train(store, tmp_path / "out", config, passes=passes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("passes", [10**9, 257, 0, -1, 2.5, None])
def test_a_forged_number_of_passes_is_refused(
    thinned: Path, tmp_path: Path, passes: Any
) -> None:
    folder = tmp_path / "forged"
    with_passes(load_checkpoint(thinned), folder, 2)
    write(folder, {**content_of(folder), "passes": passes})
    assert "'passes' is" in refusal(folder)


def test_passes_of_a_checkpoint_without_dropout_are_refused(
    ridge: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="would all be the same"):
        with_passes(load_checkpoint(ridge), tmp_path / "out", 5)
    assert list(tmp_path.iterdir()) == []


def test_the_command_makes_a_child_and_refuses_what_does_not_go_together(
    rtfeedback: Run, alone: Path, tmp_path: Path
) -> None:
    code, out, _ = rtfeedback("calibrate", alone, "--monte-carlo", 20, "--out", "child")
    assert (code, out) == (0, f"child\n20 Monte-Carlo passes of {alone}\n")
    assert load_checkpoint(Path("child")).spec.passes == 20
    code, _, said = rtfeedback("calibrate", alone, "--monte-carlo", 20, "--out", "child")
    assert code == 1
    assert "child" in said[0]
    both = rtfeedback("train", "--monte-carlo", 20, "--ensemble", 2)
    assert both[0] == 2
    assert rtfeedback("calibrate", alone, "--monte-carlo", 20, "--seconds", 5)[0] == 2
    assert rtfeedback("train", "--monte-carlo", 1)[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["child"]


def test_a_folder_that_is_there_is_left_as_it_is(alone: Path, thinned: Path) -> None:
    with pytest.raises(OutputError):
        with_passes(load_checkpoint(alone), thinned, 5)
    assert load_checkpoint(thinned).spec.passes == PASSES
