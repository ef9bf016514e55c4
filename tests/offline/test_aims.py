"""Regions ahead of time: several leads of one window, trained, named and judged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from offline.evaluate import evaluate
from offline.store.aims import Aims
from offline.store.dataset import Run, Store
from offline.train import TrainConfig, train
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.predictor import Predictor


def run_of(courses: np.ndarray, tr: float = 2.0) -> Run:
    """Return what of a run is looked at."""
    manifest = SimpleNamespace(tr=tr, conditions=("imagery",))
    names = [f"roi {i}" for i in range(courses.shape[1])]
    found = SimpleNamespace(
        name="run", manifest=manifest, targets=courses, target_names=names, task=courses > 0
    )
    return cast(Run, found)


def test_ahead_is_the_course_some_volumes_later_and_unknown_at_the_end() -> None:
    course = np.random.default_rng(0).normal(size=(10, 2))
    found = Aims(("roi 1", "roi 0"), ahead=(0.0, 4.0)).courses(run_of(course))
    assert np.array_equal(found[:, :2], course[:, ::-1])
    assert np.array_equal(found[:8, 2:], course[2:, ::-1])
    assert np.isnan(found[8:, 2:]).all()


def test_between_volumes_it_is_interpolated() -> None:
    course = np.arange(10.0)[:, None] ** 2
    found = Aims(("roi 0",), ahead=(3.0,)).courses(run_of(course))[:, 0]
    assert found[:8] == pytest.approx((course[1:9, 0] + course[2:, 0]) / 2)
    assert np.isnan(found[8:]).all()


def test_a_course_that_is_not_there_is_named() -> None:
    with pytest.raises(DatasetError, match="no target 'hand'"):
        Aims(("hand",)).courses(run_of(np.zeros((4, 1))))


@pytest.mark.parametrize("name", ["ridge", "tcn"])
def test_several_leads_go_over_the_wire_and_the_first_is_judged(
    store_copy: Store, tmp_path: Path, name: str
) -> None:
    small: dict[str, Any] = {"length": 4.0} | ({"blocks": 2} if name == "tcn" else {})
    config = {"model": {"name": name, **small}, "ahead": [0.0, 2.0, 4.0], "fit": {"epochs": 1}}
    spec = train(store_copy, tmp_path / "out", TrainConfig.model_validate(config))
    names = ["motor", "spheres", "motor+2s", "spheres+2s", "motor+4s", "spheres+4s"]
    assert [target.name for target in spec.targets] == names
    assert [target.ahead for target in spec.targets] == [0.0, 0.0, 2.0, 2.0, 4.0, 4.0]
    predictor = Predictor.load(tmp_path / "out", "cpu")
    found = predictor(np.full(predictor.shape, -11.0, dtype=np.float32))
    assert list(found) == names
    assert evaluate(predictor, store_copy, tmp_path / "card")["target"] == "motor"
    assert Aims.of_targets(spec.targets, of_task=False) == Aims(
        ("motor", "spheres"), ahead=(0.0, 2.0, 4.0)
    )


def test_a_lead_alone_is_judged_by_what_was_measured_then(
    store_copy: Store, tmp_path: Path
) -> None:
    values = {"model": {"name": "ridge", "length": 4.0}, "ahead": [4.0]}
    train(store_copy, tmp_path / "out", TrainConfig.model_validate(values))
    report = evaluate(Predictor.load(tmp_path / "out", "cpu"), store_copy, tmp_path / "card")
    (said,) = report["runs"]
    later = store_copy.runs[said["name"]].targets[np.array(said["volumes"]) + 2, 0]
    assert said["measured"] == later.tolist()
    assert said["ceiling_r"] is None


def test_leads_in_a_split_that_cuts_runs_are_refused(store: Store, tmp_path: Path) -> None:
    split = {"kind": "shuffled", "allow_shuffled": True}
    values = {"split": split, "ahead": [0.0, 2.0], "model": {"name": "ridge", "length": 4.0}}
    with pytest.raises(ConfigError, match=r"splits of whole runs.+shuffled"):
        train(store, tmp_path / "out", TrainConfig.model_validate(values))
