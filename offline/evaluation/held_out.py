"""What a checkpoint predicts of what its training held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from offline.evaluation.report import Course
from offline.store.aims import Aims
from offline.store.dataset import Examples, Run, Store, window_at
from rtfeedback.checkpoint import CheckpointSpec, Target
from rtfeedback.errors import DatasetError
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float64, Int64


@dataclass(frozen=True, slots=True)
class Predicted:
    """What was predicted of a held-out run.

    Attributes
    ----------
    course : Course
        The volumes with a valid window, with measured and predicted.
    z : float64, shape (n_volumes,)
        The predictions' z.
    artefacts : int64, shape (n_left_out,)
        Volumes whose window is invalid for its artefacts, as it would be in the lab.
    unbroken : Course
        From the first valid volume to the last, interpolated linearly over those left
        out or without a target: surrogates take a spectrum, and so equal spaces.
    """

    course: Course
    z: Float64
    artefacts: Int64
    unbroken: Course
    sd: Float64 | None = None

    def errors(self, target: Target) -> tuple[Float64, Float64] | None:
        """Return measured less predicted, and the stated sd, in z; None without an sd."""
        if self.sd is None:
            return None
        return (self.course.measured - self.course.predicted) / target.sd, self.sd


def predict_held_out(
    predictor: Predictor, run: Run, part: Literal["validation", "test"] = "test"
) -> Predicted:
    """Return what is predicted of a run's first target, window by window.

    Raises
    ------
    DatasetError
        If the run is too short for one window, or has none that counts.
    """
    spec, (_, n_times) = predictor.spec, predictor.shape
    examples = _held_out(spec, run, part)
    if len(examples.volumes) == 0:
        raise DatasetError(f"The held-out run {run.name} is too short for one window")
    if not examples.allowed.any():
        raise DatasetError(
            f"No window of the held-out run {run.name} is free enough of artefacts",
            found=f"All {len(examples.volumes)} hold more that is masked than the chain allows",
            do="Look at its EEG, and hold out another run",
        )
    known = examples.allowed & np.isfinite(_measured(spec, run)[examples.volumes])
    if not known.any():
        raise DatasetError(
            f"No volume of the held-out run {run.name} has a target",
            found="All that have a valid window were scrubbed",
            do="Scrub less, or hold out another run",
        )
    features, volumes = run.features(spec.model.chain), examples.volumes[known]
    target = spec.targets[0].name
    found = [
        predictor(window_at(features, int(end), n_times))[target]
        for end in examples.ends[known]
    ]
    course = _course(predictor, run, volumes, np.array([roi.raw for roi in found]))
    return Predicted(
        course=course,
        z=np.array([roi.z for roi in found]),
        artefacts=examples.volumes[~examples.allowed],
        unbroken=_unbroken(predictor, run, course),
        sd=np.array([roi.sd for roi in found]) if found[0].sd is not None else None,
    )


def _held_out(spec: CheckpointSpec, run: Run, part: str) -> Examples:
    """Return the windows of a run that are for a part: all, unless the split cut it."""
    every = run.examples(spec.model.chain, spec.window)
    if not spec.training.volumes:
        return every
    held = np.isin(every.volumes, spec.training.volumes[part][run.name])
    return Examples(every.volumes[held], every.ends[held], every.allowed[held])


def _unbroken(predictor: Predictor, run: Run, course: Course) -> Course:
    every = np.arange(course.volumes[0], course.volumes[-1] + 1)
    predicted = np.interp(every, course.volumes, course.predicted)
    measured = _measured(predictor.spec, run)[every]
    gone = np.isnan(measured)
    filled = np.interp(every, course.volumes, course.measured)
    whole = _course(predictor, run, every, predicted)
    return replace(whole, measured=np.where(gone, filled, measured))


def _course(predictor: Predictor, run: Run, volumes: Int64, predicted: Float64) -> Course:
    times = (volumes + predictor.spec.window.slice_ref) * run.manifest.tr
    of_task = predictor.spec.model.of_task  # which explains itself
    truth = _truth(predictor.spec, run)
    return Course(
        name=run.name,
        volumes=volumes,
        times=np.asarray(times, dtype=np.float64),
        measured=np.array(_measured(predictor.spec, run)[volumes]),
        predicted=predicted,
        design=np.array(run.design[volumes, : 0 if of_task else None]),
        truth=None if truth is None else np.array(truth[volumes]),
    )


def _measured(spec: CheckpointSpec, run: Run) -> Float64:
    """Return the first target's course, shape (n_volumes,)."""
    aims = Aims.of_targets(spec.targets, of_task=spec.model.of_task)
    return np.asarray(aims.courses(run)[:, 0])


def _truth(spec: CheckpointSpec, run: Run) -> Float64 | None:
    """Return what a simulation knows of the first target, if it does."""
    first = spec.targets[0]
    if run.truth is None or spec.model.of_task or first.ahead:
        return None
    return np.asarray(run.truth[:, run.target_names.index(first.of)])


def check_store(spec: CheckpointSpec, store: Store) -> None:
    """Refuse another store than the one that a checkpoint was trained on.

    Raises
    ------
    DatasetError
    """
    if spec.training.store != store.hash:
        raise DatasetError(
            f"The checkpoint was not trained on the store {store.path}",
            found=f"It names {spec.training.store[:12]}, this one is {store.hash[:12]}",
            do="Name the store that it was trained on: it knows what was held out",
        )
    if spec.chain != store.chain(spec.model.chain):
        raise DatasetError(
            f"The chain of the store {store.path} is not the checkpoint's",
            found="By EEG alone it was calibrated for another subject or day"
            if spec.calibrations
            else "The store has other artefact limits",
            do="Evaluate its parent, or calibrate it by a store of the subject's own runs",
        )


def held_out_runs(
    spec: CheckpointSpec, part: Literal["validation", "test"] = "test"
) -> list[str]:
    """Return the runs that have something held out."""
    held, names = spec.training.volumes.get(part, {}), getattr(spec.training, part)
    return [name for name in names if not held or held[name]]


def training_volumes(spec: CheckpointSpec, run: Run) -> Int64:
    """Return the volumes of a training run that have a target and were trained on."""
    known = np.flatnonzero(np.isfinite(_measured(spec, run)))
    if not spec.training.volumes:
        return known
    return np.intersect1d(known, spec.training.volumes["train"][run.name])
