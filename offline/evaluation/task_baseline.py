"""What the task alone would predict of held-out runs, fitted on the training runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from offline.evaluation.held_out import training_volumes
from offline.evaluation.report import Course
from offline.store.aims import Aims
from offline.store.dataset import Run, Store
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.signals import Float32, Float64, Int64

RANK = 1e-12  # of the largest singular value: regressors below it say nothing new
Measured = Callable[[Run, Int64], Float32 | Float64]
"""What was measured in some volumes of a run, shape (n_volumes, ...)."""


@dataclass(frozen=True, slots=True)
class TaskBaseline:
    """What each condition of the task adds to what is measured.

    Attributes
    ----------
    names : list of str
        The conditions of the training runs.
    weights : float64, shape (1 + 2 * n_conditions, ...)
        Of a constant, and of each condition's response and its derivative.
    """

    names: list[str]
    weights: Float64

    def knows(self, run: Run) -> bool:
        """Return whether a run is of conditions that a training run had."""
        return set(run.manifest.conditions) <= set(self.names)

    def __call__(self, run: Run, design: Float64) -> Float64:
        """Predict a run that it knows, (n_volumes, ...), by its design in some volumes."""
        return np.asarray(_design(run, design, self.names) @ self.weights)


def task_baseline(
    spec: CheckpointSpec, store: Store, held: Sequence[Run], measured: Measured
) -> TaskBaseline | None:
    """Fit the task to what was measured in a checkpoint's training runs, one after another.

    Parameters
    ----------
    spec : CheckpointSpec
    store : Store
    held : sequence of Run
        What is to be predicted: None comes back where no run, these included, has a task.
    measured : callable
    """
    training = [store.runs[name] for name in spec.training.train]
    names = sorted({name for run in training for name in run.manifest.conditions})
    if not names and not any(run.manifest.conditions for run in held):
        return None
    rows = [training_volumes(spec, run) for run in training]
    x = [_design(run, run.design[r], names) for run, r in zip(training, rows, strict=True)]
    # The least squares' solution is a sum over runs, so one run's volumes are held at a time.
    cut = np.cumsum([len(each) for each in x])[:-1]
    solving = np.split(np.linalg.pinv(np.concatenate(x), rcond=RANK), cut, axis=1)
    weights = sum(
        each @ measured(run, r) for each, run, r in zip(solving, training, rows, strict=True)
    )
    return TaskBaseline(names, np.asarray(weights, dtype=np.float64))


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
    held = [store.runs[course.name] for course in courses]
    aims = Aims.of_targets(spec.targets, of_task=False)
    task = task_baseline(spec, store, held, lambda run, rows: aims.courses(run)[rows, 0])
    if task is None:
        return [None] * len(courses)
    found: list[Float64 | None] = []
    for run, course in zip(held, courses, strict=True):
        assert course.design is not None  # of no column without a task
        found.append(task(run, course.design) if task.knows(run) else None)
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
