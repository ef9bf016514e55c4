"""Classes from the command's side: trained, saved, loaded, judged; raw is what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from offline.evaluate import evaluate, print_report
from offline.store.dataset import Store, window_at
from offline.train import TrainConfig, train
from rtfeedback.checkpoint import load_checkpoint
from rtfeedback.errors import DatasetError
from rtfeedback.models import EEGNet
from rtfeedback.predictor import Predictor

SMALL = {"name": "eegnet", "length": 2.0, "kernel": 0.1, "f1": 2}


def trained(store: Store, out: Path, **model: object) -> Predictor:
    recipe = {"model": {**SMALL, **model}, "fit": {"epochs": 2, "jitter": 0.0}}
    train(store, out, TrainConfig.model_validate(recipe))
    return Predictor(load_checkpoint(out), "cpu")


def test_conditions_are_trained_saved_and_judged(
    store_copy: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = store_copy
    predictor = trained(store, tmp_path / "task", head="conditions")
    (target,) = predictor.spec.targets
    assert (target.name, target.unit) == ("imagery", "probability")
    held = np.concatenate([store.runs[name].task for name in predictor.spec.training.train])
    assert target.mean == pytest.approx(held.mean(), abs=0.05)
    model = predictor.checkpoint.model
    assert isinstance(model, EEGNet)
    window = window_at(
        store.runs[predictor.spec.training.test[0]].features("samples"), 900, 250
    )
    with torch.inference_mode():
        p = model.probabilities(torch.from_numpy(window)[None])[0, 1].item()
    assert predictor(window)["imagery"].raw == pytest.approx(p, abs=1e-5)
    report = evaluate(predictor, store, tmp_path / "report")
    (classes,) = report["classes"]
    assert classes["classes"] == ["rest", "imagery"]
    assert not classes["includes_task"]  # it is the task
    (run,) = report["runs"]
    assert np.sum(classes["confusion"]) == run["n_volumes"]
    assert set(run["measured"]) == {0.0, 1.0}
    assert report["skill_design"] is None
    print_report(report)
    told = capsys.readouterr().out
    assert "r (of the task itself)" in told
    assert "Balanced accuracy" in told


def test_levels_of_each_target_are_judged(
    store_copy: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictor = trained(store_copy, tmp_path / "levels", head="levels", levels=2)
    report = evaluate(predictor, store_copy, tmp_path / "report")
    assert [each["of"] for each in report["classes"]] == ["motor", "spheres"]
    for each in report["classes"]:
        assert each["classes"] == ["level 1", "level 2"]
        assert each["chance"] == 0.5
        assert 0 < each["p"] <= 1
        assert each["includes_task"]
    print_report(report)
    assert capsys.readouterr().out.count("It includes the task.") == 2


def test_a_model_of_values_has_no_classes(store_copy: Store, tmp_path: Path) -> None:
    predictor = trained(store_copy, tmp_path / "value")
    assert evaluate(predictor, store_copy, tmp_path / "report")["classes"] == []


def test_runs_without_conditions_are_refused(store_copy: Store, tmp_path: Path) -> None:
    for run in store_copy.runs.values():
        run.manifest = run.manifest.model_copy(update={"conditions": ()})
    with pytest.raises(DatasetError, match="no conditions to tell apart"):
        trained(store_copy, tmp_path / "task", head="conditions")
