"""Which windows fall due: volumes, hops between them, and the time without a scanner."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, inf

import numpy as np

from rtfeedback.online.trclock import TRClock
from rtfeedback.online.volumes import CountedVolumes, Happening, Volume
from rtfeedback.signals import Float64, Marker
from rtfeedback.windows import NEAREST, Due, WindowSpec, due_of_marker, reached

# A due window, the place of its newest sample in a block of outputs, and whether that
# sample really is the nearest: the nearest may never have come, or have gone by.
Found = tuple[Due, int, bool]

CLOCK_SET = 3600.0  # s: a jump ahead by more is no gap in the EEG
SET_BACK = 1.0  # s: a jump back by more is a clock that was set; by less it is jitter
TOLD = 60.0  # s of a gap whose counted volumes are told one by one; longer ago is no news
NO_VOLUME = "no_volume"


class Schedule:
    """The windows that are due, by the stamps of the stream.

    Parameters
    ----------
    spec : WindowSpec
    rate : float
        Rate of the features in hertz.
    volumes : TRClock or CountedVolumes
        Whether volumes are marked, or counted on the stream's stamps.
    hop : float, optional
        Seconds between windows that belong to no volume.
    """

    def __init__(
        self,
        spec: WindowSpec,
        rate: float,
        volumes: TRClock | CountedVolumes,
        hop: float | None = None,
    ) -> None:
        self.spec, self.rate, self.volumes, self.hop = spec, rate, volumes, hop
        self._due: list[Due] = []
        self._first_stamp = 0.0
        self._hops = 0
        self._pause = 0.0  # when the next of the TRs without a scanner ends
        self.happened: list[Happening] = []

    def mark(self, marker: Marker) -> Volume | None:
        """Take a marker; return the volume that it begins, if it does."""
        if not isinstance(self.volumes, TRClock):
            return None
        numbered = self.volumes.renumbered
        volume = self.volumes.push(marker)
        if self.volumes.renumbered > numbered:  # what was forecast by the old TR is void
            self._due = [_void(due, "tr_unknown") for due in self._due]
        if volume is not None:
            self._add(volume)
        return volume

    def begin(self, start: float, last: float | None) -> list[Due]:
        """Begin a segment at a stamp; the one before ended at `last`, if there was one.

        Returns
        -------
        list of Due
            What fell due without a sample to answer it: before the gap, or in it.
        """
        if last is None or not last - SET_BACK <= start < last + CLOCK_SET:
            void = self._begin_grids(start, forget=last is not None)
        else:
            void = self._pass_over(start, last)
        self._pause = max(self._pause, start)
        return void

    def _begin_grids(self, start: float, *, forget: bool) -> list[Due]:
        """Let hops and counted volumes go on from here, as the stream's clock does."""
        void: list[Due] = []
        if forget:  # or nothing would be told until the old time is reached
            void = [replace(due, reason="gap") for due in self._due if due.volume is not None]
            self._due = []
        self._first_stamp = self._pause = start
        self._hops = 0
        if isinstance(self.volumes, CountedVolumes):
            self.volumes.begin(start)
            self._count(start)
        elif forget:
            self.volumes.excuse(start)
        return void

    def _pass_over(self, start: float, last: float) -> list[Due]:
        """Take what fell into a gap: hops were told as stale, old volumes are no news."""
        if isinstance(self.volumes, CountedVolumes):
            self._count(start)
        elif start - last > self.volumes.tr:
            self.volumes.excuse(start)
        over = [due for due in self._due if due.end < start]
        self._due = [due for due in self._due if due.end >= start]
        if self.hop:
            over = [due for due in over if due.volume is not None or due.end <= last]
            self._hops = max(self._hops, ceil((start - self._first_stamp) / self.hop) - 1)
        old = [due.volume for due in over if due.end < start - TOLD and due.volume is not None]
        if old:
            self.happened.append(Happening("skipped", {"first": min(old), "last": max(old)}))
        return [due for due in over if due.end >= start - TOLD]

    def reach(self, stamp: float) -> None:
        """Add what falls due up to a stamp."""
        # A sample may be the nearest to a time that it precedes by half a period.
        ahead = stamp + 1 / self.rate
        if isinstance(self.volumes, CountedVolumes):
            self._count(ahead)
        else:
            self._follow(self.volumes, ahead)
        if self.hop:
            while (end := self._first_stamp + (self._hops + 1) * self.hop) <= ahead:
                self._due.append(Due(end, end + self.spec.lead))
                self._hops += 1
        self._due.sort(key=lambda due: due.end)

    @property
    def next_end(self) -> float:
        """Return when the next window that is known of ends, by the stamps; or never."""
        ends = [due.end for due in self._due]
        if self.hop:
            ends.append(self._first_stamp + (self._hops + 1) * self.hop)
        elif isinstance(self.volumes, TRClock) and self.volumes.stopped:
            ends.append(self._pause)
        volume = self.volumes.next_volume()
        if volume is not None:
            ends.append(self._due_of(volume).end)
        return min(ends, default=inf)

    def take(self, before: float, stamps: Float64) -> list[Found]:
        """Take the windows that end in a block, with their newest sample's place in it.

        A hop that is also a volume is one window, the volume's.

        Parameters
        ----------
        before : float
            Stamp of the last output before the block: its time has gone by.
        stamps : float64, shape (n_times,)
        """
        latest = float(stamps[-1])
        # As `newest_samples` would find: nearly always there is none, or one.
        taken = [due for due in self._due if due.end - NEAREST / self.rate <= latest]
        if not taken:
            return []
        self._due = self._due[len(taken) :]
        ends = np.array([due.end for due in taken])
        known = np.concatenate([[before], stamps])
        newest, nearest = reached(known, ends, self.rate)
        found = [
            (due, max(0, place - 1), there and place > 0)
            for due, place, there in zip(taken, newest.tolist(), nearest.tolist(), strict=True)
        ]
        volumes = [each for each in found if each[0].volume is not None]
        return [each for each in found if each in volumes or not self._is_any(each, volumes)]

    def _is_any(self, hop: Found, volumes: list[Found]) -> bool:
        """Tell whether a hop is also a volume: the same sample, and the same time."""
        return any(
            hop[1:] == volume[1:] and abs(hop[0].end - volume[0].end) < 1 / self.rate
            for volume in volumes
        )

    def _due_of(self, volume: Volume) -> Due:
        tr = self.volumes.tr
        return due_of_marker(self.spec, volume.number, volume.onset, tr=tr, rate=self.rate)

    def _add(self, volume: Volume) -> None:
        self._due.append(self._due_of(volume))

    def _count(self, stamp: float) -> None:
        assert isinstance(self.volumes, CountedVolumes)
        for volume in self.volumes.reach(stamp):
            self._add(volume)

    def _follow(self, clock: TRClock, ahead: float) -> None:
        """Put in the volumes whose markers are missing, until the scanner has stopped."""
        while (volume := clock.next_volume()) and self._due_of(volume).end <= ahead:
            clock.insert()
            self._add(volume)
        if clock.reach(ahead):
            self._pause = clock.stopped_at
        # Without a hop nothing would be told until it goes on, and the last value would
        # stand: so that there is none is told every TR.
        while clock.stopped and not self.hop and self._pause <= ahead:
            self._due.append(Due(self._pause, self._pause + self.spec.lead, reason=NO_VOLUME))
            self._pause += clock.tr


def _void(due: Due, reason: str) -> Due:
    """Return a volume's due window as one that belongs to none, and is invalid."""
    return due if due.volume is None else replace(due, volume=None, reason=reason)
