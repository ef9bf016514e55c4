"""Stamps for a FieldTrip buffer, which has none.

A buffer has no stamps, only a counter of samples. The first answer anchors it: the newest
sample then has the clock's time. From there each second's answer that came with the least
delay (the lower envelope: a late answer says nothing of the amplifier) is a point, and a
line is fitted through those of the last minute. Where its pace is the stated one, stamps go
on at that, and are steered by less than 0.1 % to meet the line within a minute. Where it is
off by more than 0.1 % and 30 ms over what was heard (and four standard errors), stamps
follow the measured pace; what they were wrong by until then is a jump, which is a gap if it
is forward and a clock set back if not. So 1 % is found within some five seconds, and less
than 0.15 % passes for the stated rate.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from scipy import stats

from rtfeedback.online.timeline import RATE_SPAN, RATE_TOLERANCE
from rtfeedback.signals import Float64, Int64

_LEAST = 5  # points, below which no line is fitted
_JITTER = 0.03  # s that points may be off a line over all of their span
_SURE = 4.0  # standard errors beyond which a pace is not the stated one
_STEER = 0.9 * RATE_TOLERANCE  # of the pace, at most: steered stamps are still nominal
_KNOTS = 120  # changes of pace that are kept, one a second: an event is not older


@dataclass(frozen=True, slots=True)
class Knot:
    """A line of stamps: that of sample `counter`, and seconds from sample to sample."""

    counter: int
    stamp: float
    period: float


class CounterClock:
    """Stamps for a counter, by when it was seen to stand where.

    Parameters
    ----------
    sfreq : float
        As the buffer states it, in hertz.
    """

    def __init__(self, sfreq: float = 0.0) -> None:
        self.begin(sfreq)

    def begin(self, sfreq: float) -> None:
        """Forget the counter: it may stand elsewhere, and has another rate."""
        self.sfreq = sfreq
        self._knots: deque[Knot] = deque(maxlen=_KNOTS)
        # Stated time since the anchor, and what the clock was ahead of it, in seconds.
        self._points: deque[tuple[float, float]] = deque(maxlen=RATE_SPAN)
        self._earliest: tuple[float, float] | None = None
        self._second = 0

    @property
    def anchored(self) -> bool:
        """Whether the counter was heard, so that it can be stamped."""
        return bool(self._knots)

    def hear(self, count: int, now: float) -> None:
        """Take it that `count` samples have come by `now`, the newest of them just then.

        To be called only where the counter has grown since it was last heard.
        """
        if not self._knots:
            self._anchor = Knot(count - 1, now, 1 / self.sfreq)
            self._knots.append(self._anchor)
        stated = (count - 1 - self._anchor.counter) / self.sfreq
        passed = now - self._anchor.stamp
        point = stated, passed - stated
        if int(passed) > self._second and self._earliest is not None:
            self._second = int(passed)
            self._points.append(self._earliest)
            self._earliest = None
            self._follow(count - 1, stated)
        if self._earliest is None or point[1] < self._earliest[1]:
            self._earliest = point

    def stamp(self, counters: Int64) -> Float64:
        """Return the stamps of samples by their counters; only once it is anchored."""
        assert self._knots
        first, stamps, periods = (
            np.array([getattr(knot, name) for knot in self._knots])
            for name in ("counter", "stamp", "period")
        )
        at = np.maximum(np.searchsorted(first, counters, side="right") - 1, 0)
        return np.asarray(stamps[at] + (counters - first[at]) * periods[at], np.float64)

    def _follow(self, newest: int, stated: float) -> None:
        """Go on from the newest sample towards the line, or along it."""
        if len(self._points) < _LEAST:
            return
        x, y = np.array(self._points).T
        line = stats.linregress(x, y)
        there = self._anchor.stamp + stated + float(line.intercept + line.slope * stated)
        here = float(self.stamp(np.array([newest]))[0])
        unsure = max(_JITTER / float(x[-1] - x[0]), _SURE * float(line.stderr))
        pace = 1.0
        if abs(line.slope) > RATE_TOLERANCE + unsure:
            pace += float(line.slope)
            here = there if abs(there - here) > _JITTER else here
        pace += float(np.clip((there - here) / RATE_SPAN, -_STEER, _STEER))
        period = pace / self.sfreq
        # The newest sample may have its stamp already; the next has none.
        self._knots.append(Knot(newest + 1, here + period, period))
