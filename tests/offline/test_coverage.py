"""How far a stated sd can be believed, and what would mend it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from offline.evaluate import COVERAGE, FIGURE, REPORT, evaluate, print_report
from offline.evaluation.coverage import (
    LEVELS,
    coverage,
    mending_factor,
    uncertainty_line,
    uncertainty_report,
)
from offline.store.dataset import Store
from offline.train import TrainConfig, train
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float64

RUN = "sub-01_task-motorimagery_run-0{}"
RECIPE = {
    "model": {"name": "tcn", "length": 4.0, "blocks": 2, "width": 4, "variance": True},
    "fit": {"epochs": 2, "batch": 16, "loss": "nll"},
}


def drawn(n: int, times: float, seed: int = 0) -> tuple[Float64, Float64]:
    """Return Gaussian errors and sds of all sizes, stated too small by a factor."""
    rng = np.random.default_rng(seed)
    sd = rng.uniform(0.3, 3.0, n)
    return rng.normal(0, sd), sd / times


def test_of_a_model_that_is_as_sure_as_it_should_be_coverage_is_the_level() -> None:
    np.testing.assert_allclose(coverage(*drawn(40_000, 1.0)), LEVELS, atol=0.01)


def test_one_that_is_too_sure_covers_less_and_one_that_is_not_sure_enough_more() -> None:
    assert np.all(coverage(*drawn(4000, 2.0)) < np.array(LEVELS) - 0.1)
    assert np.all(coverage(*drawn(4000, 0.3)) > LEVELS)


def test_an_sd_of_nothing_covers_nothing_but_what_is_exact() -> None:
    error = np.array([0.0, 0.0, 1e-9, -1.0])
    assert coverage(error, np.zeros(4)).tolist() == [0.5] * len(LEVELS)


@pytest.mark.parametrize("times", [0.4, 1.0, 2.5])
def test_the_factor_mends_what_the_sd_was_out_by(times: float) -> None:
    error, sd = drawn(20_000, times, seed=1)
    assert mending_factor(error, sd) == pytest.approx(times, rel=0.03)
    report = uncertainty_report(drawn(20_000, times), (error, sd))
    np.testing.assert_allclose(report["coverage_mended"], LEVELS, atol=0.015)


def test_the_factor_is_the_validation_parts_alone() -> None:
    validation = drawn(500, 2.0, seed=1)
    reports = [uncertainty_report(drawn(300, times), validation) for times in (1.0, 4.0)]
    assert reports[0]["factor"] == reports[1]["factor"] == mending_factor(*validation)
    alone = uncertainty_report(drawn(300, 1.0), None)
    assert (alone["factor"], alone["coverage_mended"], alone["n_validation"]) == (None, None, 0)
    assert "no validation part" in uncertainty_line(alone)


def test_an_sd_of_nothing_is_mended_by_no_factor() -> None:
    error, sd = drawn(50, 1.0)
    report = uncertainty_report((error, sd), (error, np.where(np.arange(50) == 7, 0.0, sd)))
    json.dumps(report, allow_nan=False)
    assert (report["factor"], report["coverage_mended"]) == (None, None)
    assert "mended by no factor" in uncertainty_line(report)


@pytest.fixture(scope="module")
def gaussian(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gaussian") / "tcn"
    train(Store(prepared), out, TrainConfig.model_validate(RECIPE))
    return out


def test_evaluate_tells_the_coverage_of_a_stated_sd(
    gaussian: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = evaluate(Predictor.load(gaussian, "cpu"), store, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted([REPORT, FIGURE, COVERAGE])
    written = json.loads((tmp_path / "out" / REPORT).read_text())["uncertainty"]
    assert written == report["uncertainty"]
    assert written["n"] == report["runs"][0]["n_volumes"]
    assert written["n_validation"] > 20
    assert written["factor"] > 0
    print_report(report)
    assert "The stated sd's 90 % intervals hold" in capsys.readouterr().out


def test_the_factor_does_not_see_the_test_part(
    gaussian: Path, store: Store, tmp_path: Path
) -> None:
    copy = Store(Path(shutil.copytree(store.path, tmp_path / "store")))
    path = copy.path / RUN.format(4) / "targets.npy"
    targets = np.load(path)
    np.save(path, np.random.default_rng(0).normal(0, 9, targets.shape))
    predictor = Predictor.load(gaussian, "cpu")
    one = evaluate(predictor, store, tmp_path / "one")["uncertainty"]
    other = evaluate(predictor, copy, tmp_path / "other")["uncertainty"]
    assert one["factor"] == other["factor"]
    assert one["coverage"] != other["coverage"]


def test_of_a_model_that_states_no_sd_nothing_is_said(
    ridge: Path, store: Store, tmp_path: Path
) -> None:
    report = evaluate(Predictor.load(ridge, "cpu"), store, tmp_path / "out")
    assert report["uncertainty"] is None
    assert not (tmp_path / "out" / COVERAGE).exists()
