"""Volumes by number and onset, out of the scanner's markers or counted on the stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rtfeedback.signals import Marker

VOLUME_LABELS = ("R128", "S128", "T  1", "Volume", "volume", "Scan Start")


class TRClock:
    """Number the volumes that the scanner marks.

    A marker sooner than half a TR after the last is the same volume told twice; one
    after a longer pause than a TR takes the number that the pause leaves it. One
    from a TR or more before the last says that the clock was set back: it is the next.

    Parameters
    ----------
    tr : float
        The TR that the run goes by, in seconds.
    labels : sequence of str
        Which markers are volumes.

    Attributes
    ----------
    doubled, missing : int
        Markers dropped because they repeat one, and volumes that had none.
    """

    def __init__(self, tr: float, labels: Sequence[str] = VOLUME_LABELS) -> None:
        self.tr = tr
        self.labels = frozenset(labels)
        self.doubled = self.missing = 0
        self._last: tuple[int, float] | None = None

    def push(self, marker: Marker) -> tuple[int, float] | None:
        """Return the number and onset of the volume that a marker begins, if it does."""
        if marker.label not in self.labels:
            return None
        volume = 0
        if self._last is not None:
            last, onset = self._last
            steps = round((marker.stamp - onset) / self.tr)
            if steps < 0:
                steps = 1
            if steps < 1:
                self.doubled += 1
                return None
            self.missing += steps - 1
            volume = last + steps
        self._last = (volume, marker.stamp)
        return self._last


class CountedVolumes:
    """Count volumes on the stream's own stamps: volume 0 begins at the run's first.

    The grid stays over gaps: one in the stream is none in the scanner. Where the stream's
    clock was set back, the count goes on from there.
    """

    def __init__(self, tr: float) -> None:
        self.tr = tr
        self._first = 0.0
        self._next = 0

    def begin(self, stamp: float) -> None:
        """Put the onset of the next volume, at first volume 0, at a stamp."""
        self._first = stamp - self._next * self.tr

    def reach(self, stamp: float) -> Iterator[tuple[int, float]]:
        """Yield each further volume that begins up to a stamp, with its onset."""
        while (onset := self._first + self._next * self.tr) <= stamp:
            yield self._next, onset
            self._next += 1


def volume_onsets(
    markers: Iterable[Marker], tr: float, labels: Sequence[str] = VOLUME_LABELS
) -> list[tuple[int, float]]:
    """Return number and onset of every volume of a recording, as the daemon numbers them."""
    clock = TRClock(tr, labels)
    return [volume for marker in markers if (volume := clock.push(marker)) is not None]
