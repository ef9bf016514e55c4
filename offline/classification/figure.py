"""The picture: who was told for whom, and the pattern of what goes with the decision."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from offline.evaluation.report import DPI, GREY, PREDICTED, save_figure
from offline.evaluation.volume_figure import colours_end, draw_slices
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.signals import Float64, Int64

WIDTH, TOP, MATRIX, ROW, BOTTOM = 11.0, 0.5, 2.8, 1.9, 0.2  # inches
LINE, CHARACTERS = 0.17, 140  # inches; of a line of the note
DARK = 0.6  # share of a class from which on ink is white
SHOWN = 12  # regions, those of the largest patterns

Pattern = tuple[str, Float64]  # what it says, and its value of each voxel or region


def classification_figure(
    path: Path,
    confusions: Sequence[tuple[str, Int64]],
    classes: Sequence[str],
    patterns: Sequence[Pattern],
    of: VolumeNetwork | Sequence[str],
    title: str,
    note: str,
) -> None:
    """Draw confusion matrices and patterns, and save them as PNG.

    Parameters
    ----------
    path : Path
    confusions : sequence of (str, int64 of shape (n_classes, n_classes))
        Subjects by their class (row) and what was told (column); each with a title.
    classes : sequence of str
    patterns : sequence of (str, float64)
        Of each voxel, or region.
    of : VolumeNetwork or sequence of str
        Whose voxels they are, or the regions' names.
    title, note : str

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    lines = textwrap.wrap(note, CHARACTERS)
    row = ROW if isinstance(of, VolumeNetwork) else 0.6 + 0.22 * min(SHOWN, len(of))
    above = TOP + LINE * len(lines) + MATRIX
    height = above + row * len(patterns) + BOTTOM
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    figure.text(0.02, 1 - 0.1 / height, title, fontsize=12, fontweight="bold", va="top")
    figure.text(0.02, 1 - 0.4 / height, "\n".join(lines), fontsize=8, color=GREY, va="top")
    for i, (name, confusion) in enumerate(confusions):
        place = (0.12 + 0.48 * i, 1 - (above - 0.7) / height, 0.32, (MATRIX - 1.1) / height)
        _draw_confusion(figure.add_axes(place), confusion, classes, name)
    for i, (name, values) in enumerate(patterns):
        bottom = 1 - (above + row * (i + 1)) / height
        figure.text(0.02, bottom + 0.92 * row / height, name, fontsize=9)
        if isinstance(of, VolumeNetwork):
            place = (0.02, bottom, 0.94, 0.85 * row / height)
            draw_slices(figure, place, of, values, colours_end(values))
        else:
            place = (0.3, bottom + 0.3 / height, 0.6, (row - 0.6) / height)
            _draw_regions(figure.add_axes(place), values, of)
    save_figure(figure, path)


def _draw_confusion(axes: Axes, confusion: Int64, classes: Sequence[str], title: str) -> None:
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Greys", vmin=0, vmax=1.3, aspect="auto")
    for (i, j), n in np.ndenumerate(confusion):
        ink = "white" if share[i, j] > DARK else "black"
        axes.text(j, i, f"{n}", ha="center", va="center", color=ink, fontsize=12)
    axes.set_xticks(range(len(classes)), [_short(each) for each in classes], fontsize=8)
    axes.set_yticks(range(len(classes)), [_short(each) for each in classes], fontsize=8)
    axes.set_xlabel("told", fontsize=8.5)
    axes.set_ylabel("is", fontsize=8.5)
    axes.set_title(title, fontsize=10, loc="left")


def _draw_regions(axes: Axes, values: Float64, names: Sequence[str]) -> None:
    largest = np.argsort(-np.abs(values), kind="stable")[:SHOWN][::-1]
    axes.barh(range(len(largest)), values[largest], color=PREDICTED)
    axes.axvline(0, color=GREY, lw=0.5)
    axes.set_yticks(range(len(largest)), [_short(names[i]) for i in largest], fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _short(name: str) -> str:
    return textwrap.shorten(name, 28, placeholder="…")
