"""What a model goes by: a planted source is found again, and the test part is not read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.planted_source import BAND, CHANNEL, LAG, TARGET, Planted, write_planted
from offline.ensemble import train_ensemble
from offline.explain import explain
from offline.explanation.gradients import Contributions
from offline.explanation.views import view_of
from offline.prepare import prepare
from offline.store.dataset import Store
from offline.train import TrainConfig, train
from rtfeedback.checkpoint import load_checkpoint, save_checkpoint
from rtfeedback.errors import CheckpointError, DatasetError
from rtfeedback.models.ensemble import Ensemble
from rtfeedback.predictor import Predictor

Run = Callable[..., tuple[int, str, list[str]]]
HELD_OUT = "sub-01_task-motorimagery_run-04"
PNG = b"\x89PNG"
MODELS: dict[str, dict[str, Any]] = {
    "ridge": {"model": {"name": "ridge", "length": 8.0, "penalties": [300.0]}},
    "eegnet": {
        "model": {"name": "eegnet", "length": 6.5, "f1": 4, "f2": 4, "dropout": 0.0},
        "fit": {"epochs": 7, "learning_rate": 1e-2, "batch": 16},
    },
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store whose course answers 18-24 Hz below C4, 5 s later."""
    folder = tmp_path_factory.mktemp("planted")
    config = write_planted(
        folder / "lab", Planted(channels=8, runs=4, seconds=120, rhythm=25.0)
    )
    return Store(prepare(folder / "lab", folder / "store", config, jobs=1))


def strongest(report: dict[str, Any]) -> tuple[str, float, float]:
    """Return channel, middle of the band, and lag of the largest shares."""
    share = report["share"]
    low, high = report["bands"][np.argmax(share["by_band"])]
    lag = report["lags"][np.argmax(share["by_lag"])]
    return report["channels"][np.argmax(share["by_channel"])], (low + high) / 2, lag


@pytest.mark.parametrize("name", MODELS)
def test_a_planted_source_is_found_by_channel_band_and_lag(
    planted: Store, tmp_path: Path, name: str
) -> None:
    train(planted, tmp_path / name, TrainConfig.model_validate(MODELS[name]))
    checkpoint = load_checkpoint(tmp_path / name)
    report = explain(checkpoint, planted, tmp_path / "out", pairs=20)
    channel, hertz, lag = strongest(report)
    assert channel == CHANNEL
    assert BAND[0] < hertz < BAND[1]
    assert lag == pytest.approx(LAG, abs=0.8)
    share = report["share"]
    here = [low < BAND[1] and high > BAND[0] for low, high in report["bands"]]
    assert np.array(share["by_band"])[here].sum() > 0.5
    # More of the rhythm is more of the region.
    at = report["channels"].index(CHANNEL), int(np.argmax(share["by_band"]))
    assert report["direction"][at[0]][at[1]] > 0
    assert (report["target"], report["part"]) == (TARGET, "validation")
    found = learnt(report, at[1])
    assert report["channels"][found] == CHANNEL


def learnt(report: dict[str, Any], band: int) -> int:
    """Return the channel at which what was learnt of the planted band is largest."""
    filters = report["filters"]
    if filters["kind"] == "LinearWeights":
        return int(np.abs(np.array(filters["pattern"])[:, band]).max(-1).argmax())
    hertz = np.array(filters["frequencies"])
    passed = np.array(filters["spectra"])[:, (hertz > BAND[0]) & (hertz < BAND[1])].mean(1)
    kernels = np.array(filters["kernel"])
    own = np.abs(np.array(filters["patterns"])[kernels == passed.argmax()])
    return int(own[own.max(1).argmax()].argmax())


@pytest.fixture(scope="module")
def explained(prepared: Path, ridge: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a ridge's explanation by 4 pairs."""
    out = tmp_path_factory.mktemp("explained") / "out"
    explain(load_checkpoint(ridge), Store(prepared), out, pairs=4)
    return out


def read(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "explain.json").read_text())
    return report


def test_all_is_written_and_adds_up(explained: Path) -> None:
    names = sorted(path.name for path in explained.iterdir())
    assert names == ["explain.json", "filters.png", "share.png"]
    for name in names[1:]:
        assert (explained / name).read_bytes().startswith(PNG)
    report = read(explained)
    shares = report["share"]
    whole = [np.sum(shares[name]) for name in shares]
    np.testing.assert_allclose(whole, 1.0, atol=1e-3)
    by_both = np.array(shares["by_channel_and_band"])
    np.testing.assert_allclose(by_both.sum(1), shares["by_channel"], atol=1e-3)
    np.testing.assert_allclose(by_both.sum(0), shares["by_band"], atol=1e-3)
    assert report["unexplained"] < 1e-4  # a linear model, whose gradient is one
    assert (report["pairs"], report["without_position"]) == (4, [])


def test_nothing_of_the_test_part_is_read(
    explained: Path, ridge: Path, store_copy: Store, tmp_path: Path
) -> None:
    (store_copy.path / "test_reads.json").unlink(missing_ok=True)  # other tests' reads
    for path in (store_copy.path / HELD_OUT).glob("*.npy"):
        path.write_bytes(b"no array")
    again = explain(load_checkpoint(ridge), store_copy, tmp_path / "again", pairs=4)
    assert again == read(explained)
    assert HELD_OUT not in again["runs"]
    assert not (store_copy.path / "test_reads.json").exists()


def test_each_target_has_an_explanation_of_its_own(
    explained: Path, ridge: Path, store: Store, tmp_path: Path
) -> None:
    first = read(explained)
    named = explain(
        load_checkpoint(ridge), store, tmp_path / "named", target="spheres", pairs=4
    )
    assert (first["target"], named["target"]) == ("motor", "spheres")
    assert first["share"] != named["share"]


def test_an_ensemble_is_explained_as_the_mean_that_it_tells(
    store: Store, tmp_path: Path
) -> None:
    """Integrated gradients are linear in the model: its share is of the members' mean."""
    settings = {"name": "tcn", "length": 4.0, "blocks": 1, "width": 4}
    recipe = {"model": settings, "fit": {"epochs": 1}}
    train_ensemble(store, tmp_path / "both", TrainConfig.model_validate(recipe), 2)
    checkpoint = load_checkpoint(tmp_path / "both")
    report = explain(checkpoint, store, tmp_path / "out", pairs=3)
    assert np.sum(report["share"]["by_channel"]) == pytest.approx(1.0, abs=0.02)
    assert report["unexplained"] < 0.02
    ensemble = checkpoint.model
    assert isinstance(ensemble, Ensemble)
    view = view_of(checkpoint.spec.chain, checkpoint.spec.window)
    first, second = torch.randn(2, *Predictor(checkpoint, "cpu").shape) - 11
    whole = Contributions(ensemble, view, 0)(first, second)
    members = [Contributions(each, view, 0)(first, second) for each in ensemble.members]
    torch.testing.assert_close(whole, torch.stack(members).mean(0), atol=1e-4, rtol=1e-3)


def test_a_plain_r_says_that_the_task_is_in_it(explained: Path) -> None:
    assert ", the task included)" in read(explained)["note"]


def test_a_model_that_heeds_nothing_is_refused_and_leaves_nothing(
    ridge: Path, store: Store, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(ridge)
    with torch.no_grad():
        checkpoint.model.linear.weight.zero_()  # type: ignore[union-attr, operator]
    with pytest.raises(CheckpointError, match="predicts the same whatever the EEG"):
        explain(checkpoint, store, tmp_path / "out", pairs=2)
    assert list(tmp_path.iterdir()) == []


def test_without_a_validation_part_it_is_refused(
    prepared: Path, ridge: Path, tmp_path: Path
) -> None:
    loaded = load_checkpoint(ridge)
    training = loaded.spec.training.model_copy(update={"validation": ()})
    spec = loaded.spec.model_copy(update={"training": training})
    save_checkpoint(tmp_path / "alone", spec, loaded.model)
    with pytest.raises(DatasetError, match="no validation part"):
        explain(load_checkpoint(tmp_path / "alone"), Store(prepared), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_what_is_largest_and_where_it_lies(
    rtfeedback: Run, ridge: Path, prepared: Path, tmp_path: Path
) -> None:
    code, out, said = rtfeedback("explain", ridge, prepared, "--pairs", 3)
    assert (code, said) == (0, [])
    assert out.splitlines()[-1] == "explanations/ridge"
    assert "what predictions of 'motor' differ by" in out
    assert "not what a brain does" in out
    assert (tmp_path / "explanations/ridge/explain.json").is_file()


def test_the_command_refuses_in_one_paragraph(
    rtfeedback: Run, ridge: Path, prepared: Path, store_copy: Store, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("data")
    manifest = store_copy.path / "store.json"
    manifest.write_text(manifest.read_text() + " ")
    for arguments, words in (
        ([ridge, prepared, "--target", "left"], "no target 'left'. It has motor, spheres"),
        ([ridge, store_copy.path], "was not trained on the store"),
        ([ridge, prepared, "--out", "full"], "full is there already"),
        ([tmp_path, prepared], "is no checkpoint"),
    ):
        code, out, said = rtfeedback("explain", *arguments)
        assert (code, out, len(said)) == (1, "", 1)
        assert words in said[0]
    assert not (tmp_path / "explanations").exists()


def test_without_captum_it_says_what_to_install(
    rtfeedback: Run, ridge: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    code, _, said = rtfeedback("explain", ridge, prepared)
    assert (code, len(said)) == (1, 1)
    assert "pip install 'rtfeedback[explain]'" in said[0]
