"""What a line tells when the scanner's markers are missing, late, or stop."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest

from rtfeedback.chain import ChainSpec
from rtfeedback.online.line import Line
from rtfeedback.online.schedule import NO_VOLUME, TOLD
from rtfeedback.signals import Window
from rtfeedback.windows import WindowSpec
from tests.online.lines import (
    SFREQ,
    SPEC,
    START,
    TR,
    both_chains,
    eeg,
    facts,
    line_of,
    mark,
    onsets,
    push,
    seconds,
    stamped,
)


def play(line: Line, markers: dict[int, list[float]], n: int = 20) -> list[Window]:
    """Push n volumes' EEG, before each the markers that come with it, and return windows."""
    samples, stamps, told = eeg(500 * n), stamped(500 * n), []
    for k in range(n):
        mark(line, markers.get(k, []))
        cut = slice(500 * k, 500 * (k + 1))
        told += list(push(line, samples[cut], stamps[cut], [32] * 20))
    return told


def markers(n: int = 20, *, without: Iterable[int] = ()) -> dict[int, list[float]]:
    return {k: [onset] for k, onset in enumerate(onsets(n)) if k not in set(without)}


@both_chains
@pytest.mark.parametrize("lead", [0.0, 2.5, 5.0])
def test_a_volume_whose_marker_is_missing_has_its_value_all_the_same(
    chain: ChainSpec, lead: float
) -> None:
    spec = WindowSpec(length=4.0, lead=lead)
    whole, holed = line_of(chain, spec), line_of(chain, spec)
    expected = facts(play(whole, markers()))
    got = facts(play(holed, markers(without=(11, 14, 15))))
    assert got == expected
    assert holed.volumes.missing == 3  # type: ignore[union-attr]


@both_chains
def test_a_marker_that_comes_after_its_window_tells_no_volume_twice(chain: ChainSpec) -> None:
    late = markers(without=(12, 13))
    late[13] = onsets(20)[12:14]
    got = play(line_of(chain), late)
    volumes = [w.volume for w in got if w.volume is not None]
    assert volumes == [*range(20)]


@both_chains
def test_a_scanner_that_stops_is_told_every_tr_until_it_goes_on(chain: ChainSpec) -> None:
    windows = play(line_of(chain), markers(30, without=range(10, 25)), 30)
    stopped = [w for w in windows if w.reason == NO_VOLUME]
    assert {(w.volume, w.valid) for w in stopped} == {(None, False)}
    dues = seconds(w.due_time for w in stopped)
    assert 18 + 3.5 * TR <= dues[0] <= 18 + 3.5 * TR + 1
    assert {round(b - a, 3) for a, b in pairwise(dues)} == {TR}
    assert len(dues) >= 12
    after = [w.volume for w in windows if w.due_time > START + 50.5 and w.volume is not None]
    assert after == [25, 26, 27, 28, 29]


def test_with_a_hop_a_scanner_that_stops_takes_no_value_away() -> None:
    windows = play(line_of(hop=0.5), markers(10), 30)
    late = [w for w in windows if w.due_time > START + 26]
    assert {(w.volume, w.reason) for w in late} == {(None, "ok")}


def test_a_scanner_that_never_begins_is_no_scanner_that_stopped() -> None:
    assert play(line_of(), {}, 30) == []


def test_volumes_that_a_new_tr_voids_are_not_told() -> None:
    line = line_of(spec=SPEC)
    mark(line, [START + 1.0 * k for k in range(40)])  # the checkpoint's TR is 2 s
    windows = list(push(line, eeg(9000), stamped(9000)))
    volumes = [w.volume for w in windows if w.volume is not None]
    assert volumes[-30:] == [*range(volumes[-1] - 29, volumes[-1] + 1)]
    assert [w.target_time for w in windows if w.volume is not None][-5:] == pytest.approx(
        [START + v + 0.5 for v in volumes[-5:]]
    )


def test_a_jump_of_the_clock_tells_no_flood_of_volumes() -> None:
    stamps = stamped(10000)
    stamps[5000:] += 1000.0
    windows = list(push(line_of(counted=True), eeg(10000), stamps))
    gap = [w for w in windows if w.reason == "gap"]
    assert len(gap) <= (TOLD + SPEC.length) / TR + 2
    assert windows[-1].reason == "ok"
    # The grid stays: what is told after it is numbered by its time.
    last = windows[-1].volume or 0
    assert last == round((windows[-1].target_time - START - TR / 2) / TR)
    assert last > (5000 / SFREQ + 1000) / TR - 1


def test_until_the_tr_is_known_no_volume_is_valid() -> None:
    line = line_of()
    samples, stamps = eeg(12500), stamped(12500)
    windows = list(push(line, samples[:5000], stamps[:5000]))
    for k in range(10):  # the scanner starts after 20 s, and takes 3 s where 2 are expected
        mark(line, [START + 20.2 + 3 * k])
        cut = slice(5000 + 750 * k, 5750 + 750 * k)
        windows += list(push(line, samples[cut], stamps[cut], [32] * 30))
    valid = [w for w in windows if w.valid]
    assert [w.volume for w in valid] == [*range(valid[0].volume or 0, 10)]
    for window in valid:
        assert window.target_time == pytest.approx(
            START + 20.2 + 3 * (window.volume or 0) + 1.5
        )
    assert {w.reason for w in windows} >= {"tr_unknown", "ok"}
