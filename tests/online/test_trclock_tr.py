"""The TR out of the markers, and what is done about markers that are missing or too many."""

from __future__ import annotations

import numpy as np
import pytest

from rtfeedback.online.trclock import INSERTED, STOPPED, TRClock
from rtfeedback.online.volumes import Volume
from rtfeedback.signals import Marker

START = 98765.4321


def push(clock: TRClock, *onsets: float) -> list[Volume | None]:
    return [clock.push(Marker(START + onset, "R128")) for onset in onsets]


def train(tr: float, n: int, first: float = 0.0) -> list[float]:
    return [first + k * tr for k in range(n)]


def kinds(clock: TRClock) -> list[str]:
    return [happening.kind for happening in clock.happened]


def settled(tr: float = 2.0, n: int = 6) -> TRClock:
    clock = TRClock(tr)
    push(clock, *train(tr, n))
    clock.happened.clear()
    return clock


# --- the TR ---------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["R128", "Stimulus/S128", "Response/R128", "T 1", "5"])
def test_a_volume_is_told_whatever_its_blanks_and_brainvisions_prefix(label: str) -> None:
    assert TRClock(2.0).push(Marker(START, label)) == (0, START)


@pytest.mark.parametrize("expected", [2.0, 1.0, 3.0, 2.16, 4.0])
@pytest.mark.parametrize("tr", [0.8, 1.0, 1.28, 2.0, 2.16, 3.0])
def test_the_tr_is_what_the_markers_show_whatever_was_expected(
    expected: float, tr: float
) -> None:
    clock = TRClock(expected)
    told = push(clock, *train(tr, 40))
    assert clock.tr == pytest.approx(tr, rel=1e-9)
    # Volumes are numbered by their own TR once it is known, after five markers.
    assert [v.number for v in told[5:] if v] == [*range(5, 40)]
    assert [v.onset for v in told[5:] if v] == [START + t for t in train(tr, 40)[5:]]
    assert (clock.doubled, clock.missing) == (0, 0)


def test_a_confirmed_tr_is_the_expected_one_to_its_last_digit() -> None:
    clock, rng = TRClock(2.0), np.random.default_rng(0)
    push(clock, *(t + rng.normal(0, 3e-5) for t in train(2.0002, 50)))
    assert clock.tr == 2.0


@pytest.mark.parametrize("slices", [16, 32, 36, 60])
def test_markers_per_slice_are_thinned_to_volumes(slices: int) -> None:
    clock = TRClock(2.0)
    told = push(clock, *(2.0 * k / slices for k in range(20 * slices)))
    volumes = [volume for volume in told if volume]
    assert clock.tr == 2.0
    assert [v.number for v in volumes] == [*range(20)]
    assert [v.onset - START for v in volumes] == pytest.approx([2.0 * k for k in range(20)])
    (tr,) = [h.facts for h in clock.happened if h.kind == "tr"]
    assert tr["markers_per_volume"] == slices


def test_a_faster_scan_is_not_taken_for_slices() -> None:
    clock = TRClock(2.0)
    push(clock, *train(0.5, 20))
    assert clock.tr == 0.5


def test_jitter_is_the_sd_of_the_intervals() -> None:
    clock = TRClock(2.0)
    assert clock.jitter is None
    rng = np.random.default_rng(0)
    onsets = [t + rng.normal(0, 5e-3) for t in train(2.0, 13)]
    push(clock, *onsets)
    assert clock.jitter == pytest.approx(np.std(np.diff(onsets)))


def test_some_missing_and_doubled_markers_hide_no_tr() -> None:
    onsets = [t for k, t in enumerate(train(1.28, 60)) if k % 7 != 3]
    onsets += [t + 0.004 for t in onsets[::9]]
    clock = TRClock(2.0)
    push(clock, *sorted(onsets))
    assert clock.tr == pytest.approx(1.28)


def test_a_pause_of_the_scanner_is_no_interval() -> None:
    clock = settled()
    push(clock, *train(2.0, 6, first=50.0))
    assert clock.tr == 2.0


# --- missing, late, stray -------------------------------------------------------------


def test_a_missing_volume_is_inserted_where_it_would_be() -> None:
    clock = settled(n=6)
    assert clock.next_volume() == (6, START + 12.0)
    assert clock.insert() == (6, START + 12.0)
    assert push(clock, 14.0) == [(7, START + 14.0)]
    assert (clock.missing, kinds(clock)) == (1, ["inserted"])


def test_no_more_than_two_are_inserted_in_a_row() -> None:
    clock = settled(n=6)
    inserted = [clock.insert() for _ in range(5)]
    assert inserted == [(6, START + 12.0), (7, START + 14.0), *[None] * 3]
    assert INSERTED == 2
    assert push(clock, 18.0) == [(9, START + 18.0)]
    assert clock.missing == 3


def test_nothing_is_inserted_before_the_tr_is_known() -> None:
    clock = TRClock(2.0)
    push(clock, 0.0, 2.0)
    assert not clock.settled
    assert clock.next_volume() is None
    assert clock.insert() is None
    push(clock, 4.0)
    assert clock.settled
    assert clock.next_volume() == (3, START + 6.0)


@pytest.mark.parametrize("late", [0.0, 0.3, 0.9])
def test_the_late_markers_of_inserted_volumes_are_no_new_ones(late: float) -> None:
    clock = settled(n=6)
    clock.insert()
    clock.insert()
    # A marker that comes late has the stamp of its volume, or one a little after it.
    assert push(clock, 12.0 + late, 14.0 + late) == [None, None]
    assert clock.missing == 0
    assert kinds(clock) == ["inserted"] * 2 + ["late_marker"] * 2
    assert push(clock, 16.0 + late) == [(8, START + 16.0 + late)]


def test_a_marker_between_volumes_is_a_stray() -> None:
    clock = settled(n=6)
    assert push(clock, 12.0, 13.1, 14.0) == [(6, START + 12.0), None, (7, START + 14.0)]
    assert kinds(clock) == ["stray"]


def test_a_scanner_that_starts_again_off_the_grid_is_followed() -> None:
    clock = settled(n=6)
    told = push(clock, 12.9, 14.9, 16.9)
    assert told == [None, (7, START + 14.9), (8, START + 16.9)]


# --- a scanner that stops -------------------------------------------------------------


def test_a_scanner_that_stops_is_told_once_and_its_inserted_volumes_were_none() -> None:
    clock = settled(n=6)
    clock.insert()
    clock.insert()
    assert not clock.reach(START + 10.0 + STOPPED * 2.0 - 0.01)
    assert clock.reach(START + 10.0 + STOPPED * 2.0)
    assert not clock.reach(START + 60.0)
    assert (clock.stopped, clock.missing) == (True, 0)
    assert clock.next_volume() is None
    (stopped,) = [h for h in clock.happened if h.kind == "scanner_stopped"]
    assert stopped.facts == {"volume": 5, "withdrawn": 2}
    assert clock.stopped_at == START + 10.0 + STOPPED * 2.0


def test_a_scanner_that_resumes_is_told_and_volumes_take_the_number_of_their_time() -> None:
    clock = settled(n=6)
    clock.reach(START + 100.0)
    assert push(clock, 102.0) == [(51, START + 102.0)]
    assert not clock.stopped
    assert kinds(clock) == ["scanner_stopped", "scanner_resumed"]
    assert clock.missing == 0  # it did not scan them


def test_a_scanner_that_never_began_does_not_stop() -> None:
    clock = TRClock(2.0)
    assert not clock.reach(START + 1000.0)
    assert not clock.heard


def test_silence_that_could_not_be_heard_is_none_of_the_scanners() -> None:
    clock = settled(n=6)
    clock.excuse(START + 40.0)
    assert not clock.reach(START + 40.0 + STOPPED * 2.0 - 0.1)
    assert clock.reach(START + 40.0 + STOPPED * 2.0)


@pytest.mark.parametrize(("expected", "tr"), [(0.7, 2.5), (1.0, 8.0), (0.4, 3.0)])
def test_a_tr_of_many_times_the_expected_one_is_found(expected: float, tr: float) -> None:
    clock = TRClock(expected)
    told = []
    for k in range(12):
        told += push(clock, k * tr)
        for step in range(1, 10):
            clock.reach(START + (k + step / 10) * tr)
    assert clock.tr == pytest.approx(tr)
    assert [v.number for v in told[5:] if v] == [*range(5, 12)]
    assert "scanner_stopped" not in kinds(clock)


def test_a_marker_far_ahead_of_the_eeg_is_a_stray() -> None:
    clock = settled(n=6)
    clock.reach(START + 11.0)
    assert push(clock, 485.0, 12.0) == [None, (6, START + 12.0)]
    assert kinds(clock) == ["stray"]


def test_a_label_with_blanks_is_not_the_one_without() -> None:
    clock = TRClock(2.0)
    assert clock.push(Marker(START, "T1")) is None  # a task's code
    assert clock.push(Marker(START, "T  1")) == (0, START)
