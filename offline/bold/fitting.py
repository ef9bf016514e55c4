"""What targets take from the training part: regions, medians, components, mean and sd."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from offline.bold.components import LowRank, fit_components
from offline.bold.courses import TargetSpec, raw_courses, regions_in, target_courses
from offline.bold.glm import ContrastMap, contrast_map
from offline.bold.localizer import Regions, contrast_weights, find_regions, run_events
from offline.bold.runs import BoldRun, OpenRun, open_run
from offline.bold.volumes import (
    VOXELS,
    VolumesConfig,
    VolumeSpace,
    check_signal,
    scaled_volumes,
    volume_space,
)
from offline.progress import progress
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float32, Float64

Parts = Mapping[str, Bool]
"""By run, which of its volumes are in the training part; all of them where it has none."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was fitted on the training part; all of it is empty where nothing is to be.

    Attributes
    ----------
    runs : tuple of str
        It was fitted on.
    regions : dict of str to Regions
        By target, those of localizers.
    medians : dict of str to dict of str to float
        By subject and region.
    space : VolumeSpace or None
    median_volumes : dict of str to float32, shape (n_voxels,)
        By subject.
    voxels : tuple of float32, shape (n_voxels,), or None
        Mean and sd of every voxel.
    low_rank : LowRank or None
    targets : tuple of float64, shape (n_targets,), or None
        Mean and sd of every target.
    """

    runs: tuple[str, ...] = ()
    regions: dict[str, Regions] = field(default_factory=dict)
    medians: dict[str, dict[str, float]] = field(default_factory=dict)
    space: VolumeSpace | None = None
    median_volumes: dict[str, Float32] = field(default_factory=dict)
    voxels: tuple[Float32, Float32] | None = None
    low_rank: LowRank | None = None
    targets: tuple[Float64, Float64] | None = None


def fit_localizers(
    spec: TargetSpec, runs: Sequence[BoldRun], parts: Parts
) -> dict[str, Regions]:
    """Return the regions that localizers define, one GLM for a run and contrast."""
    rois = {roi.name: roi.localizer for roi in spec.rois if roi.localizer}
    maps: dict[str, list[ContrastMap]] = {name: [] for name in rois}
    for run in progress(runs, "Fitting localizers") if rois else ():
        covering = {
            name: each for name, each in rois.items() if run.has_image and each.covers(run)
        }
        events = {name: run_events(run, each) for name, each in covering.items()}
        opened = open_run(run, spec.bold) if any(events.values()) else None
        for name, found in events.items():
            if found and opened:
                weights = contrast_weights(rois[name].contrast)
                maps[name].append(
                    contrast_map(
                        opened,
                        found,
                        weights,
                        slice_ref=spec.slice_ref,
                        part=parts.get(run.name),
                    )
                )
    return {name: find_regions(maps[name], rois[name], spec.root, name) for name in rois}


def fit_space(spec: TargetSpec, config: VolumesConfig, runs: Sequence[BoldRun]) -> VolumeSpace:
    """Return the grid and mask of whole volumes."""
    images = (open_run(run, spec.bold).image for run in runs if run.has_image)
    return volume_space(images, config, spec.root)


def fit_medians(
    spec: TargetSpec, fitted: Fitted, runs: Sequence[BoldRun], parts: Parts
) -> tuple[dict[str, dict[str, float]], dict[str, Float32]]:
    """Return the median over each subject's training volumes, of regions and of voxels."""
    regions: dict[str, dict[str, float]] = {}
    volumes: dict[str, Float32] = {}
    for subject in progress(sorted({run.subject for run in runs}), "Fitting medians"):
        own = [run for run in runs if run.subject == subject]
        raw: dict[str, list[Float64]] = {}
        with tempfile.TemporaryDirectory() as scratch:
            kept: list[Float32] = []
            for run in own:
                opened = open_run(run, spec.bold)
                used = opened.kept & parts.get(run.name, True)
                found = raw_courses(spec, regions_in(spec, fitted.regions, opened), opened)
                for name, course in found.items():
                    raw.setdefault(name, []).append(course[used])
                if fitted.space and opened.image is not None:
                    path = Path(scratch, f"{len(kept)}.npy")
                    np.save(path, fitted.space.rows(opened.image)[used])
                    kept.append(np.load(path, mmap_mode="r"))
            if kept:
                volumes[subject] = _median(kept)
                del kept
        regions[subject] = {n: float(np.median(np.concatenate(c))) for n, c in raw.items()}
    return regions, volumes


def _median(runs: Sequence[Float32]) -> Float32:
    """Return the median over all rows of several runs, some voxels at a time."""
    n_voxels = runs[0].shape[1]
    blocks = [slice(first, first + VOXELS) for first in range(0, n_voxels, VOXELS)]
    found = [np.median(np.concatenate([run[:, b] for run in runs]), axis=0) for b in blocks]
    return np.asarray(np.concatenate(found), dtype=np.float32)


def scaled_rows(
    fitted: Fitted, opened: OpenRun, path: Path | None = None
) -> tuple[Float32, int]:
    """Return a run's volumes scaled and cleaned, and how many voxels have no signal.

    Returns
    -------
    rows : float32, shape (n_volumes, n_voxels)
        A memory map of `path`, where one is given.
    n_silent : int

    Raises
    ------
    DatasetError
        If there is no image, or it is not in the space of the others.
    """
    if opened.image is None or fitted.space is None:
        raise DatasetError(
            f"{opened.run.name} has no BOLD image to take whole volumes of",
            do="Leave '[volumes]' out, or leave out the runs that have courses alone",
        )
    raw = fitted.space.rows(opened.image)
    n_silent = check_signal(raw, opened.run.name)
    medians = fitted.median_volumes.get(opened.run.subject)
    rows = scaled_volumes(raw, opened.scaler, medians, path)
    if fitted.voxels:
        mean, sd = fitted.voxels
        for volume in range(len(rows)):  # in place: it may be a memory map
            rows[volume] = (rows[volume] - mean) / sd
    return rows, n_silent


def fit_voxels(
    spec: TargetSpec, fitted: Fitted, runs: Sequence[BoldRun], parts: Parts
) -> tuple[Float32, Float32]:
    """Return mean and sd of every voxel over the training part's volumes."""
    n, total, squares = 0, np.zeros(1), np.zeros(1)
    for rows in _training_rows(spec, fitted, runs, parts, "Fitting voxels"):
        n += len(rows)
        total = total + rows.sum(axis=0, dtype=np.float64)
        squares = squares + np.einsum("ij,ij->j", rows, rows, dtype=np.float64)
    mean = total / max(n, 1)
    variance = np.maximum(squares / max(n, 1) - mean**2, 0)
    return mean.astype(np.float32), _divisor(np.sqrt(variance)).astype(np.float32)


def fit_low_rank(
    spec: TargetSpec, fitted: Fitted, runs: Sequence[BoldRun], parts: Parts, n_components: int
) -> LowRank:
    """Return the principal components of the training part's volumes."""
    rows = _training_rows(spec, fitted, runs, parts, "Fitting components")
    return fit_components(rows, n_components)


def _training_rows(
    spec: TargetSpec, fitted: Fitted, runs: Iterable[BoldRun], parts: Parts, text: str
) -> Iterator[Float32]:
    """Yield each training run's volumes that are not NaN, shape (n_volumes, n_voxels)."""
    for run in progress(list(runs), text):
        rows, _ = scaled_rows(fitted, open_run(run, spec.bold))
        used = np.isfinite(rows[:, 0]) & parts.get(run.name, True)
        yield rows[used]


def fit_targets(
    spec: TargetSpec, fitted: Fitted, runs: Sequence[BoldRun], parts: Parts
) -> tuple[Float64, Float64]:
    """Return mean and sd of every target over the training part's volumes."""
    found = []
    for run in progress(runs, "Fitting targets"):
        opened = open_run(run, spec.bold)
        raw = raw_courses(spec, regions_in(spec, fitted.regions, opened), opened)
        courses = target_courses(spec, raw, opened)
        used = np.isfinite(courses).all(axis=1) & parts.get(run.name, True)
        found.append(courses[used])
    every = np.concatenate(found)
    return every.mean(axis=0), _divisor(every.std(axis=0))


def _divisor(sd: Float64) -> Float64:
    """Return what to divide by: 1 where nothing varies."""
    return np.where(sd > 0, sd, 1.0)
