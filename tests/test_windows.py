from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rtfeedback.signals import Float64
from rtfeedback.windows import (
    MARKER_GRACE,
    NEAREST,
    WindowSpec,
    due_of_marker,
    newest_samples,
    reached,
    volumes_ahead,
)

RATES = (125.0, 80.0, 256 / 3, 4.0)
LAW = settings(deadline=None, derandomize=True, max_examples=60)
CLOCK = 40e-6  # s by which the clocks of two inlets differ

at_each_rate = pytest.mark.parametrize("rate", RATES)


def grid(rate: float, n_times: int = 400, start: float = 1234.5) -> Float64:
    return start + np.arange(n_times) / rate


# --- the nearest sample ---------------------------------------------------------------


@at_each_rate
@LAW
@given(share=st.integers(-499, 499), index=st.integers(1, 398))
def test_a_window_ends_at_the_nearest_sample(rate: float, share: int, index: int) -> None:
    stamps = grid(rate)
    end = stamps[index] + share / 1000 / rate
    newest, nearest = reached(stamps, np.array([end]), rate)
    off = np.abs(stamps - end)
    assert nearest[0]
    # Up to the margin of a 32nd of a sample past midway, which keeps ties where they are.
    assert off[newest[0]] <= off.min() + 2 * (NEAREST - 0.5) / rate + 1e-9
    if abs(share) < 465:
        assert newest[0] == index


@at_each_rate
def test_midway_goes_to_the_earlier_sample(rate: float) -> None:
    stamps = grid(rate)
    index = np.arange(1, 399)
    for noise in (-CLOCK, 0, CLOCK):
        ends = (stamps[index] + stamps[index + 1]) / 2 + noise
        np.testing.assert_array_equal(newest_samples(stamps, ends, rate), index)


@at_each_rate
@LAW
@given(seed=st.integers(0, 999))
def test_the_clocks_of_two_inlets_move_no_window_of_an_aligned_onset(
    rate: float, seed: int
) -> None:
    rng, stamps, index = np.random.default_rng(seed), grid(rate), np.arange(1, 399)
    noisy = stamps + rng.uniform(-CLOCK, CLOCK, len(stamps)) / 2
    ends = stamps[index] + rng.uniform(-CLOCK, CLOCK, len(index)) / 2
    newest, nearest = reached(noisy, ends, rate)
    np.testing.assert_array_equal(newest, index)
    assert nearest.all()


@at_each_rate
@LAW
@given(share=st.integers(-530, 460), index=st.integers(1, 398), later=st.integers(0, 3))
def test_a_window_needs_no_sample_later_than_its_own(
    rate: float, share: int, index: int, later: int
) -> None:
    stamps = grid(rate)
    ends = np.array([stamps[index] - share / 1000 / rate])
    (newest,) = newest_samples(stamps, ends, rate)
    for n_times in (newest + 1, newest + 1 + later):
        assert newest_samples(stamps[:n_times], ends, rate)[0] == newest
    assert newest_samples(stamps[:newest], ends, rate)[0] == newest  # none has come
    assert not reached(stamps[:newest], ends, rate)[1][0]


@at_each_rate
def test_nothing_is_reached_before_the_first_sample_or_after_the_last(rate: float) -> None:
    stamps = grid(rate)
    off = np.array([-100, -2, -1.1, -0.4, 0, 399, 399.5, 399.6, 401, 1e4]) / rate
    newest, nearest = reached(stamps, stamps[0] + off, rate)
    assert nearest.tolist() == [False] * 3 + [True] * 4 + [False] * 3
    assert newest.tolist() == [0] * 5 + [399] * 2 + [400] * 3


@at_each_rate
def test_nothing_is_reached_over_a_gap(rate: float) -> None:
    stamps = grid(rate)
    stamps[200:] += 10 / rate
    ends = stamps[199] + np.array([0.5, 0.6, 5, 9.8, 10.5]) / rate
    newest, nearest = reached(stamps, ends, rate)
    assert newest.tolist() == [199, 200, 200, 200, 200]
    assert nearest.tolist() == [True, False, False, False, True]


def test_without_samples_or_windows_nothing_is_reached() -> None:
    none = np.array([], dtype=np.float64)
    for stamps, ends in ((none, none), (none, np.array([1.0])), (grid(125.0), none)):
        newest, nearest = reached(stamps, ends, 125.0)
        assert len(newest) == len(nearest) == len(ends)
        assert not nearest.any()


# --- what is due ----------------------------------------------------------------------


@LAW
@given(
    lead=st.integers(0, 12).map(lambda n: n / 2),
    slice_ref=st.integers(0, 4).map(lambda n: n / 4),
    tr=st.sampled_from([0.4, 0.8, 1.0, 1.26, 2.0, 2.1, 3.0]),
    rate=st.sampled_from(RATES),
)
def test_the_volume_ahead_is_the_first_whose_window_ends_after_the_marker_is_known(
    lead: float, slice_ref: float, tr: float, rate: float
) -> None:
    spec = WindowSpec(length=10, lead=lead, slice_ref=slice_ref)
    ahead = volumes_ahead(spec, tr, rate)
    known = MARKER_GRACE + NEAREST / rate
    assert ahead >= 0
    assert (ahead + slice_ref) * tr - lead >= known - 1e-12
    assert ahead == 0 or (ahead - 1 + slice_ref) * tr - lead < known + 1e-12


@pytest.mark.parametrize(
    ("lead", "ahead"), [(0, 0), (0.9, 0), (1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)]
)
def test_leads_at_a_tr_of_two_seconds(lead: float, ahead: int) -> None:
    assert volumes_ahead(WindowSpec(length=10, lead=lead), 2.0, 125.0) == ahead


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("lead", [0.0, 1.0, 2.5, 4.0, 5.0, 6.0])
def test_a_marker_makes_one_window_due_a_lead_before_its_target(
    lead: float, rate: float
) -> None:
    spec, tr = WindowSpec(length=10, lead=lead), 2.0
    ahead = volumes_ahead(spec, tr, rate)
    for volume in (0, 1, 77):
        due = due_of_marker(spec, volume, 100 + volume * tr, tr=tr, rate=rate)
        assert due.volume == volume + ahead
        assert due.target == pytest.approx(100 + (due.volume + 0.5) * tr)
        assert due.end == due.target - lead
        assert due.end >= 100 + volume * tr + MARKER_GRACE


def test_each_volume_from_the_first_forecast_on_is_due_once() -> None:
    spec, tr = WindowSpec(length=10, lead=5.0), 2.0
    dues = [due_of_marker(spec, k, k * tr, tr=tr, rate=125.0) for k in range(20)]
    assert [due.volume for due in dues] == [*range(3, 23)]
    assert np.diff([due.end for due in dues]) == pytest.approx(tr)


@pytest.mark.parametrize(("length", "rate"), [(15, 125.0), (10, 256 / 3), (10, 4.0), (6, 80.0)])
def test_a_window_has_its_length_to_the_nearest_sample(length: float, rate: float) -> None:
    n_times = WindowSpec(length=length).n_times(rate)
    assert abs(n_times - length * rate) <= 0.5
    assert n_times <= ceil(length * rate)


@pytest.mark.parametrize(
    "wrong",
    [{"length": 0}, {"length": 5, "lead": -1}, {"length": 5, "slice_ref": 1.1}, {"lead": 1}],
)
def test_a_window_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        WindowSpec.model_validate(wrong)
