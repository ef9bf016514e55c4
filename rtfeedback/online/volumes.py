"""Volumes by number and onset, what happens to them, and those that are counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple


class Volume(NamedTuple):
    """A volume's number, counted from 0, and its onset in seconds."""

    number: int
    onset: float


@dataclass(frozen=True, slots=True)
class Happening:
    """Something the experimenter should know of, in the words of an `event` message."""

    kind: str
    facts: dict[str, Any]


class CountedVolumes:
    """Count volumes on the stream's own stamps: volume 0 begins at the run's first.

    The grid stays over gaps: one in the stream is none in the scanner. Where the stream's
    clock was set back, the count goes on from there.
    """

    settled = True  # it is what was asked for

    def __init__(self, tr: float) -> None:
        self.tr = tr
        self._first = 0.0
        self._next = 0

    def next_volume(self) -> Volume:
        """Return the volume that begins next."""
        return Volume(self._next, self._first + self._next * self.tr)

    def begin(self, stamp: float) -> None:
        """Put the onset of the next volume, at first volume 0, at a stamp."""
        self._first = stamp - self._next * self.tr

    def reach(self, stamp: float) -> Iterator[Volume]:
        """Yield each further volume that begins up to a stamp."""
        while (volume := self.next_volume()).onset <= stamp:
            yield volume
            self._next += 1
