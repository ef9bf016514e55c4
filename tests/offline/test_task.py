from __future__ import annotations

import numpy as np

from offline.design import Event
from offline.store.task import held_conditions

TIMES = np.array([0.5, 1.0, 2.0, 2.9, 3.0, 5.0])


def test_a_condition_holds_from_its_onset_until_its_end() -> None:
    events = [Event(1.0, 2.0, "left"), Event(3.0, 1.0, "right"), Event(0.0, 9.0, "rest")]
    held = held_conditions(sorted(events), ("left", "right"), TIMES)
    assert held[:, 0].tolist() == [0, 1, 1, 1, 0, 0]
    assert held[:, 1].tolist() == [0, 0, 0, 0, 1, 0]


def test_of_two_that_overlap_the_one_that_began_last_holds() -> None:
    events = [Event(2.0, 0.9, "right"), Event(1.0, 4.0, "left")]
    held = held_conditions(events, ("left", "right"), TIMES)
    assert held.tolist() == [[0, 0], [1, 0], [0, 1], [1, 0], [1, 0], [0, 0]]


def test_an_impulse_holds_at_no_time_and_without_events_all_is_rest() -> None:
    assert not held_conditions([Event(1.0, 0.0, "tone")], ("tone",), TIMES).any()
    assert held_conditions([], (), TIMES).shape == (6, 0)
