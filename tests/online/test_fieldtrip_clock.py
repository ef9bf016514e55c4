"""The stamps of a counter tell the truth about its rate."""

from __future__ import annotations

import numpy as np
import pytest

from rtfeedback.online.fieldtrip_clock import CounterClock
from rtfeedback.online.timeline import Timeline
from rtfeedback.signals import Chunk, Float64

STATED = 250.0
BEGAN = 1000.0  # s on the clock


def listen(
    seconds: float, sent: float, *, block: int = 10, jitter: float = 0.0, seed: int = 0
) -> tuple[Timeline, Float64, list[float], float]:
    """Hear a counter that goes at `sent` a second, whose answers come late by a jitter.

    Returns the timeline, its stamps, when its rate was found not to be the stated one, in
    seconds, and by how many seconds its newest stamp is off the clock.
    """
    rng = np.random.default_rng(seed)
    clock, timeline = CounterClock(STATED), Timeline(STATED)
    stamps, found, count = [np.empty(0)], [], 0
    arrived = 0.0
    while arrived < seconds:
        arrived = (count + block) / sent
        clock.hear(count + block, BEGAN + arrived + rng.uniform(0, jitter))
        made = clock.stamp(np.arange(count, count + block))
        list(timeline.push(Chunk(np.zeros((block, 1), np.float32), made, 0.0)))
        found += [] if timeline.rate_is_nominal else [arrived]
        stamps.append(made)
        count += block
    return timeline, np.concatenate(stamps), found, float(made[-1]) - BEGAN - arrived


@pytest.mark.parametrize("ppm", [-50, 0, 50])
@pytest.mark.parametrize("block", [10, 125, 500])
def test_a_good_amplifier_is_nominal_and_kept_to_the_clock(ppm: int, block: int) -> None:
    timeline, stamps, found, off = listen(
        900.0, STATED * (1 + ppm * 1e-6), block=block, jitter=0.02, seed=block
    )
    assert (timeline.segment, timeline.lost, found) == (0, 0, [])
    assert np.max(np.abs(np.diff(stamps) * STATED - 1)) < 1e-3
    assert abs(off) < 0.02


@pytest.mark.parametrize("seed", range(8))
def test_jitter_is_no_rate(seed: int) -> None:
    timeline, _, found, _ = listen(90.0, STATED, block=125, jitter=0.02, seed=seed)
    assert (timeline.segment, timeline.lost, found) == (0, 0, [])


@pytest.mark.parametrize("share", [0.8, 0.99, 1.01, 1.2])
@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_another_rate_is_found_within_ten_seconds(share: float, jitter: float) -> None:
    timeline, _, found, off = listen(15.0, share * STATED, jitter=jitter)
    assert found[0] < 11.0
    assert not timeline.rate_is_nominal
    assert timeline.rate == pytest.approx(share * STATED, rel=2e-3)
    assert abs(off) < 0.03  # and the stamps are the clock's again


def test_samples_that_never_came_are_counted_as_lost() -> None:
    timeline, _, _, _ = listen(8.0, 200.0)
    assert timeline.segment == 1
    assert timeline.lost > 200
    assert timeline.lost == pytest.approx(0.25 * 200 * 5, rel=0.1)


def test_a_stamp_is_never_changed_later() -> None:
    clock = CounterClock(STATED)
    early: list[Float64] = []
    for k in range(1, 600):
        clock.hear(10 * k, BEGAN + 10 * k / 200)
        early.append(clock.stamp(np.arange(10 * (k - 1), 10 * k)))
    np.testing.assert_array_equal(np.concatenate(early), clock.stamp(np.arange(5990)))


def test_a_counter_that_begins_again_is_anchored_anew() -> None:
    clock = CounterClock(STATED)
    clock.hear(1000, BEGAN)
    clock.begin(500.0)
    assert not clock.anchored
    clock.hear(10, BEGAN + 5)
    assert clock.stamp(np.array([9, 10])).tolist() == [BEGAN + 5, BEGAN + 5.002]
