"""What a checkpoint is worth on the held-out runs, beside what costs nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from offline.evaluation.class_report import class_report, print_classes
from offline.evaluation.coverage import (
    coverage_figure,
    uncertainty_line,
    uncertainty_report,
)
from offline.evaluation.held_out import (
    Predicted,
    check_store,
    held_out_runs,
    predict_held_out,
)
from offline.evaluation.metrics import pearson, r2, skill
from offline.evaluation.report import Course, course_figure, table
from offline.evaluation.surrogates import SurrogateTest, surrogate_test
from offline.evaluation.task_baseline import predicted_by_task
from offline.evaluation.volume_report import VolumeReport, print_volumes, volume_report
from offline.splits.parts import SHUFFLED
from offline.store.dataset import SEMI_SYNTHETIC, Store
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.errors import listed
from rtfeedback.folders import new_folder
from rtfeedback.models.monte_carlo import network_of
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float64

SURROGATES = 999
REPORT, FIGURE, COVERAGE = "evaluation.json", "courses.png", "coverage.png"
# Of models of whole volumes.
VOLUMES, R_MAP, PARTIAL_R_MAP = "volumes.png", "volume_r.nii.gz", "volume_partial_r.nii.gz"


def evaluate(predictor: Predictor, store: Store, out: Path) -> dict[str, Any]:
    """Predict the held-out runs as the daemon would, and report what that is worth.

    Windows go one at a time through the one `Predictor`, so the values are those that
    the daemon publishes.

    Returns
    -------
    dict
        What `evaluation.json` holds.

    Raises
    ------
    DatasetError
        If the store is not the one that the checkpoint was trained on, or a held-out
        run is too short for one window.
    OutputError
        If `out` is there already or cannot be written.
    """
    spec = predictor.spec
    check_store(spec, store)
    with new_folder(out) as folder:
        reads = store.count_test_read()
        found = [predict_held_out(predictor, store.runs[name]) for name in held_out_runs(spec)]
        courses = [each.course for each in found]
        test = _partial([each.unbroken for each in found])
        report = _report(predictor, store, courses, test, reads)
        report["classes"] = class_report(predictor, store, courses)
        volumes = volume_report(predictor, store, courses)
        report["whole_volumes"] = volumes.scores if volumes else None
        report["uncertainty"] = _uncertainty(predictor, store, found)
        for run, each in zip(report["runs"], found, strict=True):
            run["z"] = each.z.tolist()
            run["artefacts"] = each.artefacts.tolist()
        text = json.dumps(report, indent=1, allow_nan=False) + "\n"
        (folder / REPORT).write_text(text, encoding="utf-8")
        title = f"{spec.model.name}: held-out runs, '{spec.targets[0].name}'"
        course_figure(folder / FIGURE, courses, title, report["note"])
        if volumes:
            _draw_volumes(folder, predictor, volumes, report["note"])
        if report["uncertainty"]:
            coverage_figure(folder / COVERAGE, report["uncertainty"], title)
    return report


def print_report(report: dict[str, Any]) -> None:
    """Print a report's table."""
    if report["semi_synthetic"]:
        print(SEMI_SYNTHETIC)  # noqa: T201
    if report["split"]["kind"] == "shuffled":
        print(SHUFFLED)  # noqa: T201
    if report["interpolated"]:
        print(report["interpolated"])  # noqa: T201
    headers = ["held-out run", "volumes", "r", "R2", "design r", "design R2", "ceiling r"]
    keys = ("r", "r2", "r_of_design", "r2_of_design", "ceiling_r")
    rows = [
        [run["name"], str(run["n_volumes"]), *(_number(run[key]) for key in keys)]
        for run in report["runs"]
    ]
    design = report["task"]
    title = f"{report['model']}: predicting '{report['target']}'; R2 is over the training mean"
    table(rows, headers, f"{title}; a plain r includes the task" if design else title)
    print(_summary(report, design))  # noqa: T201
    if report["uncertainty"]:
        print(uncertainty_line(report["uncertainty"]))  # noqa: T201
    for classes in report["classes"]:
        print_classes(classes)
    if report["whole_volumes"]:
        print_volumes(report["whole_volumes"])


def _summary(report: dict[str, Any], design: bool) -> str:
    partial = report["partial"]
    beside = f", over the task design {_number(report['skill_design'])}" if design else ""
    if design and report["skill_design"] is None:
        beside += " (a held-out run's task is in no training run)"
    given = "r (no task events are known; it includes a task if there was one)"
    if report["of_task"]:
        given = "r (of the task itself)"
    elif design:
        given = "partial r given the design"
    return (
        f"All held-out runs: skill over the training mean {_number(report['r2'])}{beside};"
        f" {given} {partial['r']:.3f}, p = {partial['p']:.3f}"
        f" ({partial['n_surrogates']} phase-randomised surrogates)."
        f" {sum(len(run['artefacts']) for run in report['runs'])} windows were invalid for"
        f" their artefacts and count in nothing. The test part was read"
        f" {report['test_reads']} x."
    )


def _draw_volumes(folder: Path, predictor: Predictor, report: VolumeReport, note: str) -> None:
    """Draw whole volumes, and keep the maps of each voxel's r."""
    from offline.evaluation.volume_figure import image, volume_figure

    model = network_of(predictor.checkpoint.model)
    assert isinstance(model, VolumeNetwork)  # of others there is no report
    title = f"{predictor.spec.model.name}: whole volumes of the held-out runs"
    volume_figure(folder / VOLUMES, report, model, title, note)
    image(model, report.r).to_filename(folder / R_MAP)
    if report.partial_r is not None:
        image(model, report.partial_r).to_filename(folder / PARTIAL_R_MAP)


def _uncertainty(
    predictor: Predictor, store: Store, found: Sequence[Predicted]
) -> dict[str, Any] | None:
    """Return how far a stated sd can be believed; None where the model states none.

    Nor of the task: what holds or does not is in no interval about a probability.
    """
    if predictor.spec.model.of_task:
        return None
    target = predictor.spec.targets[0]
    test = _together([each.errors(target) for each in found])
    if test is None:
        return None
    names = held_out_runs(predictor.spec, "validation")
    held = [predict_held_out(predictor, store.runs[name], "validation") for name in names]
    return uncertainty_report(test, _together([each.errors(target) for each in held]))


def _together(
    errors: Sequence[tuple[Float64, Float64] | None],
) -> tuple[Float64, Float64] | None:
    """Return errors and sds of all runs; None where there are none."""
    known = [each for each in errors if each is not None]
    if not known:
        return None
    error, sd = (np.concatenate(each) for each in zip(*known, strict=True))
    return error, sd


def _report(
    predictor: Predictor,
    store: Store,
    courses: Sequence[Course],
    test: SurrogateTest,
    reads: int,
) -> dict[str, Any]:
    spec = predictor.spec
    beside: Sequence[Float64 | None] = [None] * len(courses)
    if not spec.model.of_task:
        beside = predicted_by_task(spec, store, courses)
    known = [each for each in beside if each is not None]
    design = np.concatenate(known) if len(known) == len(courses) else None
    measured = np.concatenate([c.measured for c in courses])
    predicted = np.concatenate([c.predicted for c in courses])
    mean = spec.targets[0].mean
    return {
        "checkpoint": predictor.checkpoint.hash,
        "store": store.hash,
        "model": spec.model.name,
        "target": spec.targets[0].name,
        "of_task": spec.model.of_task,
        "unit": spec.targets[0].unit,
        "semi_synthetic": store.manifest.semi_synthetic,
        "note": _note(spec, store),
        "interpolated": _interpolated(spec, store),
        "split": {
            "kind": spec.training.split,
            "train": spec.training.train,
            "validation": spec.training.validation,
            "test": spec.training.test,
        },
        "test_reads": reads,
        "r2": _finite(r2(measured, predicted, mean)),
        "task": any(course.task is not None for course in courses),
        "skill_design": _over_design(measured, predicted, design),
        "partial": {"r": test.r, "p": test.p, "n": test.n, "n_surrogates": test.n_surrogates},
        "runs": [
            _run_report(course, baseline, mean)
            for course, baseline in zip(courses, beside, strict=True)
        ],
    }


def _note(spec: CheckpointSpec, store: Store) -> str:
    """Return what has to stand above every figure and table."""
    known = {
        SEMI_SYNTHETIC: store.manifest.semi_synthetic,
        SHUFFLED: spec.training.split == "shuffled",
        _interpolated(spec, store): True,
    }
    return " ".join(text for text, holds in known.items() if text and holds)


def _interpolated(spec: CheckpointSpec, store: Store) -> str:
    """Return which channels of held-out runs hold what no live stream's would."""
    runs = [store.runs[name].manifest for name in held_out_runs(spec)]
    found = [f"{run.name} ({', '.join(run.interpolated)})" for run in runs if run.interpolated]
    if not found:
        return ""
    return (
        "Bad channels of held-out runs were interpolated, as those of a live stream cannot"
        f" be: {listed(found)}."
    )


def _over_design(measured: Float64, predicted: Float64, design: Float64 | None) -> float | None:
    return None if design is None else _finite(skill(measured, predicted, design))


def _run_report(course: Course, design: Float64 | None, mean: float) -> dict[str, Any]:
    measured, predicted = course.measured, course.predicted
    return {
        "name": course.name,
        "n_volumes": len(course.volumes),
        "r": pearson(measured, predicted),
        "r2": _finite(r2(measured, predicted, mean)),
        "skill_design": _over_design(measured, predicted, design),
        "r_of_design": None if design is None else pearson(measured, design),
        "r2_of_design": None if design is None else _finite(r2(measured, design, mean)),
        "ceiling_r": None if course.truth is None else pearson(measured, course.truth),
        "volumes": course.volumes.tolist(),
        "measured": measured.tolist(),
        "predicted": predicted.tolist(),
    }


def _partial(courses: Sequence[Course]) -> SurrogateTest:
    return surrogate_test(
        [c.measured for c in courses],
        [c.predicted for c in courses],
        [_design(c) for c in courses],
        volumes_by_run=[c.volumes for c in courses],
        n_surrogates=SURROGATES,
    )


def _design(course: Course) -> Float64:
    assert (
        course.design is not None
    )  # `predict_held_out` gives one, of no column without a task
    return course.design


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
