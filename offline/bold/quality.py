"""How good a run's BOLD is: tSNR, head motion and spikes, as numbers and as a figure.

It judges; nothing is left out for it (`[bold] scrub` does that).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from offline.bold.cleaning import Cleaner
from offline.bold.images import brain_mask, volumes_of
from offline.bold.runs import OpenRun
from rtfeedback.errors import OutputError
from rtfeedback.signals import Bool, Float32, Float64

VOXELS = 4096  # detrended at a time
WHISKER = 1.5  # interquartile ranges above the third quartile: an outlier (Tukey)
FAR = 0.5  # mm of framewise displacement: where Power et al. 2012 begin to scrub
BLACK, ORANGE, BLUE, GREY = "#000000", "#D55E00", "#0072B2", "#D9D9D9"  # Okabe & Ito's
SIZE, DPI = (9.0, 5.2), 120  # inches


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known of a run's BOLD.

    Attributes
    ----------
    tr : float
        In seconds.
    tsnr : float
        Median over the brain of mean / sd over time, without linear trend.
    tsnr_of : dict of str to float
        The same by region.
    dvars : float64, shape (n_volumes,)
        How much the brain changed since the volume before, in per cent of its mean
        intensity: the root mean square over voxels (Power et al. 2012,
        doi:10.1016/j.neuroimage.2011.10.018). The first is 0.
    spikes : bool, shape (n_volumes,)
        Outliers of `dvars`: above the third quartile by more than 1.5 interquartile ranges.
    displacement : float64, shape (n_volumes,), or None
        Framewise displacement in mm; None where no motion is known.
    kept : bool, shape (n_volumes,)
        Volumes that were not scrubbed.
    """

    tr: float
    tsnr: float
    tsnr_of: dict[str, float]
    dvars: Float64
    spikes: Bool
    displacement: Float64 | None
    kept: Bool = field(repr=False)

    def summary(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        moved = np.zeros(0) if self.displacement is None else self.displacement
        moved = moved[np.isfinite(moved)]
        return {
            "tsnr": _number(self.tsnr),
            "tsnr_of": {name: _number(value) for name, value in self.tsnr_of.items()},
            "dvars_mean": _number(self.dvars[1:].mean()),
            "spikes": np.flatnonzero(self.spikes).tolist(),
            "displacement_mean": _number(moved.mean()) if len(moved) else None,
            "displacement_max": _number(moved.max()) if len(moved) else None,
            "displaced": int((moved > FAR).sum()) if len(moved) else None,
            "scrubbed": np.flatnonzero(~self.kept).tolist(),
        }


def run_quality(opened: OpenRun, regions: Mapping[str, Bool]) -> Quality:
    """Judge a run by its image and its motion.

    Parameters
    ----------
    opened : OpenRun
        With an image.
    regions : mapping of str to bool, shape (x, y, z)
    """
    volumes, brain = volumes_of(opened.image), brain_mask(opened.image)
    dvars = _dvars(volumes, brain)
    low, high = np.percentile(dvars[1:], (25, 75))
    spikes = dvars > high + WHISKER * (high - low)
    spikes[0] = False
    return Quality(
        tr=opened.run.tr,
        tsnr=_tsnr(volumes[brain]),
        tsnr_of={name: _tsnr(volumes[voxels]) for name, voxels in regions.items()},
        dvars=dvars,
        spikes=spikes,
        displacement=opened.displacement,
        kept=opened.kept,
    )


def _tsnr(courses: Float32) -> float:
    """Return the median of mean / sd over voxels that change, courses (n_voxels, n_volumes)."""
    detrend = Cleaner(tr=1.0, n_volumes=courses.shape[1], high_pass=0, detrend=True)
    found = []
    for first in range(0, len(courses), VOXELS):
        block = courses[first : first + VOXELS].T.astype(np.float64)
        mean, sd = block.mean(axis=0), detrend(block).std(axis=0)
        changes = sd > 1e-9 * np.abs(mean)
        found.append(mean[changes] / sd[changes])
    ratios = np.concatenate(found)
    return float(np.median(ratios)) if len(ratios) else float("nan")


def _dvars(volumes: Float32, brain: Bool) -> Float64:
    rows = volumes[brain].T
    change = np.zeros(len(rows))
    for volume in range(1, len(rows)):  # a volume at a time: no second copy of the image
        step = rows[volume].astype(np.float64) - rows[volume - 1]
        change[volume] = np.sqrt(np.mean(step**2))
    mean = abs(float(rows.mean(dtype=np.float64)))
    return np.asarray(100 * change / mean) if mean else change


def draw_quality(
    path: Path, name: str, quality: Quality, courses: Float64, names: tuple[str, ...]
) -> None:
    """Draw a run's head motion, DVARS and targets over time, and save it as PNG.

    Parameters
    ----------
    path : Path
    name : str
        The run's.
    quality : Quality
    courses : float64, shape (n_volumes, n_targets)
    names : tuple of str

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white", layout="constrained")
    motion, change, targets = figure.subplots(3, 1, sharex=True)
    times = np.arange(len(quality.dvars), dtype=np.float64) * quality.tr
    figure.suptitle(_title(name, quality), x=0.01, ha="left", fontsize=10, fontweight="bold")
    if quality.displacement is None:
        motion.text(0.5, 0.5, "no motion known", transform=motion.transAxes, ha="center")
    else:
        motion.plot(times, quality.displacement, color=BLUE, lw=1)
        motion.axhline(FAR, color=ORANGE, lw=0.8, ls="--")
    change.plot(times, quality.dvars, color=BLACK, lw=1)
    change.plot(times[quality.spikes], quality.dvars[quality.spikes], "v", color=ORANGE, ms=5)
    for course, label in zip(courses.T[:6], names, strict=False):
        targets.plot(times, course, lw=1, label=label)
    if len(names):
        targets.legend(loc="upper right", fontsize=7, frameon=False, ncols=3)
    targets.set_xlabel("time after the first volume (s)", fontsize=8)
    labels = ("displacement (mm)", "DVARS (%)", "targets")
    for panel, label in zip((motion, change, targets), labels, strict=True):
        _furnish(panel, label, times[~quality.kept], quality.tr)
    _save(figure, path)


def _title(name: str, quality: Quality) -> str:
    spikes = int(quality.spikes.sum())
    return f"{name}: tSNR {quality.tsnr:.0f}, {spikes} spikes, {(~quality.kept).sum()} scrubbed"


def _furnish(panel: Axes, label: str, scrubbed: Float64, tr: float) -> None:
    panel.set_ylabel(label, fontsize=8)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.01)
    for time in scrubbed:
        panel.axvspan(time - tr / 2, time + tr / 2, color=GREY, lw=0)


def _save(figure: Figure, path: Path) -> None:
    try:
        with path.open("wb") as file:
            FigureCanvasAgg(figure).print_png(file)
    except OSError as error:
        raise OutputError(
            f"The figure {path} cannot be written",
            found=error.strerror or str(error),
            do="Give a folder that exists, can be written to and has room",
        ) from error


def _number(value: float | np.floating[Any]) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
