"""What whole volumes are worth on the held-out runs, beside images that cost nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from offline.evaluation.held_out import training_volumes
from offline.evaluation.metrics import EXPLAINED, nuisance_basis
from offline.evaluation.report import Course, table
from offline.evaluation.similarity import Similarity
from offline.evaluation.task_baseline import TaskBaseline, task_baseline
from offline.store.dataset import Run, Store, window_at
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.models.monte_carlo import network_of
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Bool, Float32, Float64, Int64

PREDICTED, TRAINING, TASK, SUBJECT = "predicted", "training_mean", "task", "subject_mean"
EDGES = (0.1, 99.9)  # percentiles of a volume's voxels between which its range is
DEPLOYABLE = (TRAINING, TASK)  # what could be had in the lab, without EEG
WORDS = {
    PREDICTED: "predicted",
    TRAINING: "training's mean image",
    TASK: "task's design alone (no EEG)",
    SUBJECT: "subject's mean image (reads fMRI)",
}


@dataclass(frozen=True, slots=True)
class VolumeReport:
    """The scores of whole volumes, and what of them is drawn.

    Attributes
    ----------
    scores : dict
        What `evaluation.json` holds.
    r : float64, shape (n_voxels,)
        Over time, each run's means taken out; 0 where either does not change.
    partial_r : float64, shape (n_voxels,), or None
        The same with the task's design taken out of both; None where no task is known.
    run, volume : str, int
        Which held-out volume is shown: that of the median error.
    measured, predicted : float64, shape (n_voxels,)
        That volume.
    """

    scores: dict[str, Any]
    r: Float64
    partial_r: Float64 | None
    run: str
    volume: int
    measured: Float64
    predicted: Float64


def volume_report(
    predictor: Predictor, store: Store, courses: Sequence[Course]
) -> VolumeReport | None:
    """Return the scores of a model's volumes; None of a model of regions.

    Skill is over the mean image of the training part, and over the better of that and what
    the task's design says of each voxel, fitted on the training part. A subject's own mean
    image is of the held-out volumes themselves: it reads the fMRI.

    Parameters
    ----------
    predictor : Predictor
    store : Store
    courses : sequence of Course
        Which volumes of which runs were held out.
    """
    model, spec = network_of(predictor.checkpoint.model), predictor.spec
    if not isinstance(model, VolumeNetwork) or spec.volume is None:
        return None
    runs = [_Scored.of(store.runs[course.name], course) for course in courses]
    task = _by_task(spec, store, runs)
    mean = model.mean.cpu().numpy().astype(np.float64)
    span = _span(predictor, store)
    similar = Similarity(_mask(model), span)
    subjects = _subject_means(runs)
    for run in runs:
        images = {TRAINING: mean, SUBJECT: subjects[run.subject]}
        for i, predicted in enumerate(_predicted(predictor, model, run)):
            if task is not None:
                images[TASK] = task(run.run, run.design[i : i + 1])[0]
            run.take(i, {PREDICTED: predicted, **images}, similar)
    r, design = _r(runs), any(course.task is not None for course in courses)
    partial = _r(runs, partial=True) if design else None
    scores = {
        "unit": spec.volume.unit,
        "grid": list(spec.volume.grid),
        "n_voxels": spec.volume.n_voxels,
        "ssim_range": span,
        **_scores(runs),
        "r_over_time": _of_voxels(r),
        "partial_r_over_time": None if partial is None else _of_voxels(partial),
        "includes_task": design,
        "reads_fmri": [SUBJECT],
        "runs": [{"name": run.run.name, **_scores([run])} for run in runs],
    }
    return VolumeReport(scores, r, partial, *_shown(predictor, model, runs))


def print_volumes(scores: dict[str, Any]) -> None:
    """Print the scores of whole volumes."""
    rows = [
        [WORDS[name], scores["rmse"][name], scores["ssim"][name], scores["skill"].get(name)]
        for name in WORDS
        if name in scores["rmse"]
    ]
    headers = ["image", f"RMSE ({scores['unit']})", "SSIM", "skill over the training's mean"]
    title = f"Whole volumes: {scores['n_volumes']} held out, {scores['n_voxels']} voxels"
    table(rows, headers, title)
    said = (
        f"Each voxel's r over time, each run's mean taken out: {_said(scores['r_over_time'])}."
    )
    if scores["includes_task"]:
        said += (
            f" It includes the task. Given the design: {_said(scores['partial_r_over_time'])}."
        )
    if scores["skill_over_best"] is not None:
        said += (
            f" Skill over the best image that takes no EEG: {scores['skill_over_best']:.3f}."
        )
    if scores["includes_task"] and TASK not in scores["rmse"]:
        said += " A held-out run's task is in no training run, so nobody could tell by it."
    print(said)  # noqa: T201


def _of_voxels(r: Float64) -> dict[str, float]:
    return {
        "median": float(np.median(r)),
        "mean": float(np.mean(r)),
        "lowest": float(np.min(r)),
        "highest": float(np.max(r)),
        "share_above_0": float(np.mean(r > 0)),
    }


def _said(r: dict[str, float]) -> str:
    return (
        f"median {r['median']:.3f}, from {r['lowest']:.3f} to {r['highest']:.3f};"
        f" {r['share_above_0']:.0%} are above 0"
    )


def _by_task(
    spec: CheckpointSpec, store: Store, runs: Sequence[_Scored]
) -> TaskBaseline | None:
    """Return what the task says of voxels; None where it says nothing of one of the runs."""
    held = [run.run for run in runs]
    task = task_baseline(spec, store, held, lambda run, rows: run.voxels[rows])
    return task if task is not None and all(map(task.knows, held)) else None


@dataclass
class _Scored:
    """A held-out run, and the sums that its scores are made of."""

    run: Run
    volumes: Int64
    design: Float64
    errors: dict[str, list[float]] = field(default_factory=dict)  # mean squares, by volume
    ssim: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = [bool(np.isfinite(self.run.voxels[v]).all()) for v in self.volumes]
        self.volumes, self.design = self.volumes[known], self.design[known]
        self._basis = nuisance_basis(self.design, len(self.volumes))
        n = self.run.voxels.shape[1]
        self.mean = np.mean(self.run.voxels[self.volumes], axis=0, dtype=np.float64)
        self._pp, self._pm, self._mm, self._p = np.zeros((4, n))
        self._by_p, self._by_m = np.zeros((2, self._basis.shape[1], n))

    @classmethod
    def of(cls, run: Run, course: Course) -> _Scored:
        assert course.design is not None  # of no column without a task
        return cls(run, course.volumes, course.design)

    @property
    def subject(self) -> str:
        return self.run.manifest.subject

    def measured(self, i: int) -> Float64:
        return np.asarray(self.run.voxels[self.volumes[i]], dtype=np.float64)

    def take(self, i: int, images: dict[str, Float64], similar: Similarity) -> None:
        """Compare the i-th measured volume with images of it."""
        measured = self.measured(i)
        for name, image in images.items():
            self.errors.setdefault(name, []).append(float(np.mean((image - measured) ** 2)))
            self.ssim.setdefault(name, []).append(similar(image, measured))
        # About means that are near, so that no sum of squares drowns what varies.
        p, m = images[PREDICTED] - images[TRAINING], measured - self.mean
        self._p += p
        self._pp += p * p
        self._pm += p * m
        self._mm += m * m
        self._by_p += np.outer(self._basis[i], p)
        self._by_m += np.outer(self._basis[i], m)

    def products(self, *, partial: bool = False) -> tuple[Float64, Float64, Float64]:
        """Return sums over time of p * m, p * p and m * m, each about its mean in the run.

        Partial ones are of what the task's design leaves of each.
        """
        n = len(self.volumes)
        pm, pp, mm = self._pm, self._pp - self._p**2 / n, self._mm
        if partial:
            pm = pm - (self._by_p * self._by_m).sum(axis=0)
            pp, mm = pp - (self._by_p**2).sum(axis=0), mm - (self._by_m**2).sum(axis=0)
        return pm, np.maximum(pp, 0.0), np.maximum(mm, 0.0)


def _predicted(predictor: Predictor, model: VolumeNetwork, run: _Scored) -> Iterator[Float64]:
    """Yield what is predicted for each volume of a run, window by window."""
    spec, n_times = predictor.spec, predictor.shape[1]
    features = run.run.features(spec.model.chain)
    every = run.run.examples(spec.model.chain, spec.window)
    voxels = model.voxels.cpu().numpy()
    for end in every.ends[np.isin(every.volumes, run.volumes)]:
        predictor(window_at(features, int(end), n_times))
        volume = predictor.volume()
        assert volume is not None  # of a model of volumes
        yield volume.reshape(-1)[voxels].astype(np.float64)


def _scores(runs: Sequence[_Scored]) -> dict[str, Any]:
    """Return the errors, likeness and skill of each image over some runs."""
    names = [name for name in WORDS if name in runs[0].errors]
    errors = {name: np.concatenate([run.errors[name] for run in runs]) for name in names}
    mse = {name: float(np.mean(each)) for name, each in errors.items()}
    nothing = mse[TRAINING] == 0.0  # to gain
    best = min(mse[name] for name in names if name in DEPLOYABLE)
    return {
        "n_volumes": len(errors[PREDICTED]),
        "rmse": {name: float(np.sqrt(each)) for name, each in mse.items()},
        "ssim": {
            name: float(np.mean(np.concatenate([run.ssim[name] for run in runs])))
            for name in names
        },
        "skill": {
            name: None if nothing else 1.0 - mse[name] / mse[TRAINING]
            for name in names
            if name != TRAINING
        },
        "skill_over_best": 1.0 - mse[PREDICTED] / best if best else None,
    }


def _r(runs: Sequence[_Scored], *, partial: bool = False) -> Float64:
    """Return each voxel's r over time in all runs, each about its own means."""
    both, predicted, measured = np.sum([run.products(partial=partial) for run in runs], axis=0)
    size = np.sqrt(predicted * measured)
    # What float32 rounds a constant prediction by is no course.
    changes = predicted > EXPLAINED**2 * measured
    return np.where(changes & (size > 0), both / np.where(size > 0, size, 1.0), 0.0)


def _subject_means(runs: Sequence[_Scored]) -> dict[str, Float64]:
    """Return the mean of all held-out volumes of each subject."""
    means = {}
    for subject in {run.subject for run in runs}:
        own = [run for run in runs if run.subject == subject]
        weights = [len(run.volumes) for run in own]
        means[subject] = np.average([run.mean for run in own], axis=0, weights=weights)
    return means


def _shown(
    predictor: Predictor, model: VolumeNetwork, runs: Sequence[_Scored]
) -> tuple[str, int, Float64, Float64]:
    """Return run, number, what was measured and predicted of the volume of median error."""
    errors = np.concatenate([run.errors[PREDICTED] for run in runs])
    of = np.repeat(np.arange(len(runs)), [len(run.volumes) for run in runs])
    which = int(np.argsort(errors, kind="stable")[len(errors) // 2])
    run = runs[of[which]]
    i = which - int(np.flatnonzero(of == of[which])[0])
    lone = _Scored(run.run, run.volumes[i : i + 1], run.design[i : i + 1])
    (predicted,) = _predicted(predictor, model, lone)
    return run.run.name, int(run.volumes[i]), run.measured(i), predicted


def _mask(model: VolumeNetwork) -> Bool:
    mask = np.zeros(np.prod(model.spec.grid), dtype=np.bool_)
    mask[model.voxels.cpu().numpy()] = True
    return mask.reshape(model.spec.grid)


def _span(predictor: Predictor, store: Store) -> float:
    """Return the range of a typical volume of the training part, in the volumes' unit.

    Of its voxels but the thousandth at either end: by its extremes alone a few voxels at
    the brain's edge would make the index's constants as large as what varies, and any two
    volumes alike.
    """
    ranges: list[Float64] = []
    for name in predictor.spec.training.train:
        run = store.runs[name]
        rows: Float32 = run.voxels[training_volumes(predictor.spec, run)]
        ranges.append(
            np.ptp(np.percentile(rows[np.isfinite(rows[:, 0])], EDGES, axis=1), axis=0)
        )
    return float(np.median(np.concatenate(ranges)))
