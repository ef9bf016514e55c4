"""Slices of whole volumes: predicted, measured, what is left, and where the course is right."""

from __future__ import annotations

import textwrap
from pathlib import Path

import nibabel
import numpy as np
from matplotlib.figure import Figure
from nilearn.plotting import plot_stat_map

from offline.evaluation.report import DPI, save_figure
from offline.evaluation.volume_report import VolumeReport
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.signals import Float64

WIDTH, ROW, TOP, BOTTOM = 11.0, 1.9, 0.4, 0.15  # inches
LINE, CHARACTERS = 0.17, 150  # inches; of a line above the rows
CUTS = (10, 90)  # percentiles of the mask's heights between which slices are shown
N_CUTS = 7
COLOURS = "RdBu_r"  # told apart by the colour-blind, and white at 0
EXTREME = 99.5  # percentile of sizes at which colours end: a lone voxel must not dim the rest
NOTHING = 1e-9  # of the colours' end: what is as small is outside the mask


def volume_figure(
    path: Path, report: VolumeReport, model: VolumeNetwork, title: str, note: str = ""
) -> None:
    """Draw the held-out volume of median error, and the map of r, and save them as PNG.

    Parameters
    ----------
    path : Path
    report : VolumeReport
    model : VolumeNetwork
        Whose grid and mask they are on.
    title, note : str
        What was predicted from what; what the reader has to know of it.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    unit, left = report.scores["unit"], report.measured - report.predicted
    both = colours_end(np.concatenate([report.measured, report.predicted]))
    task = " (includes task)" if report.scores["includes_task"] else ""
    rows = [
        (f"predicted, {unit}", report.predicted, both),
        (f"measured, {unit}", report.measured, both),
        (f"residual: measured - predicted, {unit}", left, both),
        (
            f"r over time of each voxel, all held-out runs{task}",
            report.r,
            colours_end(report.r),
        ),
    ]
    which = f"{report.run}, volume {report.volume}: that of the median error. {note}"
    lines = [title, *textwrap.wrap(which, CHARACTERS)]
    top = TOP + LINE * len(lines)
    height = top + ROW * len(rows) + BOTTOM
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    figure.text(0.02, 1 - 0.1 / height, "\n".join(lines), fontsize=10, va="top")
    for i, (name, values, end) in enumerate(rows):
        bottom = 1 - (top + ROW * (i + 1)) / height
        figure.text(0.02, bottom + 0.9 * ROW / height, name, fontsize=9)
        place = (0.02, bottom, 0.94, 0.85 * ROW / height)
        draw_slices(figure, place, model, values, end)
    save_figure(figure, path)


def draw_slices(
    figure: Figure,
    place: tuple[float, float, float, float],
    model: VolumeNetwork,
    values: Float64,
    end: float,
) -> None:
    """Draw voxels, shape (n_voxels,), as slices side by side; colours end at `end`."""
    plot_stat_map(
        image(model, values),
        figure=figure,
        axes=place,
        display_mode="z",
        cut_coords=_cuts(model),
        bg_img=None,
        black_bg=False,
        cmap=COLOURS,
        vmax=end,
        threshold=end * NOTHING,
    )


def image(model: VolumeNetwork, values: Float64) -> nibabel.Nifti1Image:
    """Return voxels, shape (n_voxels,), as an image on the model's grid, 0 outside the mask."""
    laid = np.zeros(model.spec.grid, dtype=np.float32)
    laid.reshape(-1)[model.voxels.cpu().numpy()] = values
    return nibabel.Nifti1Image(laid, np.array(model.spec.affine))


def _cuts(model: VolumeNetwork) -> list[float]:
    """Return the heights in millimetres of the slices, the same in each row."""
    at = np.unravel_index(model.voxels.cpu().numpy(), model.spec.grid)
    rows = np.array(model.spec.affine)
    heights = rows[2, :3] @ np.array(at) + rows[2, 3]
    lowest, highest = np.percentile(heights, CUTS)
    return [float(each) for each in np.linspace(lowest, highest, N_CUTS)]


def colours_end(values: Float64) -> float:
    """Return where the colours of some values end, above 0."""
    return float(np.percentile(np.abs(values), EXTREME)) or 1.0
