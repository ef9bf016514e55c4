from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtfeedback.online.trclock import VOLUME_LABELS, TRClock
from rtfeedback.online.volumes import CountedVolumes, Volume
from rtfeedback.signals import Marker

LAW = settings(deadline=None, derandomize=True, max_examples=50)
START = 98765.4321


def markers(volumes: list[int], tr: float, label: str = "R128") -> list[Marker]:
    return [Marker(START + volume * tr, label) for volume in volumes]


def numbered(markers: list[Marker], tr: float) -> list[Volume]:
    clock = TRClock(tr)
    return [volume for marker in markers if (volume := clock.push(marker)) is not None]


@pytest.mark.parametrize("label", VOLUME_LABELS)
@pytest.mark.parametrize("tr", [0.4, 1.26, 2.0, 3.0])
def test_volumes_are_numbered_from_0_as_they_are_marked(tr: float, label: str) -> None:
    marked = markers([*range(300)], tr, label)
    assert numbered(marked, tr) == [(k, m.stamp) for k, m in enumerate(marked)]


@LAW
@given(
    volumes=st.sets(st.integers(0, 60), min_size=1),
    doubled=st.sets(st.integers(0, 60)),
    seed=st.integers(0, 99),
)
def test_missing_markers_keep_their_number_and_doubled_ones_count_once(
    volumes: set[int], doubled: set[int], seed: int
) -> None:
    clock, rng, tr = TRClock(2.0), np.random.default_rng(seed), 2.0
    told, onsets = [], []
    for volume in sorted(volumes):
        onset = START + volume * tr + rng.uniform(-0.2, 0.2)
        onsets.append(onset)
        told.append(clock.push(Marker(onset, "R128")))
        if volume in doubled:
            assert clock.push(Marker(onset + rng.uniform(0, 0.5), "R128")) is None
    first = min(volumes)
    assert told == [(k - first, t) for k, t in zip(sorted(volumes), onsets, strict=True)]
    assert clock.doubled == len(volumes & doubled)
    assert clock.missing == max(volumes) - first + 1 - len(volumes)


def test_a_scanner_that_drifts_is_followed() -> None:
    onsets = START + np.arange(2000) * 2.0 * 1.0005  # a second late by the end
    told = numbered([Marker(onset, "R128") for onset in onsets.tolist()], 2.0)
    assert [volume for volume, _ in told] == [*range(2000)]


def test_other_markers_are_no_volumes() -> None:
    clock = TRClock(2.0)
    for label in ("S  1", "r128", "R1 29", "", "R1", "15"):
        assert clock.push(Marker(START, label)) is None
    assert clock.push(Marker(START + 1.0, "R128")) == (0, START + 1.0)
    assert clock.push(Marker(START + 2.0, "Response")) is None
    assert (clock.doubled, clock.missing) == (0, 0)


def test_the_labels_of_volumes_can_be_named() -> None:
    clock = TRClock(2.0, labels=["tr"])
    assert clock.push(Marker(START, "R128")) is None
    assert clock.push(Marker(START, "tr")) == (0, START)


def test_a_clock_that_is_set_back_loses_no_volume() -> None:
    clock = TRClock(2.0)
    clock.push(Marker(START, "R128"))
    assert clock.push(Marker(START - 10.0, "R128")) == (1, START - 10.0)
    assert clock.push(Marker(START - 8.0, "R128")) == (2, START - 8.0)


@pytest.mark.parametrize("eeg", [-9.9, 0.1])
def test_an_old_marker_is_a_volume_only_where_the_eegs_clock_went_back_too(eeg: float) -> None:
    clock = TRClock(2.0)
    clock.push(Marker(START, "R128"))
    clock.reach(START + eeg)
    went_back = eeg < -2.0
    told = clock.push(Marker(START - 10.0, "R128"))
    assert told == ((1, START - 10.0) if went_back else None)
    assert [each.kind for each in clock.happened] == ([] if went_back else ["late_marker"])


def test_a_marker_a_little_before_the_last_is_the_same_volume() -> None:
    clock = TRClock(2.0)
    clock.push(Marker(START, "R128"))
    assert clock.push(Marker(START - 0.5, "R128")) is None
    assert clock.push(Marker(START + 2.0, "R128")) == (1, START + 2.0)


@LAW
@given(
    steps=st.lists(st.integers(0, 5000).map(lambda n: n / 1000), max_size=50),
    tr=st.sampled_from([0.4, 0.8, 1.26, 2.0]),
)
def test_counted_volumes_come_once_each_on_the_grid_of_the_first_stamp(
    steps: list[float], tr: float
) -> None:
    volumes = CountedVolumes(tr)
    volumes.begin(START)
    stamp, told = START, []
    for step in steps:  # a step of some seconds is a gap in the stream
        stamp += step
        told += list(volumes.reach(stamp))
        assert told[-1:] == [] or told[-1][1] <= stamp < told[-1][1] + tr + 1e-9
    assert told == [(k, START + k * tr) for k in range(len(told))]


def test_nothing_is_counted_before_the_grid_begins() -> None:
    volumes = CountedVolumes(2.0)
    volumes.begin(START)
    assert list(volumes.reach(START - 0.001)) == []
    assert list(volumes.reach(START)) == [(0, START)]
    assert list(volumes.reach(START)) == []
    assert list(volumes.reach(START + 1.999)) == []
