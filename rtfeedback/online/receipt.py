"""When samples were received, which is not always when they were pulled."""

from __future__ import annotations

STALL = 0.25  # s between two pulls above which samples may have been waiting for the second
SETTLE = 0.1  # s after a stall in which what waited outside this process is still coming in


class Receipt:
    """Date pulls, so that samples that waited never look fresh.

    A process that was stopped, or was busy, finds a backlog: its samples were there long
    before they were pulled. How long is not known, so they count as received when the
    stream was last known to have nothing waiting: never younger than they are.

    Parameters
    ----------
    opened : float
        Monotonic clock when the stream was opened, in seconds.
    """

    def __init__(self, opened: float) -> None:
        self._emptied = self._pulled = opened
        self._waiting = False
        self._settles = opened

    def date(self, now: float, *, waited: float, waiting: bool, lay: bool = False) -> float:
        """Return when the samples of a pull that ended just now were received.

        To be called after each pull, one without samples too.

        Parameters
        ----------
        now : float
            Monotonic clock as the pull returned, in seconds.
        waited : float
            Seconds that the pull was allowed to wait for samples.
        waiting : bool
            Whether the pull left samples behind, or may have done.
        lay : bool
            Whether they lay there, or may have done, when it was looked for them.
        """
        if now - self._pulled > waited + STALL:
            self._waiting, self._settles = True, now + SETTLE
        received = self._emptied if self._waiting or lay else now
        self._pulled = now
        self._waiting = waiting or (self._waiting and now < self._settles)
        if not self._waiting:
            self._emptied = now
        return received
