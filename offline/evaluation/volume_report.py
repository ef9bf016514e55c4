"""What whole volumes are worth on the held-out runs, beside images that cost nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from offline.evaluation.held_out import training_volumes
from offline.evaluation.metrics import EXPLAINED
from offline.evaluation.report import Course, table
from offline.evaluation.similarity import Similarity
from offline.store.dataset import Run, Store, window_at
from rtfeedback.models.monte_carlo import network_of
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Bool, Float32, Float64, Int64

PREDICTED, TRAINING, SUBJECT = "predicted", "training_mean", "subject_mean"
WORDS = {
    PREDICTED: "predicted",
    TRAINING: "training's mean image",
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
    run, volume : str, int
        Which held-out volume is shown: that of the median error.
    measured, predicted : float64, shape (n_voxels,)
        That volume.
    """

    scores: dict[str, Any]
    r: Float64
    run: str
    volume: int
    measured: Float64
    predicted: Float64


def volume_report(
    predictor: Predictor, store: Store, courses: Sequence[Course]
) -> VolumeReport | None:
    """Return the scores of a model's volumes; None of a model of regions.

    Skill is over the mean image of the training part. A subject's own mean image is of the
    held-out volumes themselves: it reads the fMRI, and no EEG.

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
    runs = [_Scored(store.runs[course.name], course.volumes) for course in courses]
    mean = model.mean.cpu().numpy().astype(np.float64)
    span = _span(predictor, store)
    similar = Similarity(_mask(model), span)
    subjects = _subject_means(runs)
    for run in runs:
        images = {TRAINING: mean, SUBJECT: subjects[run.subject]}
        for i, predicted in enumerate(_predicted(predictor, model, run)):
            run.take(i, {PREDICTED: predicted, **images}, similar)
    r = _r(runs)
    scores = {
        "unit": spec.volume.unit,
        "grid": list(spec.volume.grid),
        "n_voxels": spec.volume.n_voxels,
        "ssim_range": span,
        **_scores(runs),
        "r_over_time": {
            "median": float(np.median(r)),
            "mean": float(np.mean(r)),
            "lowest": float(np.min(r)),
            "highest": float(np.max(r)),
            "share_above_0": float(np.mean(r > 0)),
        },
        "includes_task": any(course.task is not None for course in courses),
        "reads_fmri": [SUBJECT],
        "runs": [{"name": run.run.name, **_scores([run])} for run in runs],
    }
    return VolumeReport(scores, r, *_shown(predictor, model, runs))


def print_volumes(scores: dict[str, Any]) -> None:
    """Print the scores of whole volumes."""
    rows = [
        [WORDS[name], scores["rmse"][name], scores["ssim"][name], scores["skill"].get(name)]
        for name in WORDS
    ]
    headers = ["image", f"RMSE ({scores['unit']})", "SSIM", "skill over the training's mean"]
    title = f"Whole volumes: {scores['n_volumes']} held out, {scores['n_voxels']} voxels"
    table(rows, headers, title)
    r = scores["r_over_time"]
    task = " It includes the task." if scores["includes_task"] else ""
    print(  # noqa: T201
        f"Each voxel's r over time, each run's mean taken out: median {r['median']:.3f},"
        f" from {r['lowest']:.3f} to {r['highest']:.3f}; {r['share_above_0']:.0%} are above"
        f" 0.{task}"
    )


@dataclass
class _Scored:
    """A held-out run, and the sums that its scores are made of."""

    run: Run
    volumes: Int64
    errors: dict[str, list[float]] = field(default_factory=dict)  # mean squares, by volume
    ssim: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = [bool(np.isfinite(self.run.voxels[v]).all()) for v in self.volumes]
        self.volumes = self.volumes[known]
        n = self.run.voxels.shape[1]
        self.mean = np.mean(self.run.voxels[self.volumes], axis=0, dtype=np.float64)
        self._pp, self._pm, self._mm, self._p = np.zeros((4, n))

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

    def products(self) -> tuple[Float64, Float64, Float64]:
        """Return sums over time of p * m, p * p and m * m, each about its mean in the run."""
        n = len(self.volumes)
        return self._pm, np.maximum(self._pp - self._p**2 / n, 0.0), self._mm


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
    errors = {name: np.concatenate([run.errors[name] for run in runs]) for name in WORDS}
    mse = {name: float(np.mean(each)) for name, each in errors.items()}
    nothing = mse[TRAINING] == 0.0  # to gain
    return {
        "n_volumes": len(errors[PREDICTED]),
        "rmse": {name: float(np.sqrt(each)) for name, each in mse.items()},
        "ssim": {
            name: float(np.mean(np.concatenate([run.ssim[name] for run in runs])))
            for name in WORDS
        },
        "skill": {
            name: None if nothing else 1.0 - mse[name] / mse[TRAINING]
            for name in (PREDICTED, SUBJECT)
        },
    }


def _r(runs: Sequence[_Scored]) -> Float64:
    """Return each voxel's r over time in all runs, each about its own means."""
    both, predicted, measured = np.sum([run.products() for run in runs], axis=0)
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
    lone = _Scored(run.run, run.volumes[i : i + 1])
    (predicted,) = _predicted(predictor, model, lone)
    return run.run.name, int(run.volumes[i]), run.measured(i), predicted


def _mask(model: VolumeNetwork) -> Bool:
    mask = np.zeros(np.prod(model.spec.grid), dtype=np.bool_)
    mask[model.voxels.cpu().numpy()] = True
    return mask.reshape(model.spec.grid)


def _span(predictor: Predictor, store: Store) -> float:
    """Return the range of what was measured over the training part, in the volumes' unit."""
    lowest, highest = np.inf, -np.inf
    for name in predictor.spec.training.train:
        run = store.runs[name]
        rows: Float32 = run.voxels[training_volumes(predictor.spec, run)]
        lowest = min(lowest, float(np.nanmin(rows)))
        highest = max(highest, float(np.nanmax(rows)))
    return float(highest - lowest)
