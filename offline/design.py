"""What the task alone would do to BOLD: events through a haemodynamic response.

Knows nothing of EEG, and fits nothing: it makes regressors for others to fit.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nilearn.glm.first_level import compute_regressor

from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float64

REST = "rest"  # in any case: ds002336 and ds002338 write `Rest`
HRF_LENGTH = 32.0  # s, of SPM's response: what is over earlier has no effect any more
MISSING = ("", "n/a")  # BIDS writes a value that there is not as `n/a`
COLUMNS = ("onset", "duration", "trial_type")


class Event(NamedTuple):
    """One row of an events file.

    Attributes
    ----------
    onset : float
        Seconds after the onset of the first volume.
    duration : float
        Seconds; 0 for an impulse.
    trial_type : str
        The condition.
    """

    onset: float
    duration: float
    trial_type: str


def conditions(events: Iterable[Event]) -> tuple[str, ...]:
    """Return the conditions other than rest, sorted."""
    return tuple(
        sorted({e.trial_type for e in events if e.trial_type.strip().casefold() != REST})
    )


def design_regressors(
    events: Sequence[Event],
    frame_times: Float64,
    tr: float,
    *,
    slice_ref: float = 0.5,
    only: Sequence[str] | None = None,
) -> Float64:
    """Convolve each condition but rest with SPM's response and with its time derivative.

    The derivative lets a response come about a second early or late. nilearn makes it
    orthogonal to the response's own column; columns are not scaled.

    Parameters
    ----------
    events : sequence of Event
        In any order; none for a recording without a task.
    frame_times : float64, shape (n_volumes,)
        Onsets of the volumes, in seconds after the first volume's, evenly spaced.
    tr : float
        Repetition time, in seconds.
    slice_ref : float
        Where in a volume its value stands, in TR: the design is taken at the target
        times, `frame_times + slice_ref * tr`.
    only : sequence of str, optional
        The conditions, in the order of their columns; one without events gives zeros.
        A model fitted over several runs needs it. Default: `conditions(events)`.

    Returns
    -------
    regressors : float64, shape (n_volumes, n_regressors)
        Response and derivative of each condition in turn; no column without a condition.

    Raises
    ------
    ValueError
        Where there are conditions and fewer than two volumes, or uneven ones.
    """
    names = conditions(events) if only is None else tuple(only)
    if not names:
        return np.zeros((len(frame_times), 0))
    if len(frame_times) < 2 or not np.allclose(np.diff(frame_times), tr, rtol=1e-3):
        raise ValueError(f"a design takes two volumes or more that are {tr} s apart")
    times = frame_times + slice_ref * tr
    return np.concatenate([_convolved(events, name, times) for name in names], axis=1)


def _convolved(events: Sequence[Event], condition: str, times: Float64) -> Float64:
    """Return response and derivative of one condition, shape (n_volumes, 2)."""
    earliest = float(times[0]) - HRF_LENGTH
    blocks = [
        # An end stays where it is when its start is cut to what can still have effect.
        (start, event.duration - (start - event.onset))
        for event in events
        if event.trial_type == condition
        for start in [max(event.onset, earliest)]
        if event.onset + event.duration >= earliest and event.onset <= times[-1]
    ]
    if not blocks:
        return np.zeros((len(times), 2))
    onsets, durations = np.array(blocks, dtype=np.float64).T
    regressors, _ = compute_regressor(
        np.stack([onsets, durations, np.ones_like(onsets)]),
        "spm + derivative",
        times,
        min_onset=-HRF_LENGTH,
    )
    return np.asarray(regressors, dtype=np.float64)


def read_events(path: Path) -> list[Event]:
    """Read a BIDS `events.tsv`.

    Rows without a trial type name no condition and are passed over; a duration that is
    `n/a` is read as 0, an impulse.

    Raises
    ------
    DatasetError
        When the file cannot be read, lacks a column, or a row has no usable number.
        A file without `trial_type` is refused, though BIDS allows it: a design that
        cannot tell task from rest would make every prediction look better.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"The events file {path} cannot be read",
            found=getattr(error, "strerror", None) or str(error),
            do="Check the path, and that the file is UTF-8 text",
        ) from error
    header = [name.strip() for name in rows[0]] if rows else []
    absent = [name for name in COLUMNS if name not in header]
    if absent:
        raise DatasetError(
            f"The events file {path} has no column {' nor '.join(absent)}",
            found=f"Its first line has: {', '.join(header) or 'nothing'}",
            do="BIDS has onset, duration and trial_type here, separated by tabs",
        )
    where = [header.index(name) for name in COLUMNS]
    events = [
        _event(row, where, f"{path}, line {line}")
        for line, row in enumerate(rows[1:], start=2)
        if any(cell.strip() for cell in row)
    ]
    return [event for event in events if event is not None]


def _event(row: list[str], where: list[int], source: str) -> Event | None:
    """Return a row as an event, or None where it names no condition."""
    if len(row) <= max(where):
        raise DatasetError(
            f"A row of an events file is too short: {source}",
            found=f"It has {len(row)} cells",
            do="Write a cell for every column, n/a where there is no value",
        )
    # Cells past the header are let be: ds002338 has rows that end in a tab.
    onset, duration, trial_type = (row[column].strip() for column in where)
    if trial_type in MISSING:
        return None
    seconds = 0.0 if duration in MISSING else _seconds(duration, "duration", source)
    if seconds < 0:
        raise DatasetError(
            f"An event's duration is negative: {source}",
            found=f"It is {duration}",
            do="Write seconds, 0 or more",
        )
    return Event(_seconds(onset, "onset", source), seconds, trial_type)


def _seconds(cell: str, column: str, source: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DatasetError(
            f"An event's {column} is no number of seconds: {source}",
            found=f"It is '{cell}'",
            do="Write seconds after the first volume, with a point",
        )
    return value
