"""Runs of several tasks: what the task alone predicts, and where nobody could know."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from offline.evaluate import evaluate, print_report
from offline.evaluation.held_out import predict_held_out
from offline.evaluation.task_baseline import predicted_by_task
from offline.store.dataset import MANIFEST, Store
from offline.train import TrainConfig, train
from rtfeedback.predictor import Predictor


def of_tasks(prepared: Path, tmp_path: Path, tasks: Sequence[str]) -> tuple[Store, Predictor]:
    """Return a copy of a store whose runs are of these tasks, and a ridge on it."""
    copy = Path(shutil.copytree(prepared, tmp_path / "store"))
    facts = json.loads((copy / MANIFEST).read_text(encoding="utf-8"))
    for run, task in zip(facts["runs"], tasks, strict=True):
        run["conditions"] = [task] if task else []
        if not task:
            design = copy / run["name"] / "design.npy"
            np.save(design, np.load(design)[:, :0])
    (copy / MANIFEST).write_text(json.dumps(facts), encoding="utf-8")
    store = Store(copy)
    train(store, tmp_path / "ridge", TrainConfig())
    return store, Predictor.load(tmp_path / "ridge", "cpu")


def test_a_condition_has_the_weight_that_it_has_in_its_own_training_runs(
    prepared: Path, tmp_path: Path
) -> None:
    store, predictor = of_tasks(prepared, tmp_path, ("move", "imagine", "imagine", "imagine"))
    spec, runs = predictor.spec, list(store.runs.values())
    course = predict_held_out(predictor, runs[3]).course
    (found,) = predicted_by_task(spec, store, [course])
    assert (spec.training.train, spec.training.test) == (
        (runs[0].name, runs[1].name),
        (runs[3].name,),
    )
    # The constant is common to both tasks, so the weights are of the two runs together.
    move, imagine = (run.design for run in runs[:2])
    rows = len(move) + len(imagine)
    x = np.zeros((rows, 5))
    x[:, 0] = 1.0
    x[: len(move), 3:], x[len(move) :, 1:3] = move, imagine
    y = np.concatenate([run.targets[:, 0] for run in runs[:2]])
    weights = np.linalg.lstsq(x, y, rcond=None)[0]
    assert course.design is not None
    assert found == pytest.approx(weights[0] + course.design @ weights[1:3])


def test_a_task_that_no_training_run_has_is_predicted_by_nobody(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = ("imagine", "imagine", "imagine", "move")
    store, predictor = of_tasks(prepared, tmp_path, tasks)
    report = evaluate(predictor, store, tmp_path / "card")
    assert report["skill_design"] is None
    assert report["runs"][0]["r_of_design"] is None
    assert report["task"]
    print_report(report)
    said = " ".join(capsys.readouterr().out.split())
    assert "over the task design - (a held-out run's task is in no training run)" in said
    assert "partial r given the design" in said  # of the run's own, which needs no weight


def test_runs_at_rest_go_with_runs_of_a_task(prepared: Path, tmp_path: Path) -> None:
    store, predictor = of_tasks(prepared, tmp_path, ("", "imagine", "imagine", "imagine"))
    report = evaluate(predictor, store, tmp_path / "card")
    assert report["skill_design"] is not None


def test_without_any_task_there_is_no_baseline_of_it(prepared: Path, tmp_path: Path) -> None:
    store, predictor = of_tasks(prepared, tmp_path, ("", "", "", ""))
    report = evaluate(predictor, store, tmp_path / "card")
    assert (report["task"], report["skill_design"]) == (False, None)
