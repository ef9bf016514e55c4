"""Volumes by number and onset, out of the scanner's markers.

The TR is what the markers show: two intervals confirm the one that is expected, which then
holds to its last digit, and four that agree show another. Until then it is not settled.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from statistics import median, pstdev
from typing import Any

from rtfeedback.online.volumes import Happening, Volume
from rtfeedback.signals import Marker

VOLUME_LABELS = ("R128", "S128", "T  1", "Volume", "volume", "5", "Scan Start")

INTERVALS = 12  # of the last markers, that show the TR
ENOUGH = 4  # intervals that settle it
CONFIRMING = 2  # intervals that do where they are what was expected
AGREE = 0.05  # of the TR, by which intervals may differ and still agree
MAJORITY = 0.7  # of the intervals
CONFIRMED = 1e-3  # of the TR: the markers show what was expected
SLICES = 6  # markers per volume at least; fewer in an expected TR are volumes, scanned faster
SHORTEST_TR = 0.25  # s; markers closer than that are slices
OFF_GRID = 0.25  # of the TR, beyond which a marker between volumes is none
INSERTED = 2  # volumes in a row that may lack a marker
BOUNCE = 0.01  # s; a marker sooner after another is no interval
STOPPED = 3.5  # TRs without a marker after which the scanner has stopped: two were inserted
PATIENCE = 10.0  # s without a marker that are no stop while the TR is unknown
AHEAD = 60.0  # s that a marker may be ahead of the EEG
_PREFIX = re.compile(r"^(?:Stimulus|Response|Comment|Scanner)/")


class TRClock:
    """Number the volumes that the scanner marks.

    A marker that repeats a volume is dropped; a volume without one is inserted where the
    next would be, twice in a row at most; markers per slice are thinned to volumes. One
    from a TR or more before the last is old and late, and dropped. Where the EEG's stamps
    went back by as much, the clock was set back, and it is the next volume's.

    Parameters
    ----------
    tr : float
        The TR that is expected, in seconds.
    labels : sequence of str
        Which markers are volumes; how many blanks are in one, and BrainVision's `Stimulus/`
        before it, does not count.

    Attributes
    ----------
    tr : float
        The TR that the run goes by.
    doubled, missing : int
        Markers dropped because they repeat a volume, and volumes that had none.
    renumbered : int
        How often the markers showed another TR, so that volumes got other numbers.
    settled : bool
        Whether the TR is known: two intervals confirm the expected one, or four agree.
    stopped : bool
        Whether no marker has come for three and a half TRs.
    stopped_at : float
        When that was so, by the stamps.
    happened : list of Happening
        What to tell; who tells it empties it.
    """

    def __init__(self, tr: float, labels: Sequence[str] = VOLUME_LABELS) -> None:
        self.tr = self.expected = tr
        self.labels = frozenset(plain_label(label) for label in labels)
        self.doubled = self.missing = self.renumbered = 0
        self.settled = self.stopped = False
        self.stopped_at = 0.0
        self.happened: list[Happening] = []
        self._last: Volume | None = None
        self._first: Volume | None = None
        self._now = 0.0  # stamp of the EEG
        self._heard = 0.0  # stamp of the EEG, or of the marker, when one last came
        self._raw: deque[float] = deque(maxlen=INTERVALS + 1)
        self._per_volume = 1
        self._resumed = False
        self._inserted = 0  # in a row
        self._off: float | None = None  # the last marker that was off the grid

    @property
    def heard(self) -> bool:
        """Whether any volume was marked."""
        return self._last is not None

    @property
    def jitter(self) -> float | None:
        """Sd of the last intervals between volume markers, in seconds; None at first."""
        if not self.settled:
            return None
        spacing = self.tr / self._per_volume
        off = [d - spacing for d in self._intervals() if abs(d - spacing) < OFF_GRID * spacing]
        return pstdev(off) if len(off) > 1 else None

    def push(self, marker: Marker) -> Volume | None:
        """Return the volume that a marker begins, if it does."""
        if plain_label(marker.label) not in self.labels:
            return None
        stamp = marker.stamp
        if self._now and stamp - self._now > AHEAD:
            self._tell("stray", onset=stamp, off=stamp - self._now)
            return None
        self._hear(stamp)
        if self._last is None:
            self._first = self._last = Volume(0, stamp)
            return self._last
        step = (stamp - self._last.onset) / self.tr
        is_slice = self._per_volume > 1 and abs(step - round(step)) > 0.5 / self._per_volume
        if 0 <= round(-step) < self._inserted and not is_slice:
            self._confirm(round(-step), stamp)
            return None
        if step <= -1:
            return self._go_back(stamp)
        if is_slice or not self._is_on_grid(step, stamp):
            return None
        steps = round(step)
        if steps < 1:
            self._repeat(stamp)
            return None
        if steps > 1 and not self._resumed:
            self.missing += steps - 1
            self._tell("missing", volumes=steps - 1, after=self._last.number)
        return self._accept(self._last.number + steps, stamp)

    def next_volume(self) -> Volume | None:
        """Return the volume whose marker comes next, where the TR is settled."""
        if self._last is None or not self.settled or self.stopped:
            return None
        if self._inserted >= INSERTED:
            return None
        return Volume(self._last.number + 1, self._last.onset + self.tr)

    def insert(self) -> Volume | None:
        """Take it that the next volume's marker is missing, and return that volume."""
        volume = self.next_volume()
        if volume is not None:
            self._inserted += 1
            self.missing += 1
            self._last = volume
            self._tell("inserted", volume=volume.number, onset=volume.onset)
        return volume

    def reach(self, stamp: float) -> bool:
        """Return whether the scanner is found to have stopped by this stamp of the EEG."""
        self._now = stamp
        if self._last is None or self.stopped or stamp - self._heard < self._patience():
            return False
        self.stopped, self.stopped_at = True, self._heard + self._patience()
        withdrawn, self._inserted = self._inserted, 0
        number = self._last.number - withdrawn  # those were none
        self._last = Volume(number, self._last.onset - withdrawn * self.tr)
        self.missing -= withdrawn
        self._tell("scanner_stopped", volume=number, withdrawn=withdrawn)
        return True

    def _patience(self) -> float:
        if self.settled:
            return STOPPED * self.tr
        return max(PATIENCE, STOPPED * self.tr, STOPPED * max(self._intervals(), default=0.0))

    def excuse(self, stamp: float) -> None:
        """Count the scanner's silence from here: what came before was not heard."""
        self._heard = self._now = stamp

    # --- one marker ------------------------------------------------------------------

    def _hear(self, stamp: float) -> None:
        pause = stamp - self._raw[-1] if self._raw else 0.0
        if pause < 0:  # a clock that was set back is no interval
            self._raw.clear()
        if not self._raw or pause > BOUNCE:
            self._raw.append(stamp)
        # A marker that comes late is heard when it comes.
        self._heard = stamp if self._now - stamp < self.tr else self._now
        self._resumed = self.stopped
        if self.stopped:
            self.stopped = False
            self._tell("scanner_resumed", onset=stamp)
        self._estimate()

    def _is_on_grid(self, step: float, stamp: float) -> bool:
        """Tell whether a marker can be a volume's; a stray is not."""
        off = abs(step - round(step))
        if self._per_volume > 1:
            return True
        if not self.settled or off < OFF_GRID or step < 0.5 or step > STOPPED:
            return True
        # Two strays a TR apart are a scanner that was started again.
        again = self._off is not None and abs(stamp - self._off - self.tr) < AGREE * self.tr
        self._off = None if again else stamp
        if not again:
            self._tell("stray", onset=stamp, off=off * self.tr)
        return again

    def _confirm(self, back: int, stamp: float) -> None:
        """Take the marker of a volume that was inserted, which has come late."""
        assert self._last is not None
        self._inserted = back
        self.missing -= 1
        self._tell("late_marker", volume=self._last.number - back, onset=stamp)
        self._last = Volume(self._last.number, stamp + back * self.tr)

    def _go_back(self, stamp: float) -> Volume | None:
        """Take a marker from before the last: old and late, unless the clock was set back."""
        assert self._last is not None
        if self._now >= self._last.onset - self.tr:
            self._tell("late_marker", volume=None, onset=stamp)
            return None
        return self._accept(self._last.number + 1, stamp, restart=True)

    def _repeat(self, stamp: float) -> None:
        assert self._last is not None
        self.doubled += 1
        self._tell("doubled", volume=self._last.number, onset=stamp)

    def _accept(self, number: int, onset: float, *, restart: bool = False) -> Volume:
        self._inserted, self._off = 0, None
        self._last = Volume(number, onset)
        if restart:
            self._first = self._last
        return self._last

    def _tell(self, kind: str, **facts: Any) -> None:
        self.happened.append(Happening(kind, facts))

    # --- the TR ----------------------------------------------------------------------

    def _intervals(self) -> list[float]:
        return [b - a for a, b in pairwise(self._raw)]

    def _estimate(self) -> None:
        intervals = self._intervals()
        expected = [d for d in intervals if abs(d / self.expected - 1) <= AGREE]
        if not self.settled and len(expected) == len(intervals) >= CONFIRMING:
            self._settle(self.expected, 1)
        if len(intervals) < ENOUGH:
            return
        spacing = median(intervals)
        agreeing = [d for d in intervals if abs(d - spacing) <= AGREE * spacing]
        if spacing <= 0 or len(agreeing) < MAJORITY * len(intervals):
            return
        spacing = median(agreeing)  # a doubled marker moves two intervals, and no median
        per_volume = self._markers_per_volume(spacing)
        found = per_volume * spacing
        tr = self.expected if abs(found / self.expected - 1) < CONFIRMED else found
        self._settle(tr, per_volume)

    def _markers_per_volume(self, spacing: float) -> int:
        n = round(self.expected / spacing)
        whole = n >= 1 and abs(n * spacing / self.expected - 1) < AGREE / 2
        return n if n > 1 and (spacing < SHORTEST_TR or (n >= SLICES and whole)) else 1

    def _settle(self, tr: float, per_volume: int) -> None:
        other = abs(tr / self.tr - 1) > AGREE or per_volume != self._per_volume
        first_time, self.settled = not self.settled, True
        self.tr, self._per_volume = tr, per_volume
        if first_time or other:
            self._tell("tr", tr=tr, expected=self.expected, markers_per_volume=per_volume)
        if other:
            self.renumbered += 1
            self._renumber()

    def _renumber(self) -> None:
        """Give new numbers to what was numbered by another TR."""
        if self._first is None or len(self._raw) < 2:
            return
        steps = (self._raw[-2] - self._first.onset) / self.tr
        whole = int(steps + AGREE) if self._per_volume > 1 else round(steps)
        onset = self._first.onset + whole * self.tr if self._per_volume > 1 else self._raw[-2]
        self._last = Volume(self._first.number + whole, onset)
        self._inserted = self.doubled = self.missing = 0


def plain_label(label: str) -> str:
    """Return a label without BrainVision's prefix, its blanks single: `T  1` is not `T1`."""
    return " ".join(_PREFIX.sub("", label).split())
