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
            if segment:  # what was due by the old clock is told first, as a gap
                assert told[[w.segment for w in told].index(1)].reason == "gap"
                dues = dues[1:]
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


@both_chains
@pytest.mark.parametrize("counted", [False, True], ids=["marked", "counted"])
@pytest.mark.parametrize("hop", [None, 0.5])
@pytest.mark.parametrize(("sd", "size"), [(0.015, 10), (0.03, 25), (0.01, 1)])
def test_stamps_that_scatter_silence_nothing(
    chain: ChainSpec, counted: bool, hop: float | None, sd: float, size: int
) -> None:
    samples, stamps = eeg(15000), stamped(15000)
    scatter = np.random.default_rng(0).normal(0, sd, 15000 // size).repeat(size)
    scatter[:5000] = 0
    line = line_of(chain, hop=hop, counted=counted)
    mark(line, onsets(30))
    told = list(push(line, samples, stamps + scatter, [32] * 400))
    volumes = [w.volume for w in told if w.volume is not None]
    assert volumes == [*range(volumes[-1] + 1)]
    assert volumes[-1] >= 28
    assert not [w for w in told if w.valid and w.due_time > START + 21]
    if hop:
        dues = np.array([w.due_time for w in told])
        assert np.diff(np.sort(dues)).max() < 1.6  # those inside a gap are left out
    assert line.timeline.lost < 150  # jumps ahead and back make up for each other, nearly


@pytest.mark.parametrize("sizes", [[], [10] * 1000])
def test_each_gap_of_a_chunk_is_told(sizes: list[int]) -> None:
    stamps = stamped(2000)
    stamps[1000:] += 0.5
    stamps[1040:] += 0.7
    line = line_of()
    list(push(line, eeg(2000), stamps, sizes))
    assert line.timeline.begun == [(0, 0, 0), (1, 1000, 125), (2, 1040, 175)]


def test_samples_lost_before_the_first_segment_are_told() -> None:
    samples = eeg(2000)
    samples[:500, 1] = np.nan
    line = line_of()
    list(push(line, samples, stamped(2000)))
    assert line.timeline.begun == [(0, 500, 500)]


@both_clocks
def test_volumes_of_a_gap_beyond_a_minute_are_told_at_once(counted: bool) -> None:
    stamps = stamped(10000)
    stamps[5000:] += 100
    line = line_of(counted=counted)
    mark(line, onsets(70))
    told = list(push(line, eeg(10000), stamps))
    (skipped,) = [h for h in line.happenings() if h.kind == "skipped"]
    volumes = {w.volume for w in told}
    untold = set(range(max(v for v in volumes if v is not None))) - volumes
    assert untold == {*range(skipped.facts["first"], skipped.facts["last"] + 1)}
    assert len(untold) > 10
