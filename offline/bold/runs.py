"""A run's BOLD on disk, and opened: its image, its confounds and which volumes count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nilearn.image import smooth_img

from offline.bold.cleaning import Cleaner
from offline.bold.confounds import (
    Table,
    framewise_displacement,
    motion,
    n_rows,
    read_courses,
    regressors,
)
from offline.bold.images import grid_over, in_scanner_space, on_grid, read_bold
from offline.bold.scaling import Scaler
from offline.bold.settings import BoldConfig
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float64


@dataclass(frozen=True, slots=True)
class BoldRun:
    """One run's files.

    Attributes
    ----------
    name, subject, task : str
    tr : float
        In seconds.
    image : Path or None
        NIfTI, as the scanner or as a pipeline wrote it.
    course : Path or None
        A table of courses that are extracted already, a column a target; with it the image
        is not looked at.
    events, confounds : Path or None
        Tables.
    """

    name: str
    subject: str
    task: str
    tr: float
    image: Path | None
    course: Path | None = None
    events: Path | None = None
    confounds: Path | None = None

    @property
    def has_image(self) -> bool:
        """Whether it is an image that its targets are made of."""
        return self.image is not None and self.course is None


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run with its image in memory, prepared as `[bold]` says.

    Attributes
    ----------
    run : BoldRun
    image : nibabel image or None
        None where courses stand in its place.
    courses : dict of str to float64, shape (n_volumes,)
        Those, NaN where a volume was scrubbed; empty where there is an image.
    n_volumes : int
    table : dict of str to float64, shape (n_volumes,)
        The confounds; empty where none are known.
    motion : float64, shape (n_volumes, 6), or None
        In mm and radians.
    keep : bool, shape (n_volumes,), or None
        Volumes that are not scrubbed; None without scrubbing.
    scaler : Scaler
    in_scanner_space : bool
        Whether the image says that it is on no template.
    """

    run: BoldRun
    image: Any
    courses: Table
    n_volumes: int
    table: Table
    motion: Float64 | None
    keep: Bool | None
    scaler: Scaler
    in_scanner_space: bool = False

    @property
    def kept(self) -> Bool:
        """Which volumes are not scrubbed, shape (n_volumes,)."""
        return np.ones(self.n_volumes, dtype=np.bool_) if self.keep is None else self.keep

    @property
    def displacement(self) -> Float64 | None:
        """Framewise displacement in mm, shape (n_volumes,), or None."""
        return None if self.motion is None else framewise_displacement(self.motion)


def open_run(run: BoldRun, config: BoldConfig) -> OpenRun:
    """Read a run's image, smooth it and lay it on the grid, and read its confounds.

    Raises
    ------
    DatasetError
        If a file is broken, they do not go together, or too little is left to be cleaned.
    """
    image, courses, untouched = None, Table(), False
    if run.course is not None:
        every = read_courses(run.course, "course")
        courses = {name: course for name, course in every.items() if np.isfinite(course).any()}
        n_volumes = n_rows(courses)
    elif run.image is not None:
        found = read_bold(run.image)
        untouched, image = in_scanner_space(found), _prepared(found, config)
        n_volumes = int(image.shape[3])
    else:
        raise DatasetError(f"The run {run.name} has neither a BOLD image nor courses")
    table = _confounds(run, n_volumes)
    moved = motion(table)
    keep = _kept(run, moved, config)
    if any(not np.isfinite(course).all() for course in courses.values()):
        finite = np.isfinite(np.stack(list(courses.values())))
        known = np.asarray(finite.all(axis=0))  # the others were scrubbed
        keep = known if keep is None else keep & known
    cleaner = Cleaner(
        tr=run.tr,
        n_volumes=n_volumes,
        high_pass=config.high_pass,
        detrend=config.detrend,
        regressors=regressors(table, config.confounds, run.name) if config.confounds else None,
        keep=keep,
    )
    cleaner.check(run.name)
    scaler = Scaler(config.scaling, cleaner, config.causal, config.settle)
    return OpenRun(run, image, courses, n_volumes, table, moved, keep, scaler, untouched)


def _prepared(image: Any, config: BoldConfig) -> Any:
    """Return an image smoothed, then on the grid: a coarser one samples what is smooth."""
    if config.smoothing:
        image = smooth_img(image, config.smoothing)
    if config.resample is not None:
        image = on_grid(image, *grid_over(image, config.resample))
    return image


def _confounds(run: BoldRun, n_volumes: int) -> Table:
    if run.confounds is None:
        return {}
    table = read_courses(run.confounds)
    if n_rows(table) != n_volumes:
        raise DatasetError(
            f"{run.confounds} does not go with its BOLD",
            found=f"{n_rows(table)} rows, {n_volumes} volumes",
            do="Take confounds and BOLD from the same processing",
        )
    return table


def _kept(run: BoldRun, moved: Float64 | None, config: BoldConfig) -> Bool | None:
    """Return which volumes are not scrubbed, None where none is to be."""
    if not config.scrub:
        return None
    if moved is None:
        raise DatasetError(
            f"Nothing says how the head moved in {run.name}, so nothing can be scrubbed",
            found="No six parameters of motion" if run.confounds else "No table of confounds",
            do="Give its confounds, or set '[bold] scrub' to 0",
        )
    # A displacement that is not known is none that is small.
    far = ~(framewise_displacement(moved) <= config.scrub)
    before, after = config.scrub_around
    keep = np.ones(len(far), dtype=np.bool_)
    for volume in np.flatnonzero(far):
        keep[max(0, volume - before) : volume + after + 1] = False
    return keep
