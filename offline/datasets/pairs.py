"""Runs that are named file by file: one pair, or a table of pairs, without BIDS."""

from __future__ import annotations

import re
from math import isfinite
from pathlib import Path

from offline.datasets.bids import PairedRun
from offline.datasets.layout import LayoutConfig, PairConfig, run_name
from offline.datasets.tables import Row, read_rows
from rtfeedback.errors import DatasetError

ENTITIES = ("subject", "session", "task", "run")
FILES = ("eeg", "bold", "course", "events", "confounds")
NUMBERS = ("tr", "onset")
_LABEL = re.compile(r"[A-Za-z0-9]+")
_MISSING = ("", "n/a")


class _BadRowError(ValueError):
    """What is wrong with a row, without its line."""


def read_pairs(table: Path, layout: LayoutConfig) -> list[PairedRun]:
    """Return the runs that a table names, in its order.

    Its columns are `eeg` and `bold` or `course`, and, where they are needed, `subject`
    (`01` without), `session`, `task`, `run` (counted per subject, without), `tr`, `onset`,
    `events` and `confounds`. Paths are relative to the table.

    Parameters
    ----------
    table : Path
    layout : LayoutConfig
        What the rows do not say: the TR, the onset, what the EEG's files hold.

    Raises
    ------
    DatasetError
        If the table cannot be read, or has bad rows: all of them are told, by line.
    """
    columns, rows = read_rows(table)
    unknown = [name for name in columns if name not in (*ENTITIES, *FILES, *NUMBERS)]
    if unknown or "eeg" not in columns or not {"bold", "course"} & set(columns):
        raise DatasetError(
            f"{table} is no table of pairs",
            found=f"The columns {', '.join(columns) or '(none)'}",
            do="Give a line of columns with tabs between them, eeg and bold (or course) and any"
            f" of {', '.join((*ENTITIES, *FILES[3:], *NUMBERS))}, and a line per run",
        )
    runs: dict[str, PairedRun] = {}
    wrong = []
    for row in rows:
        try:
            run = _run_of(row, table.parent, layout, len(runs) + 1)
            if run.name in runs:
                raise _BadRowError(f"a second {run.name}: tell them apart by a column run")
            runs[run.name] = run
        except _BadRowError as error:
            wrong.append(f"line {row.line}: {error}")
    if wrong or not runs:
        raise DatasetError(
            f"{table} has rows that are no runs" if wrong else f"{table} names no run",
            found="; ".join(wrong),
            do="Mend the table",
        )
    return list(runs.values())


def single_pair(root: Path, pair: PairConfig, layout: LayoutConfig) -> PairedRun:
    """Return the run of a pair of files, with the TR and the onset that the layout states.

    Raises
    ------
    DatasetError
        If a file is absent, or there is not one of BOLD and course.
    """
    try:
        return _run_of(Row(0, pair.model_dump()), root, layout, 1)
    except _BadRowError as error:
        raise DatasetError(
            "EEG and BOLD do not make a pair",
            found=str(error),
            do="Give --eeg FILE and --bold FILE (or --course TSV), and --tr S --onset S where"
            " neither sidecars nor markers say them",
        ) from error


def _run_of(row: Row, folder: Path, layout: LayoutConfig, number: int) -> PairedRun:
    cells = {name: text.strip() for name, text in row.cells.items()}
    cells = {name: text for name, text in cells.items() if text.lower() not in _MISSING}
    labels = {name: cells.get(name, "") for name in ENTITIES}
    labels["subject"] = labels["subject"].removeprefix("sub-") or "01"
    labels["run"] = labels["run"].removeprefix("run-") or f"{number:02d}"
    for name, label in labels.items():
        if label and not _LABEL.fullmatch(label):
            raise _BadRowError(f"{name} is '{label}', and takes letters and digits")
    files = {name: _file(name, cells[name], folder) for name in FILES if name in cells}
    if "eeg" not in files:
        raise _BadRowError("no eeg")
    if ("bold" in files) is ("course" in files):
        raise _BadRowError("both bold and course" if "bold" in files else "no bold, no course")
    tr, onset = _number("tr", cells), _number("onset", cells)
    if tr is not None and tr <= 0:
        raise _BadRowError(f"tr is {tr:g}, and takes seconds above 0")
    return PairedRun(
        name=run_name(**labels),
        **labels,
        eeg=files["eeg"],
        bold=files.get("bold"),
        course=files.get("course"),
        root=folder,
        tr=layout.tr if tr is None else tr,
        onset=layout.onset if onset is None else onset,
        events=files.get("events"),
        confounds=files.get("confounds"),
        recording=layout.recording,
    )


def _file(name: str, text: str, folder: Path) -> Path:
    path = folder / Path(text).expanduser()
    if not path.is_file():
        raise _BadRowError(f"{name} is {path}, which does not exist")
    return path


def _number(name: str, cells: dict[str, str]) -> float | None:
    if name not in cells:
        return None
    try:
        value = float(cells[name])
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise _BadRowError(f"{name} is '{cells[name]}', and takes seconds")
    return value
