from __future__ import annotations

import numpy as np
import pytest

from rtfeedback.chain import ChainSpec
from rtfeedback.signals import Marker, Window
from rtfeedback.windows import WindowSpec, volumes_ahead
from tests.online.lines import (
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
    scanned,
    seconds,
    stamped,
)

# --- volumes and hops -----------------------------------------------------------------


@both_chains
@both_clocks
def test_a_hop_that_is_also_a_volume_is_one_window(chain: ChainSpec, counted: bool) -> None:
    line = line_of(chain, hop=0.5, counted=counted)
    mark(line, onsets(16))
    told = list(push(line, eeg(7500), stamped(7500), [32] * 200))
    assert seconds(w.due_time for w in told)[:59] == [0.5 * k for k in range(1, 60)]
    for window in told:
        due = window.due_time - START
        odd = abs(due % 2.0 - 1.0) < 1e-6
        assert window.volume == (round((due - 1.0) / 2.0) if odd else None)


@both_chains
@pytest.mark.parametrize("phase", [0.003, -0.003])
def test_a_hop_at_a_volumes_sample_is_that_volumes_window(
    chain: ChainSpec, phase: float
) -> None:
    line = line_of(chain, hop=0.5)
    mark(line, onsets(16, phase))
    told = [w for w in push(line, eeg(7500), stamped(7500), [32] * 200) if w.valid]
    assert len({w.sample for w in told}) == len(told)
    assert len([w for w in told if w.volume is not None]) >= 10


@pytest.mark.parametrize("lead", [0.0, 1.3, 5.0])
def test_a_hop_predicts_a_lead_after_its_end(lead: float) -> None:
    line = line_of(spec=WindowSpec(length=4.0, lead=lead), hop=0.7)
    for window in push(line, eeg(5000), stamped(5000)):
        assert window.volume is None
        assert window.target_time == pytest.approx(window.due_time + lead, abs=1e-9)


@both_chains
@pytest.mark.parametrize("lead", [0.0, 2.5, 5.0, 6.0])
def test_volumes_counted_are_the_windows_that_markers_would_tell(
    chain: ChainSpec, lead: float
) -> None:
    spec = WindowSpec(length=4.0, lead=lead)
    counted, marked = line_of(chain, spec, counted=True), line_of(chain, spec)
    mark(marked, onsets(16))
    a = facts(push(counted, eeg(7500), stamped(7500), [32] * 200))
    b = facts(push(marked, eeg(7500), stamped(7500), [10] * 200))
    assert len(a) > 8
    assert a == b


@both_clocks
@pytest.mark.parametrize("lead", [0.0, 2.5, 5.0])
def test_volumes_come_in_their_order_from_the_first_that_can_be_forecast(
    lead: float, counted: bool
) -> None:
    spec = WindowSpec(length=4.0, lead=lead)
    line = line_of(spec=spec, counted=counted)
    mark(line, onsets(16))
    told = list(push(line, eeg(7500), stamped(7500), [32] * 200))
    first = volumes_ahead(spec, TR, line.rate)
    assert [w.volume for w in told] == [*range(first, first + len(told))]
    for window in told:
        assert window.target_time == pytest.approx(
            START + (window.volume or 0) * TR + 1.0, abs=1e-9
        )
        assert window.due_time == pytest.approx(window.target_time - lead, abs=1e-9)


def test_markers_are_told_their_number_and_counted_volumes_take_none() -> None:
    line = line_of()
    assert line.mark(Marker(START, "R128")) == (0, START)
    assert line.mark(Marker(START + 0.01, "R128")) is None
    assert line.mark(Marker(START + 1.0, "S  2")) is None
    assert line.mark(Marker(START + 6.0, "R128")) == (3, START + 6.0)
    counted = line_of(counted=True)
    assert counted.mark(Marker(START, "R128")) is None
    assert len(list(push(counted, eeg(1000), stamped(1000)))) == 2


# --- early and late markers -----------------------------------------------------------


@both_chains
def test_markers_may_come_long_before_the_eeg(chain: ChainSpec) -> None:
    early, usual = line_of(chain), line_of(chain)
    before = onsets(20, phase=-20.0)
    mark(early, before)
    a = list(push(early, eeg(5000), stamped(5000), [32] * 100))
    assert [w.volume for w in a] == [*range(20)]
    assert {w.reason for w in a[:10]} == {"warming_up"}
    b: list[Window] = []
    mark(usual, before[:10])
    for k in range(10):  # each other marker with the EEG of its first second
        mark(usual, before[10 + k : 11 + k])
        cut = slice(500 * k, 500 * (k + 1))
        b += list(push(usual, eeg(5000)[cut], stamped(5000)[cut]))
    assert facts(a) == facts(b)


@both_chains
def test_a_marker_is_in_time_until_its_windows_newest_sample_is_there(
    chain: ChainSpec,
) -> None:
    samples, stamps = eeg(5000), stamped(5000)
    in_time = line_of(chain)
    mark(in_time, onsets(3, phase=7.0))
    *_, expected = scanned(push(in_time, samples, stamps))
    assert expected.valid
    newest = expected.sample
    line = line_of(chain)
    mark(line, onsets(2, phase=7.0))
    before = push(line, samples[:newest], stamps[:newest], [1] * newest)
    assert [w.volume for w in before] == [0, 1]
    mark(line, onsets(1, phase=11.0))
    got = list(push(line, samples[newest:], stamps[newest:]))
    assert facts(got) != []
    assert (got[0].sample, got[0].data.tobytes()) == (newest, expected.data.tobytes())


@both_chains
@pytest.mark.parametrize("after", [0, 1, 2, 31, 62, 400])
@pytest.mark.parametrize("sizes", [[], [1] * 1000])
def test_a_marker_after_its_windows_newest_sample_is_late(
    chain: ChainSpec, after: int, sizes: list[int]
) -> None:
    samples, stamps = eeg(5000), stamped(5000)
    in_time = line_of(chain)
    mark(in_time, onsets(1, phase=11.0))
    (expected,) = scanned(push(in_time, samples, stamps))
    came = expected.sample + 1 + after
    line = line_of(chain)
    assert list(push(line, samples[:came], stamps[:came])) == []
    mark(line, onsets(1, phase=11.0))
    (late,) = scanned(push(line, samples[came:], stamps[came:], sizes))
    assert (late.volume, late.valid, late.reason) == (0, False, "late")
    assert late.sample >= came


def test_a_late_volume_takes_no_hop_with_it() -> None:
    line = line_of(hop=0.5)
    samples, stamps = eeg(5000), stamped(5000)
    before = list(push(line, samples[:3500], stamps[:3500]))  # up to a hop, 14.0 s
    mark(line, onsets(1, phase=11.0))  # due at 12.0 s
    after = list(push(line, samples[3500:], stamps[3500:]))
    assert [w.volume for w in after[:2]] == [0, None]
    assert [w.reason for w in after[:2]] == ["late", "ok"]
    assert seconds(w.due_time for w in before + after[1:]) == [0.5 * k for k in range(1, 40)]


def test_a_marker_that_comes_after_the_gap_it_lies_in_tells_a_gap() -> None:
    samples, stamps = eeg(7500), stamped(7500)
    left = lose(stamps, (14.5, 18.0))
    samples, stamps = samples[left], stamps[left]
    line = line_of()
    first = int(np.sum(stamps < START + 19.0))
    list(push(line, samples[:first], stamps[:first]))
    mark(line, onsets(1, phase=15.0))
    (window,) = scanned(push(line, samples[first:], stamps[first:]))
    assert (window.valid, window.reason) == (False, "gap")
