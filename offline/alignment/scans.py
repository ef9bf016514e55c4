"""The scans that an EEG's markers tell of, their volumes numbered as the daemon does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from offline.alignment.drift import Grid, fit_grid
from rtfeedback.online.trclock import INSERTED, OFF_GRID, STOPPED, TRClock, plain_label
from rtfeedback.signals import Float64, Int64, Marker


@dataclass(frozen=True, slots=True)
class Scan:
    """Volumes that the scanner marked.

    Attributes
    ----------
    numbers : int64, shape (n_marked,)
        Counted from 0 at the first marker, by their times.
    onsets : float64, shape (n_marked,)
        In seconds from the recording's first sample.
    trs : float64, shape (n_marked,)
        The TR that the daemon goes by after each, in seconds.
    doubled : int
        Markers that repeat a volume.
    n_markers : int
        More than volumes where slices are marked.
    grid : Grid or None
        None where the markers keep to none.
    """

    numbers: Int64
    onsets: Float64
    trs: Float64
    doubled: int
    n_markers: int
    grid: Grid | None

    @property
    def tr(self) -> float:
        """The TR that the daemon would go by after the last marker, in seconds."""
        return float(self.trs[-1])

    @property
    def span(self) -> int:
        """How many volumes were scanned, from the first marker to the last."""
        return int(self.numbers[-1]) + 1

    def known(self) -> dict[int, float]:
        """Return the onset of each volume that the daemon knows of, by its number.

        Those are the marked ones, and of those without a marker the first two in a row,
        which it inserts.
        """
        known: dict[int, float] = {}
        for number, onset, tr in zip(self.numbers, self.onsets, self.trs, strict=True):
            inserted = float(onset)
            known[int(number)] = inserted
            for step in range(1, INSERTED + 1):  # the next marker, if it comes, is truer
                inserted += float(tr)
                known[int(number) + step] = inserted
        return known


def find_scans(
    markers: Sequence[Marker], tr: float, labels: Sequence[str], slices: int | None = None
) -> list[Scan]:
    """Return all marked volumes as one scan, then each between pauses, if there are any.

    Parameters
    ----------
    markers : sequence of Marker
        Ascending.
    tr : float
        The TR that is expected, in seconds.
    labels : sequence of str
        Which markers are volumes, or slices.
    slices : int, optional
        Markers per volume, where that is stated; without it the times tell.

    Returns
    -------
    list of Scan
        Empty where no marker is a volume.
    """
    wanted = {plain_label(label) for label in labels}
    heard = [marker for marker in markers if plain_label(marker.label) in wanted]
    if not heard:
        return []
    parts = list(_between_pauses(heard, STOPPED * tr))
    pools = [heard, *parts] if len(parts) > 1 else [heard]
    return [_scan(pool, tr, labels, slices) for pool in pools]


def _between_pauses(markers: Sequence[Marker], pause: float) -> Iterator[list[Marker]]:
    part = [markers[0]]
    for before, marker in pairwise(markers):
        if marker.stamp - before.stamp > pause:
            yield part
            part = []
        part.append(marker)
    yield part


def _scan(
    markers: Sequence[Marker], tr: float, labels: Sequence[str], slices: int | None
) -> Scan:
    clock = TRClock(tr, labels)
    told = []
    for marker in _first_slices(markers, tr, slices) if slices else markers:
        volume = clock.push(marker)
        if volume is not None:
            told.append((*volume, clock.tr))
    numbers, onsets, trs = (np.array(column) for column in zip(*told, strict=True))
    return Scan(
        numbers, onsets, trs, clock.doubled, len(markers), _grid(numbers, onsets, clock.tr)
    )


def _first_slices(markers: Sequence[Marker], tr: float, slices: int) -> Iterator[Marker]:
    """Yield the markers of each volume's first slice, counted from marker to marker."""
    place, last = 0, markers[0].stamp
    for marker in markers:
        step = marker.stamp - last
        place = 0 if step > STOPPED * tr else place + round(step * slices / tr)
        last = marker.stamp
        if place % slices == 0:
            yield marker


def _grid(numbers: Int64, onsets: Float64, tr: float) -> Grid | None:
    steps = np.diff(numbers)
    if np.any(steps < 1):  # the TR changed on the way
        return None
    grid = fit_grid(numbers, onsets, tr)
    jumps = np.diff(onsets) / tr - steps  # a break in the middle would tilt the grid
    off = np.abs([*grid.off(numbers, onsets), *jumps])
    return grid if off.max() <= OFF_GRID else None
