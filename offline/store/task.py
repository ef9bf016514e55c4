"""Which condition of the task holds while a volume is taken: what motor imagery is told by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from offline.design import Event
from rtfeedback.signals import Float64


def held_conditions(events: Sequence[Event], names: Sequence[str], times: Float64) -> Float64:
    """Return 1 where a condition holds and 0 elsewhere, shape (n_times, n_conditions).

    At each moment one holds at most: the one that began last. Nothing is convolved: the EEG
    shows what is done now, and not what BOLD will make of it. An event without duration
    holds at no time.

    Parameters
    ----------
    events : sequence of Event
    names : sequence of str
        The conditions, in the order of the columns; all others are rest.
    times : float64, shape (n_times,)
        Seconds after the first volume's onset.
    """
    held = np.zeros((len(times), len(names)))
    for event in sorted(events, key=lambda event: event.onset):
        now = (times >= event.onset) & (times < event.onset + event.duration)
        held[now] = [name == event.trial_type for name in names]
    return held
