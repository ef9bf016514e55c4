"""What a person sees of a result: figures of courses as PNG, and tables on stdout.

Knows nothing of models or stores; it draws and prints what it is handed.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from offline.evaluation.metrics import partial_correlation, pearson, standardised
from rtfeedback.errors import OutputError
from rtfeedback.signals import Float64, Int64

# Okabe & Ito's palette, told apart by the colour-blind; widths and dashes differ as well.
MEASURED, PREDICTED, TRUTH, DESIGN = "#000000", "#D55E00", "#0072B2", "#D9D9D9"
GREY = "#595959"
ORDER = ("measured", "predicted", "truth", "task design, fitted")  # in the legend
WIDTHS = {1: 9.0, 2: 14.0}  # inches, by columns: a panel's title must hold name and r
PLOT, GAP, TOP, BOTTOM = 1.4, 0.4, 1.0, 0.62  # inches; GAP between panels, with a title
LEFT, RIGHT = 0.6, 0.2  # inches
NOTE_LINE, NOTE_CHARACTERS = 0.14, 14  # inches; characters to an inch of its 8 points
DPI = 150
ONE_COLUMN = 6  # more runs than these stand in two columns
PIPED_WIDTH = 200  # characters; a table in a file must not be cut at 80


@dataclass(frozen=True, slots=True)
class Course:
    """What was measured and predicted in one held-out run.

    Attributes
    ----------
    name : str
        The run's.
    volumes : int64, shape (n_volumes,)
        Each one's number in its run; lines break where numbers are missing.
    times : float64, shape (n_volumes,)
        Seconds after the run's first volume.
    measured, predicted : float64, shape (n_volumes,)
        In any unit. All finite.
    design : float64, shape (n_volumes,) or (n_volumes, n_regressors), optional
        Task regressors; with no column there was no task.
    truth : float64, shape (n_volumes,), optional
        What a simulation knows.
    """

    name: str
    volumes: Int64
    times: Float64
    measured: Float64
    predicted: Float64
    design: Float64 | None = None
    truth: Float64 | None = None

    def __post_init__(self) -> None:
        n = len(self.volumes)
        given = [self.times, self.measured, self.predicted, self.design, self.truth]
        if n == 0 or any(each is not None and len(each) != n for each in given):
            raise ValueError(f"the courses of {self.name} differ in length, or are empty")

    @property
    def task(self) -> Float64 | None:
        """The design as columns, None where there was no task."""
        if self.design is None or self.design.size == 0:
            return None
        return self.design.reshape(len(self.volumes), -1)


def course_figure(path: Path, runs: Sequence[Course], title: str, note: str = "") -> None:
    """Draw predicted and measured course of each held-out run and save it as PNG.

    Every course is z-scored within its run, for display; r is not changed by it. Where
    there was a task, the grey area is the design's least-squares fit to what was measured:
    what of the course the task alone explains.

    Parameters
    ----------
    path : Path
        The PNG; it is there whole or not at all, and one that was there is replaced.
    runs : sequence of Course
        A panel each, in this order.
    title : str
        What was predicted from what, one line.
    note : str
        What the reader has to know of it, at the foot.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    if not runs:
        raise ValueError("a figure takes at least one run")
    n_columns = 1 if len(runs) <= ONE_COLUMN else 2
    width = WIDTHS[n_columns]
    lines = textwrap.wrap(note, int((width - LEFT - RIGHT) * NOTE_CHARACTERS))
    figure = Figure(dpi=DPI, facecolor="white")
    panels = _panels(figure, -(-len(runs) // n_columns), n_columns, len(lines))
    for panel, course in zip(panels, runs, strict=False):
        _draw(panel, course)
    _label(panels, len(runs), n_columns)
    _furnish(figure, title, lines)
    save_figure(figure, path)


def _panels(figure: Figure, n_rows: int, n_columns: int, n_lines: int) -> list[Axes]:
    """Return the axes by rows, laid out in inches, so that many runs look like few."""
    bottom = BOTTOM + n_lines * NOTE_LINE
    width, height = WIDTHS[n_columns], TOP + n_rows * (PLOT + GAP) - GAP + bottom
    figure.set_size_inches(width, height)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    figure.subplots_adjust(
        left=LEFT / width,
        right=1 - RIGHT / width,
        bottom=bottom / height,
        top=1 - TOP / height,
        hspace=GAP / PLOT,
        wspace=0.06,
    )
    return list(axes.flat)


def _draw(panel: Axes, course: Course) -> None:
    zs = standardised(course.measured)
    if course.task is not None:
        fit = _fitted(course.task, zs)
        panel.fill_between(*_broken(course, fit), color=DESIGN, lw=0, label=ORDER[3])
    panel.plot(*_broken(course, zs), color=MEASURED, lw=1.1, label=ORDER[0])
    if course.truth is not None:
        truth = _broken(course, standardised(course.truth))
        panel.plot(*truth, color=TRUTH, lw=1.2, ls=(0, (1.5, 1.2)), label=ORDER[2])
    predicted = _broken(course, standardised(course.predicted))
    panel.plot(*predicted, color=PREDICTED, lw=1.9, label=ORDER[1])
    panel.set_title(course.name, loc="left", fontsize=9.5, fontweight="bold", pad=4)
    panel.set_title(_correlations(course), loc="right", fontsize=9.5, pad=4)
    panel.axhline(0.0, color=GREY, lw=0.5, zorder=0)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8.5)
    panel.margins(x=0.01)


def _correlations(course: Course) -> str:
    """Return r, never without saying that a task is in it."""
    r = pearson(course.measured, course.predicted)
    if course.task is None:
        return f"r = {r:.2f}"
    partial = partial_correlation(course.measured, course.predicted, course.task)
    return f"r = {r:.2f} (includes task), partial r given design = {partial:.2f}"


def _label(panels: list[Axes], n_runs: int, n_columns: int) -> None:
    """Name the axes at the rim only, and hide the panels that no run takes."""
    for index, panel in enumerate(panels):
        panel.set_visible(index < n_runs)
        if index % n_columns == 0:
            panel.set_ylabel("z", fontsize=9)
        if index + n_columns >= n_runs:
            panel.set_xlabel("time after the first volume (s)", fontsize=9)
            panel.tick_params(labelbottom=True)


def _furnish(figure: Figure, title: str, lines: list[str]) -> None:
    """Put title and legend above the panels, and the note below them."""
    width, height = figure.get_size_inches()
    left = LEFT / width
    figure.text(left, 1 - 0.14 / height, title, fontsize=12, fontweight="bold", va="top")
    named: dict[str, Any] = {}
    for panel in figure.axes:
        handles, labels = panel.get_legend_handles_labels()
        named.update(zip(labels, handles, strict=True))
    figure.legend(
        [named[label] for label in ORDER if label in named],
        [label for label in ORDER if label in named],
        loc="upper left",
        bbox_to_anchor=(left, 1 - 0.4 / height),
        ncols=len(ORDER),
        fontsize=9,
        frameon=False,
        borderaxespad=0.0,
        borderpad=0.2,
    )
    figure.text(left, 0.1 / height, "\n".join(lines), fontsize=8, color=GREY, va="bottom")


def _fitted(design: Float64, course: Float64) -> Float64:
    columns = np.column_stack([np.ones(len(course)), design])
    return np.asarray(columns @ np.linalg.lstsq(columns, course, rcond=None)[0], np.float64)


def _broken(course: Course, values: Float64) -> tuple[Float64, Float64]:
    """Return times and values with a NaN at each hole, where a line then breaks."""
    holes = np.flatnonzero(np.diff(course.volumes) != 1) + 1
    return np.insert(course.times, holes, np.nan), np.insert(values, holes, np.nan)


def save_figure(figure: Figure, path: Path) -> None:
    """Write the PNG beside its place, then move it there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            FigureCanvasAgg(figure).print_png(file)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(
            f"The figure {path} cannot be written",
            found=error.strerror or str(error),
            do="Give a folder that exists, can be written to and has room",
        ) from error


def table(
    rows: Sequence[Sequence[str | float | None]], headers: Sequence[str], title: str
) -> None:
    """Print a table on stdout: numbers to the right, with three decimals; None as a dash.

    Parameters
    ----------
    rows : sequence of sequence
        A cell for each header. Integers are printed as they are; text too, without
        markup.
    headers : sequence of str
        With units.
    title : str
        Printed above it.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    printed = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left")
    for column, header in enumerate(headers):
        numeric = all(not isinstance(row[column], str) for row in rows)
        printed.add_column(Text(header), justify="right" if numeric else "left")
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"a row of {len(row)} cells under {len(headers)} headers")
        printed.add_row(*(Text(_cell(value)) for value in row))
    console.print(printed)


def _cell(value: str | float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
