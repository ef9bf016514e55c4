"""Which times of a run are for training, validation and test, where a split cuts runs."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

from rtfeedback.signals import Bool, Float64, Int64

Part = Literal["train", "validation", "test"]
Interval = tuple[float, float]

BESIDE = 20.0  # s between windows: by then BOLD's response to what they share is over
RANK = {"train": 0, "validation": 1, "test": 2}  # the lower one keeps its distance


@dataclass(frozen=True, slots=True)
class Blocks:
    """Equal blocks of the seconds in which a run was scanned.

    A time within the gap of a block that is held out belongs to nothing, on either side of
    it. What lies before the first volume goes with the first block, and so at the end.

    Attributes
    ----------
    parts : tuple of Part
        What each block is for, in order of time.
    """

    parts: tuple[Part, ...]

    def holds(self, part: Part, times: Float64, scanned: Interval, gap: float) -> Bool:
        """Tell which times belong to a part.

        Parameters
        ----------
        part : Part
        times : float64, shape (n,)
            That windows predict, in seconds of the recording.
        scanned : tuple of float
            Begin and end of the scan, in the same seconds.
        gap : float
            Seconds that two parts keep from each other.

        Returns
        -------
        bool, shape (n,)
        """
        held = np.zeros(len(times), dtype=np.bool_)
        for begin, end in self.intervals(part, scanned, gap):
            held |= (times >= begin) & (times < end)
        return held

    def intervals(self, part: Part, scanned: Interval, gap: float) -> tuple[Interval, ...]:
        """Return the times that belong to a part, the outermost without an end."""
        edges = np.linspace(*scanned, len(self.parts) + 1)
        edges[[0, -1]] = -inf, inf
        held = [i for i, other in enumerate(self.parts) if RANK[other] > RANK[part]]
        found: list[Interval] = []
        for i in (i for i, own in enumerate(self.parts) if own == part):
            begin = max([edges[i], *(edges[j + 1] + gap for j in held if j < i)])
            end = min([edges[i + 1], *(edges[j] - gap for j in held if j > i)])
            if begin >= end:
                continue
            if found and found[-1][1] == begin:
                begin = found.pop()[0]
            found.append((float(begin), float(end)))
        return tuple(found)


def scattered(name: str, n_volumes: int, n_folds: int) -> Int64:
    """Return a fold for each volume of a run at random, the same whatever the model.

    Parameters
    ----------
    name : str
        The run's; it is the seed.
    n_volumes, n_folds : int

    Returns
    -------
    int64, shape (n_volumes,)
        From 0 to n_folds - 1, as many of each as can be.
    """
    rng = np.random.default_rng(list(name.encode()))
    return np.asarray(rng.permutation(n_volumes) % n_folds)
