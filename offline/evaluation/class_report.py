"""What a head of classes told of what was held out, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from offline.evaluation.class_scores import class_scores
from offline.evaluation.report import Course, table
from offline.splits.blocks import BESIDE
from offline.store.aims import Aims
from offline.store.dataset import Run, Store, window_at
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.models import EEGNet
from rtfeedback.models.layers.classes import Classes, Levels
from rtfeedback.models.monte_carlo import MonteCarlo, network_of
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Int64

REST = "rest"


def class_report(
    predictor: Predictor, store: Store, courses: Sequence[Course]
) -> list[dict[str, Any]]:
    """Return the scores of what is told apart: each target's levels, or the conditions.

    The class that is predicted is the likeliest one. Nothing comes back of a model without
    classes.

    Parameters
    ----------
    predictor : Predictor
    store : Store
    courses : sequence of Course
        Which volumes of which runs were held out.
    """
    model, spec = network_of(predictor.checkpoint.model), predictor.spec
    if not isinstance(model, EEGNet) or model.classes is None:
        return []
    runs = [store.runs[course.name] for course in courses]
    measured = [
        _measured(model.classes, spec, run, course.volumes)
        for run, course in zip(runs, courses, strict=True)
    ]
    told = [
        _predicted(predictor, run, course.volumes)
        for run, course in zip(runs, courses, strict=True)
    ]
    seconds = spec.window.length + BESIDE  # as far as a volume's neighbours are like it
    of_levels = isinstance(model.classes, Levels)
    task = of_levels and any(run.manifest.conditions for run in runs)
    return [
        _scores(
            name,
            classes,
            [each[:, i] for each in measured],
            [each[:, i] for each in told],
            ceil(seconds / spec.tr),
        )
        | {"includes_task": task}
        for i, (name, classes) in enumerate(_names(model.classes, spec))
    ]


def _names(classes: Classes, spec: CheckpointSpec) -> list[tuple[str, list[str]]]:
    """Return what is told apart, and the names of its classes."""
    targets = [target.name for target in spec.targets]
    if not isinstance(classes, Levels):
        return [("condition", [REST, *targets])]
    n_levels = classes.values.shape[1]
    return [(name, [f"level {i}" for i in range(1, n_levels + 1)]) for name in targets]


def _measured(classes: Classes, spec: CheckpointSpec, run: Run, volumes: Int64) -> Int64:
    """Return the classes of volumes, shape (n, n_told)."""
    aims = Aims.of_targets(spec.targets, of_task=spec.model.of_task)
    mean, sd = np.array([(target.mean, target.sd) for target in spec.targets]).T
    z = (aims.courses(run)[volumes] - mean) / sd
    device = next(classes.buffers()).device
    found = classes.of(torch.from_numpy(z).float().to(device))
    return np.asarray(found.cpu().numpy().reshape(len(z), -1))


@torch.inference_mode()
def _predicted(predictor: Predictor, run: Run, volumes: Int64) -> Int64:
    """Return the likeliest classes for volumes, shape (n, n_told), window by window."""
    spec, features = predictor.spec, run.features(predictor.spec.model.chain)
    examples = run.examples(spec.model.chain, spec.window)
    ends = examples.ends[np.isin(examples.volumes, volumes)]
    found = []
    for end in ends:
        window = window_at(features, int(end), predictor.shape[1])
        x = torch.from_numpy(window)[None].to(predictor.device)
        likely = _probabilities(predictor.checkpoint.model, x)
        found.append(likely.argmax(dim=-1).cpu().numpy().ravel())
    return np.stack(found)


def _probabilities(model: nn.Module, x: Tensor) -> Tensor:
    network = network_of(model)
    assert isinstance(network, EEGNet)
    if isinstance(model, MonteCarlo):
        return model.mean_of(network.probabilities, x)
    return network.probabilities(x)


def _scores(
    name: str, classes: list[str], measured: list[Int64], predicted: list[Int64], block: int
) -> dict[str, Any]:
    # A short run is cut into two blocks at least, which there have to be.
    block = max(1, min(block, max(map(len, measured)) // 2))
    scores = class_scores(measured, predicted, n_classes=len(classes), block=block)
    return {
        "of": name,
        "classes": classes,
        "confusion": scores.confusion.tolist(),
        "accuracy": scores.accuracy,
        "balanced_accuracy": scores.balanced_accuracy,
        "chance": 1.0 / int(np.sum(scores.confusion.sum(axis=1) > 0)),
        "precision": scores.precision.tolist(),
        "recall": scores.recall.tolist(),
        "f1": scores.f1.tolist(),
        "p": scores.p,
        "n_permutations": scores.n_permutations,
        "block": scores.block,
    }


def print_classes(report: dict[str, Any]) -> None:
    """Print the confusion of one of what `class_report` returns, and its scores."""
    names = report["classes"]
    rows: list[list[str | float | None]] = [
        [name, *counts, recall, f1]
        for name, counts, recall, f1 in zip(
            names, report["confusion"], report["recall"], report["f1"], strict=True
        )
    ]
    headers = ["measured", *(f"as {name}" for name in names), "recall", "F1"]
    table(rows, headers, f"Classes of '{report['of']}' in all held-out runs, in volumes")
    print(  # noqa: T201
        f"Balanced accuracy {report['balanced_accuracy']:.3f}, where chance is"
        f" {report['chance']:.3f}: p = {report['p']:.3f} ({report['n_permutations']}"
        f" permutations of blocks of {report['block']} volumes); accuracy"
        f" {report['accuracy']:.3f}."
        f"{' It includes the task.' if report['includes_task'] else ''}"
    )
