"""Tables of confounds: motion as each program writes it, and groups of columns by name."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float64

Table = dict[str, Float64]

MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
# Each in the order of MOTION, in millimetres and radians, in small letters.
MOTION_NAMES = (
    MOTION,  # fMRIPrep
    ("x", "y", "z", "rotx", "roty", "rotz"),  # fMRIPrep before 1.1
    ("x", "y", "z", "pitch", "roll", "yaw"),  # SPM with names, as in ds002336
)
BARE = {".par": (*MOTION[3:], *MOTION[:3])}  # FSL's; SPM's rp_*.txt is in MOTION's order
HEAD = 50.0  # mm: radius of the sphere on which Power et al. measure rotations
ACOMPCOR = 5  # components, as Behzadi et al. 2007 take of each tissue
MISSING = ("", "n/a", "nan")


def read_courses(path: Path, what: str = "confounds") -> Table:
    """Read a table of courses, each float64 of shape (n_volumes,), by name.

    They are confounds, or regions' courses that were extracted already, as `what` says in
    an error. A header's names are kept; tables of six bare numbers a row are motion as SPM
    (`rp_*.txt`) or FSL (`.par`) write it. `n/a` is NaN. Cells may stand between tabs,
    commas or blanks.

    Raises
    ------
    DatasetError
        If it cannot be read, or a cell is no number.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        return _columns([_cells(line) for line in lines if line.strip()], path)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DatasetError(
            f"The {what} {path} cannot be read",
            found=getattr(error, "strerror", None) or str(error),
            do="Take them again from the processing that made them",
        ) from error


def _cells(line: str) -> list[str]:
    separator = next((each for each in "\t," if each in line), None)
    return [cell.strip().strip("'\"") for cell in line.split(separator)]


def _columns(rows: list[list[str]], path: Path) -> Table:
    if not rows:
        raise ValueError("it is empty")
    header, body = rows[0], rows[1:]
    if len(header) == len(MOTION) and all(_is_number(cell) for cell in header):
        header, body = list(BARE.get(path.suffix, MOTION)), rows
    if not body:
        raise ValueError("it has no row of numbers")
    short = next((i for i, row in enumerate(body) if len(row) != len(header)), None)
    if short is not None:
        raise ValueError(f"row {short + 1} has {len(body[short])} of {len(header)} cells")
    columns = zip(header, zip(*body, strict=True), strict=True)
    # ds002336 has tabs before the first column, and so one without a name.
    return {name: _course(name, cells) for name, cells in columns if name}


def _course(name: str, cells: Sequence[str]) -> Float64:
    course = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if cell.lower() in MISSING:
            continue
        if not _is_number(cell):
            raise ValueError(f"'{cell}' in column {name} of row {row + 1} is no number")
        course[row] = float(cell)
    return course


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def n_rows(table: Table) -> int:
    """Return how many volumes a table is of."""
    return len(next(iter(table.values()), ()))


def motion(table: Table) -> Float64 | None:
    """Return the motion of a table in mm and radians, shape (n_volumes, 6), or None."""
    small = {name.lower(): course for name, course in table.items()}
    for names in MOTION_NAMES:
        if all(name in small for name in names):
            return np.stack([small[name] for name in names], axis=1)
    return None


def framewise_displacement(parameters: Float64) -> Float64:
    """Return how far the head moved since the volume before, in mm, shape (n_volumes,).

    Parameters
    ----------
    parameters : float64, shape (n_volumes, 6)
        Translations in mm and rotations in radians.

    References
    ----------
    Power et al. 2012, NeuroImage 59:2142, doi:10.1016/j.neuroimage.2011.10.018: the sum of
    the parameters' absolute differences, rotations as arcs on a sphere of 50 mm.
    """
    moved = np.abs(np.diff(parameters, axis=0, prepend=parameters[:1]))
    moved[:, 3:] *= HEAD
    return np.asarray(moved.sum(axis=1))


def regressors(table: Table, wanted: Sequence[str], name: str) -> Float64:
    """Return the columns that names and groups mean, shape (n_volumes, n_columns).

    `motion6` are the six parameters; `motion24` these, their differences, and the squares
    of both (Satterthwaite et al. 2013, doi:10.1016/j.neuroimage.2012.08.052); `acompcor`
    the first five components that fMRIPrep names `a_comp_cor` (Behzadi et al. 2007,
    doi:10.1016/j.neuroimage.2007.04.042). A cell without a value, as fMRIPrep has at the
    top of differences, is the column's mean.

    Raises
    ------
    DatasetError
        If the table has no such column.
    """
    columns: dict[str, Float64] = {}
    for each in wanted:
        columns |= _meant(table, each, name)
    stacked = np.stack(list(columns.values()), axis=1)
    return np.where(np.isfinite(stacked), stacked, np.nanmean(stacked, axis=0))


def _meant(table: Table, wanted: str, name: str) -> Table:
    if wanted in ("motion6", "motion24"):
        found = motion(table)
        if found is not None:
            every = _expanded(found) if wanted == "motion24" else found
            return {f"motion {i}": column for i, column in enumerate(every.T)}
        raise _absent(table, wanted, name)
    if wanted == "acompcor":
        named = [each for each in sorted(table) if fnmatchcase(each, "a_comp_cor_*")]
        named = named[:ACOMPCOR]
    else:
        named = [each for each in table if fnmatchcase(each, wanted)]
    usable = {each: table[each] for each in named if np.isfinite(table[each]).any()}
    if not usable:
        raise _absent(table, wanted, name)
    return usable


def _expanded(parameters: Float64) -> Float64:
    changes = np.diff(parameters, axis=0, prepend=parameters[:1])
    first = np.concatenate([parameters, changes], axis=1)
    return np.concatenate([first, first**2], axis=1)


def _absent(table: Table, wanted: str, name: str) -> DatasetError:
    return DatasetError(
        f"The confounds of {name} hold no '{wanted}'",
        found=f"Their columns are {', '.join(table) or 'none'}",
        do="Name columns that are there in '[bold] confounds', or leave them out",
    )
