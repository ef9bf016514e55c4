from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from rtfeedback.chain import Chain, ChainSpec
from rtfeedback.online.line import Line
from rtfeedback.online.trclock import TRClock
from tests.online.lines import (
    INFO,
    NAMES,
    SAMPLES,
    SFREQ,
    SPEC,
    START,
    TR,
    both_chains,
    both_clocks,
    eeg,
    facts,
    line_of,
    lose,
    mark,
    onsets,
    push,
    seconds,
    stamped,
)

# --- warming up, gaps -----------------------------------------------------------------


@both_chains
@both_clocks
def test_windows_are_warming_up_until_the_filters_settled_a_window_ago(
    chain: ChainSpec, counted: bool
) -> None:
    line = line_of(chain, hop=0.1, counted=counted)
    mark(line, onsets(20))
    told = list(push(line, eeg(3500), stamped(3500), [10] * 300))
    n_warm = [w.reason for w in told].index("ok")
    assert {w.reason for w in told[:n_warm]} == {"warming_up"}
    assert {w.reason for w in told[n_warm:]} == {"ok"}
    settled = line.chain.warm_up / SFREQ + SPEC.length
    assert settled - 1 / chain.rate < told[n_warm].due_time - START < settled + 0.4
    assert not any(w.valid for w in told[:n_warm])


@both_chains
@both_clocks
@pytest.mark.parametrize("lost", [0.1, 0.2, 1.7, 7.0])
def test_a_window_that_touches_a_gap_says_so_and_is_not_valid(
    chain: ChainSpec, counted: bool, lost: float
) -> None:
    samples, stamps = eeg(10000), stamped(10000)
    left = lose(stamps, (15.03, 15.03 + lost))
    line = line_of(chain, hop=0.5, counted=counted)
    mark(line, onsets(20))
    told = list(push(line, samples[left], stamps[left], [32] * 200))
    settled = line.chain.warm_up / SFREQ + SPEC.length
    for window in told:
        due = window.due_time - START
        if due < 15.03:
            assert window.segment == 0
            assert window.reason in ("warming_up", "ok")
        elif due < 15.03 + lost + SPEC.length:
            assert window.segment == 1
            assert window.reason == "gap"
        elif due < 15.03 + lost + settled - 0.5:
            assert window.reason == "warming_up"
        elif due > 15.03 + lost + settled + 0.5:
            assert window.reason == "ok"
    assert {w.reason for w in told} == {"warming_up", "gap", "ok"}
    assert told[-1].reason == "ok"


@both_chains
@both_clocks
def test_a_volume_whose_time_was_lost_is_told_once_as_a_gap(
    chain: ChainSpec, counted: bool
) -> None:
    samples, stamps = eeg(10000), stamped(10000)
    left = lose(stamps, (14.5, 21.5))
    line = line_of(chain, hop=0.5, counted=counted)
    mark(line, onsets(20))
    told = list(push(line, samples[left], stamps[left], [32] * 200))
    assert [w.volume for w in told if w.volume is not None] == [*range(20)]
    for window in told:
        if window.volume in (7, 8, 9, 10):  # due at 15, 17, 19 and 21 s
            assert (window.reason, window.segment, window.valid) == ("gap", 1, False)


@both_chains
@pytest.mark.parametrize("hop", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("gap", [(14.48, 16.51), (14.6, 14.7), (14.5, 21.5), (15.001, 15.2)])
def test_hops_are_told_once_each_and_none_for_the_time_inside_a_gap(
    chain: ChainSpec, hop: float, gap: tuple[float, float]
) -> None:
    samples, stamps = eeg(10000), stamped(10000)
    left = lose(stamps, gap)
    line = line_of(chain, hop=hop)
    told = list(push(line, samples[left], stamps[left], [32] * 200))
    dues = seconds(w.due_time for w in told)
    first = np.flatnonzero(np.diff(stamps[left]) > 0.02)[0]
    last, begin = stamps[left][first : first + 2] - START
    grid = {round(hop * k, 6) for k in range(1, ceil(41 / hop))}
    assert dues == sorted(set(dues))
    assert set(dues) <= grid
    # The last sample before the gap is the nearest to a time up to half a period after it.
    half = 0.54 / chain.rate
    assert not [due for due in dues if last + half < due < begin - 1e-6]
    assert not [t for t in grid - set(dues) if not last - half < t < begin and t < 39.5]


def test_the_counted_grid_stays_over_a_gap() -> None:
    samples, stamps = eeg(10000), stamped(10000)
    left = lose(stamps, (14.5, 21.83))
    told = list(push(line_of(counted=True), samples[left], stamps[left], [32] * 200))
    assert seconds(w.target_time for w in told) == [1.0 + 2.0 * k for k in range(20)]


@both_clocks
def test_after_a_gap_a_hop_is_told_though_volumes_were_lost_in_it(counted: bool) -> None:
    samples, stamps = eeg(10000), stamped(10000)
    left = lose(stamps, (14.9, 15.5))  # a hop is due at the first sample after it
    line = line_of(hop=0.5, counted=counted)
    mark(line, onsets(20))
    told = list(push(line, samples[left], stamps[left]))
    after = [(w.volume, *seconds([w.due_time])) for w in told if 14 < w.due_time - START < 17]
    assert after == [(None, 14.5), (7, 15.0), (None, 15.5), (None, 16.0), (None, 16.5)]


def test_a_clock_that_is_set_back_silences_nothing_and_tells_no_volume_twice() -> None:
    samples, stamps = eeg(10000), stamped(10000)
    stamps[5000:] -= 5.0
    for sizes in ([], [32] * 300):
        told = list(push(line_of(counted=True, hop=0.5), samples, stamps, sizes))
        volumes = [w.volume for w in told if w.volume is not None]
        assert volumes == sorted(set(volumes))
        for segment in (0, 1):
            dues = [w.due_time for w in told if w.segment == segment]
            assert dues == sorted(set(dues))
        assert dues[0] - stamps[5000] < 0.75


def test_only_the_channels_that_are_used_have_to_be_finite() -> None:
    samples, stamps = eeg(5000), stamped(5000)
    with_aux = replace(
        INFO, channels=(*NAMES, "AUX"), kinds=("eeg",) * 3 + ("misc",), units=("uV",) * 4
    )
    wide = np.insert(samples, 3, np.nan, axis=1)
    line = Line(Chain(SAMPLES, with_aux), SPEC, TRClock(TR))
    mark(line, onsets(10))
    told, expected = list(push(line, wide, stamps)), line_of()
    mark(expected, onsets(10))
    assert facts(told) == facts(push(expected, samples, stamps))
    assert line.timeline.lost == 0
