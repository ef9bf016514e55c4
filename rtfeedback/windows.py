"""Which samples belong to which target time: one rule, for the desk and the daemon.

A volume's target time is t_k = onset_k + slice_ref * TR. Its window is the n_times
samples whose newest has the stamp nearest to t_k - lead. Where a window ends before its
volume's marker, the onset is forecast from the last volume marked by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Annotated

import numpy as np
from pydantic import Field

from rtfeedback.config import Config
from rtfeedback.signals import Bool, Float64, Int64

# Half a sample, and a little more: a time midway between two samples goes to the
# earlier one, whatever the 10-40 us by which the clocks of two inlets differ.
NEAREST = 0.5 + 1 / 32
# A marker counts as known to the windows whose newest sample comes this much later: it
# may arrive after the EEG that belongs to it, and a window that went by is gone.
MARKER_GRACE = 0.05  # s


class WindowSpec(Config):
    """Length, lead and slice reference of a model's windows."""

    length: Annotated[float, Field(gt=0)]
    """Seconds of EEG in a window."""
    lead: Annotated[float, Field(ge=0)] = 0.0
    """Seconds from a window's newest sample to the time that it predicts."""
    slice_ref: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the TR after a volume's onset to which its slices were timed."""

    def n_times(self, rate: float) -> int:
        """Return the number of samples in a window at a rate in hertz."""
        return round(self.length * rate)


@dataclass(frozen=True, slots=True)
class Due:
    """A time at which a window ends, and what that window predicts.

    Attributes
    ----------
    end : float
        When its newest sample is due, in seconds.
    target : float
        The time that it predicts.
    volume : int or None
        None for a hop between volumes.
    reason : str or None
        Why no value can be valid at that time, whatever the EEG is like.
    """

    end: float
    target: float
    volume: int | None = None
    reason: str | None = None


def volumes_ahead(spec: WindowSpec, tr: float, rate: float) -> int:
    """Return how many volumes after the last marked one a window predicts."""
    known_late = MARKER_GRACE + NEAREST / rate
    return max(0, ceil((spec.lead + known_late - spec.slice_ref * tr) / tr))


def due_of_marker(
    spec: WindowSpec, volume: int, onset: float, *, tr: float, rate: float
) -> Due:
    """Return the window that the marker of one volume makes known.

    Parameters
    ----------
    spec : WindowSpec
    volume : int
        The marked volume, counted from 0.
    onset, tr : float
        Its onset, and the TR that the run goes by, in seconds.
    rate : float
        Rate of the samples in hertz.
    """
    ahead = volumes_ahead(spec, tr, rate)
    target = onset + (ahead + spec.slice_ref) * tr
    return Due(target - spec.lead, target, volume + ahead)


def newest_samples(stamps: Float64, ends: Float64, rate: float) -> Int64:
    """Return the index of the sample nearest to each time, len(stamps) if none has come.

    It needs no sample after the one that it names: sample i is the nearest to `end`
    as soon as its stamp reaches `end - NEAREST / rate`.

    Parameters
    ----------
    stamps : float64, shape (n_times,)
        Rising, in seconds.
    ends : float64, shape (n_windows,)
    rate : float
        Rate of the samples in hertz.
    """
    return np.searchsorted(stamps, ends - NEAREST / rate, side="left")


def reached(stamps: Float64, ends: Float64, rate: float) -> tuple[Int64, Bool]:
    """Return `newest_samples`, and whether that sample really is the nearest.

    It is not where the samples begin after the time, or a gap lies over it.
    """
    newest = newest_samples(stamps, ends, rate)
    there = newest < len(stamps)
    found = stamps[np.minimum(newest, len(stamps) - 1)] if len(stamps) else ends
    return newest, there & (found - ends <= 2 * NEAREST / rate)
