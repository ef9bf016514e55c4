"""What the task alone would predict of held-out runs, fitted on the training runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from offline.evaluation.held_out import training_volumes
from offline.evaluation.report import Course
from offline.store.aims import Aims
from offline.store.dataset import Run, Store
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.signals import Float64


def predicted_by_task(
    spec: CheckpointSpec, store: Store, courses: Sequence[Course]
) -> list[Float64 | None]:
    """Predict each held-out course by its task.

    Runs may be of several tasks: a condition has the weight that it has over all training
    runs. One that none of them has is not known to anybody before the run, so a run of it
    is not predicted.

    Parameters
    ----------
    spec : CheckpointSpec
    store : Store
    courses : sequence of Course

    Returns
    -------
    list of float64, shape (n_volumes,), or None
        None for all where no run has a task.
    """
    training = [store.runs[name] for name in spec.training.train]
    names = sorted({name for run in training for name in run.manifest.conditions})
    held = [store.runs[course.name] for course in courses]
    if not names and not any(run.manifest.conditions for run in held):
        return [None] * len(courses)
    rows = [training_volumes(spec, run) for run in training]
    x = [_design(run, run.design[r], names) for run, r in zip(training, rows, strict=True)]
    aims = Aims.of_targets(spec.targets, of_task=False)
    y = [aims.courses(run)[r, 0] for run, r in zip(training, rows, strict=True)]
    weights = np.linalg.lstsq(np.concatenate(x), np.concatenate(y), rcond=None)[0]
    found: list[Float64 | None] = []
    for run, course in zip(held, courses, strict=True):
        assert course.design is not None  # of no column without a task
        known = set(run.manifest.conditions) <= set(names)
        found.append(_design(run, course.design, names) @ weights if known else None)
    return found


def _design(run: Run, design: Float64, names: Sequence[str]) -> Float64:
    """Return a run's regressors in the columns of all conditions, and a constant."""
    own = run.manifest.conditions
    found = np.zeros((len(design), 1 + 2 * len(names)))
    found[:, 0] = 1.0
    for i, name in enumerate(own):
        if name in names:
            j = 1 + 2 * names.index(name)
            found[:, j : j + 2] = design[:, 2 * i : 2 * i + 2]  # response and derivative
    return found
