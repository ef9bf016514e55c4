"""When EEG is stale, and when that has to be said; it has no clock and no socket."""

from __future__ import annotations

from collections import deque
from math import inf

PAUSE = 4.0  # s between two chunks that no amplifier takes: longer is not its habit
HABIT = 32  # pauses that show what is usual
OFTEN = 3  # times that a pause has to be there to be one
INSTANT = 1e-3  # s by which a wait may end too early for what it waits for
LOOK = 0.5  # of the time without EEG, between two looks for some


class Silence:
    """Tells at once, and then every period, while no EEG comes.

    Parameters
    ----------
    after : float
        Seconds without EEG that are no silence yet, at least; twice the stream's usual
        pause between chunks where that is longer.
    period : float
        Seconds from one telling to the next.

    Attributes
    ----------
    heard : float or None
        When EEG last came, by the monotonic clock as all times here; None before it did.
    stale : bool
        Whether there is silence.
    """

    def __init__(self, after: float, period: float) -> None:
        self.after, self.period = after, period
        self.heard: float | None = None
        self.stale = False
        self._since, self._next = inf, 0.0
        self._pauses: deque[float] = deque(maxlen=HABIT)
        self._new = True

    def open(self, now: float) -> None:
        """Begin with a stream; how it sends is its own habit."""
        self._since, self._new = now, True
        self._pauses.clear()

    def hear(self, now: float) -> None:
        """Take note that EEG came; once is enough."""
        if self.heard is not None and now <= self.heard:
            return
        if not self._new and now - self._since < PAUSE:
            self._pauses.append(now - self._since)
        self._since = self.heard = now
        self.stale = self._new = False

    def tells(self, now: float, *, gone: bool) -> bool:
        """Return whether it has to be said now that all is stale.

        Parameters
        ----------
        now : float
        gone : bool
            Whether the stream has ended, so that there is nothing to wait for.
        """
        if not self.stale:
            if not gone and now - self._since <= self.after:
                return False
            if not gone and now - self._since <= 2 * self._usual():
                return False
            self.stale, self._next = True, now
        if now < self._next:
            return False
        self._next = next_tick(self._next, self.period, now)
        return True

    def left(self, now: float) -> float:
        """Return for how many seconds it need not be asked whether it tells, if none comes.

        No more than half of the time without EEG: to who waits longer for many samples, his
        own waits are the pauses that the stream takes.
        """
        due = self._next if self.stale else self._since + self.after
        most = LOOK * self.after
        return min(due - now + INSTANT, most) if due >= now else most

    def _usual(self) -> float:
        """Return the pause that half of the time goes by in pauses of at least.

        Half of the pauses would not do: what is sent at once may be pulled in parts.
        """
        half, spent = sum(self._pauses) / 2, 0.0
        for n, pause in enumerate(sorted(self._pauses, reverse=True), 1):
            spent += pause
            if n >= OFTEN and spent >= half:
                return pause
        return 0.0


def next_tick(tick: float, period: float, now: float) -> float:
    """Return the first of the ticks, a period apart, that is still to come."""
    return tick + period * ((now - tick) // period + 1)
