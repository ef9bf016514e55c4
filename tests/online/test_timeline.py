from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtfeedback.online.gather import LAST
from rtfeedback.online.timeline import GAP, Timeline
from rtfeedback.signals import Chunk, Float32, Float64, Int64

LAW = settings(deadline=None, derandomize=True, max_examples=12)
CHUNKS = st.lists(st.sampled_from([0, 1, 2, 7, 32, 250, 999]), max_size=60)
START = 98765.4321
RATES = (160.0, 250.0, 1000.0, 5000.0)


@dataclass
class Told:
    """All that a timeline said of a stream, sample by sample and segment by segment."""

    stamps: Float64
    received: Float64
    samples: Float32
    index: Int64
    """Absolute, of each sample."""
    segment: Int64
    begins: list[int]
    """Absolute index of each segment's first sample."""
    lost: list[int]
    timeline: Timeline


def chunks(stamps: Float64, sizes: Iterable[int], bad: Iterable[int] = ()) -> Iterator[Chunk]:
    """Yield a stream in chunks of these sizes, then the rest; each sample is its number."""
    samples = np.arange(len(stamps), dtype=np.float32)[:, None] * np.ones(2, dtype=np.float32)
    for i, index in enumerate(bad):
        samples[index, i % 2] = (np.nan, np.inf, -np.inf)[i % 3]
    first = 0
    for size in (*sizes, len(stamps)) if isinstance(sizes, list) else sizes:
        if first >= len(stamps):
            return
        yield Chunk(samples[first : first + size], stamps[first : first + size], 0.0)
        first += size


def tell(timeline: Timeline, stream: Iterable[Chunk]) -> Told:
    pieces = [piece for chunk in stream for piece in timeline.push(chunk)]
    for piece in pieces:
        assert len(piece.samples) == len(piece.stamps) == len(piece.received_stamps) > 0
        assert piece.begins or piece.lost == 0
    return Told(
        np.concatenate([piece.stamps for piece in pieces]),
        np.concatenate([piece.received_stamps for piece in pieces]),
        np.concatenate([piece.samples for piece in pieces]),
        np.concatenate([p.first_sample + np.arange(len(p.stamps)) for p in pieces]),
        np.concatenate([np.full(len(p.stamps), p.segment) for p in pieces]),
        [piece.first_sample for piece in pieces if piece.begins],
        [piece.lost for piece in pieces if piece.begins],
        timeline,
    )


def stamped(
    sfreq: float, n_times: int, *, ppm: float = 0.0, jitter: float = 0.0, seed: int = 0
) -> Float64:
    times = np.arange(n_times) / sfreq * (1 + ppm * 1e-6)
    return START + times + np.random.default_rng(seed).uniform(-jitter, jitter, n_times)


# --- the same, however it is cut ------------------------------------------------------


@pytest.mark.parametrize("sfreq", RATES)
@LAW
@given(sizes=CHUNKS, seed=st.integers(0, 99))
def test_stamps_segments_and_losses_do_not_depend_on_chunks(
    sfreq: float, sizes: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n_times = 1200
    stamps = stamped(sfreq, n_times, ppm=rng.uniform(-50, 50), jitter=2e-3, seed=seed)
    for at in rng.integers(1, n_times, size=rng.integers(0, 5)):
        stamps[at:] += rng.choice([0.2, 0.031, -0.5, 12.0])
    bad = rng.integers(0, n_times, size=rng.integers(0, 6)).tolist()
    whole = tell(Timeline(sfreq), chunks(stamps, [], bad))
    for how in (sizes, cycle([1])):
        cut = tell(Timeline(sfreq), chunks(stamps, how, bad))
        np.testing.assert_array_equal(cut.stamps, whole.stamps)
        np.testing.assert_array_equal(cut.samples, whole.samples)
        np.testing.assert_array_equal(cut.index, whole.index)
        np.testing.assert_array_equal(cut.segment, whole.segment)
        assert (cut.begins, cut.lost) == (whole.begins, whole.lost)
        assert cut.timeline.lost == whole.timeline.lost
        assert cut.timeline.received == whole.timeline.received == n_times


def test_a_sample_keeps_its_number_its_value_and_the_stamp_it_came_with() -> None:
    stamps = stamped(250.0, 1000, jitter=1e-3)
    stamps[400:] += 1.0
    told = tell(Timeline(250.0), chunks(stamps, [1, 7, 0, 250], bad=[3, 700, 701]))
    kept = np.delete(np.arange(1000), [3, 700, 701])
    np.testing.assert_array_equal(told.index, kept)
    np.testing.assert_array_equal(told.samples[:, 0], kept)
    np.testing.assert_array_equal(told.received, stamps[kept])
    assert told.begins == [0, 4, 400, 702]


def test_an_empty_chunk_says_nothing() -> None:
    timeline = Timeline(250.0)
    assert list(timeline.push(Chunk(np.empty((0, 2), np.float32), np.empty(0), 0.0))) == []
    assert (timeline.segment, timeline.received, timeline.lost) == (-1, 0, 0)


# --- smooth stamps --------------------------------------------------------------------


@pytest.mark.parametrize("sfreq", RATES)
def test_exact_stamps_stay_as_they_are(sfreq: float) -> None:
    stamps = stamped(sfreq, 5000)
    told = tell(Timeline(sfreq), chunks(stamps, [10] * 20))
    np.testing.assert_allclose(told.stamps, stamps, rtol=0, atol=1e-9)


@pytest.mark.parametrize("ppm", [-50.0, 50.0])
@pytest.mark.parametrize("sfreq", [250.0, 1000.0])
def test_a_clock_that_drifts_is_followed_without_a_break(sfreq: float, ppm: float) -> None:
    stamps = stamped(sfreq, round(120 * sfreq), ppm=ppm)
    told = tell(Timeline(sfreq), chunks(stamps, []))
    error = np.abs(told.stamps - stamps)
    assert told.begins == [0]
    # A second-order loop has no steady error on a drift, and 1/100 sample while it locks.
    assert error.max() < 1e-4
    assert error[round(30 * sfreq) :].max() < 2e-6


@pytest.mark.parametrize("sfreq", RATES)
@pytest.mark.parametrize("ppm", [-50.0, 0.0, 50.0])
def test_jitter_is_smoothed_far_below_what_came(sfreq: float, ppm: float) -> None:
    n_times = round(60 * sfreq)
    true = stamped(sfreq, n_times, ppm=ppm)
    stamps = stamped(sfreq, n_times, ppm=ppm, jitter=2e-3, seed=1)
    told = tell(Timeline(sfreq), chunks(stamps, []))
    warm = slice(round(15 * sfreq), None)
    assert told.begins == [0]
    assert (told.stamps - true)[warm].std() < 0.15 * (stamps - true)[warm].std()
    assert np.abs(told.stamps - true)[warm].max() < 0.4e-3
    assert np.abs(told.stamps - true).max() < 2.2e-3  # never worse than what came
    assert np.diff(told.stamps).min() > 0


# --- breaks ---------------------------------------------------------------------------


@pytest.mark.parametrize("sfreq", RATES)
@pytest.mark.parametrize("jitter", [0.0, 0.4])
@pytest.mark.parametrize("seconds", [0.05, 0.2, 3.0])
def test_a_gap_begins_a_segment_and_is_counted(
    sfreq: float, jitter: float, seconds: float
) -> None:
    n_lost = round(seconds * sfreq)
    stamps = np.delete(
        stamped(sfreq, 3000 + n_lost, ppm=20, jitter=jitter / sfreq / 2),
        slice(1500, 1500 + n_lost),
    )
    told = tell(Timeline(sfreq), chunks(stamps, [32] * 40))
    assert told.begins == [0, 1500]
    assert told.lost == [0, n_lost]
    assert told.timeline.lost == n_lost
    np.testing.assert_array_equal(told.segment, np.repeat([0, 1], 1500))


@pytest.mark.parametrize("jump", [-0.05, -0.2, -1000.0])
def test_a_backward_jump_begins_a_segment_and_nothing_was_lost(jump: float) -> None:
    stamps = stamped(250.0, 1000)
    stamps[600:] += jump
    told = tell(Timeline(250.0), chunks(stamps, [7] * 30))
    assert told.begins == [0, 600]
    assert (told.lost, told.timeline.lost) == ([0, 0], 0)
    np.testing.assert_allclose(told.stamps, stamps, rtol=0, atol=1e-6)


def test_a_segments_stamps_owe_nothing_to_the_one_before() -> None:
    stamps = stamped(250.0, 2000, jitter=2e-3)
    stamps[800:] += 0.3
    whole = tell(Timeline(250.0), chunks(stamps, [32] * 40))
    alone = tell(Timeline(250.0), chunks(stamps[800:], []))
    np.testing.assert_array_equal(whole.stamps[800:], alone.stamps)


@pytest.mark.parametrize("jump", [0.4 * GAP, -0.4 * GAP])
def test_a_jump_below_the_threshold_is_jitter(jump: float) -> None:
    stamps = stamped(1000.0, 2000)
    stamps[1000:] += jump
    told = tell(Timeline(1000.0), chunks(stamps, []))
    assert (told.begins, told.timeline.lost) == ([0], 0)


def test_the_threshold_can_be_declared() -> None:
    stamps = stamped(250.0, 1000)
    stamps[500:] += 0.05
    assert tell(Timeline(250.0), chunks(stamps, [])).begins == [0, 500]
    assert tell(Timeline(250.0, gap=0.1), chunks(stamps, [])).begins == [0]


@pytest.mark.parametrize("jitter", [0.0, 2e-3])
@pytest.mark.parametrize("sfreq", [250.0, 1000.0, 5000.0])
@pytest.mark.parametrize("sizes", [[], [1] * 3000, [104] * 30])
def test_samples_that_are_not_finite_are_lost_once_and_break_the_segment(
    sfreq: float, jitter: float, sizes: list[int]
) -> None:
    bad = [100, 101, 102, 500, 900, 902]
    stamps = stamped(sfreq, 3000, jitter=jitter)
    told = tell(Timeline(sfreq), chunks(stamps, sizes, bad))
    assert told.begins == [0, 103, 501, 901, 903]
    assert told.lost == [0] * 5  # they were received, and their time with them
    assert told.timeline.lost == len(bad)
    assert np.isfinite(told.samples).all()


def test_a_gap_among_samples_that_are_not_finite_is_counted_beside_them() -> None:
    stamps = stamped(250.0, 1000)
    stamps[505:] += 0.4
    told = tell(Timeline(250.0), chunks(stamps, [50] * 12, bad=range(500, 510)))
    assert told.begins == [0, 510]
    assert told.lost == [0, 100]
    assert told.timeline.lost == 110


def test_a_stream_may_begin_with_samples_that_are_not_finite() -> None:
    told = tell(Timeline(250.0), chunks(stamped(250.0, 100), [3] * 10, bad=[0, 1, 2, 3]))
    assert (told.begins, told.lost, told.timeline.lost) == ([4], [0], 4)


@pytest.mark.parametrize(("pause", "lost"), [(0.0, 0), (0.4, 100), (-5.0, 0)])
@pytest.mark.parametrize("jitter", [0.0, 2e-3])
def test_a_break_that_is_asked_for_begins_a_segment(
    pause: float, lost: int, jitter: float
) -> None:
    timeline, stamps = Timeline(250.0), stamped(250.0, 1000)
    stamps[600:] += pause
    stamps += np.random.default_rng(0).uniform(-jitter, jitter, 1000) / (1 if pause <= 0 else 2)
    before, after = chunks(stamps[:600], []), chunks(stamps[600:], [])
    pieces = [piece for chunk in before for piece in timeline.push(chunk)]
    timeline.break_here()
    timeline.break_here()
    pieces += [piece for chunk in after for piece in timeline.push(chunk)]
    begins = [(p.first_sample, p.segment, p.lost) for p in pieces if p.begins]
    assert begins == [(0, 0, 0), (600, 1, lost)]


def test_a_break_before_the_first_sample_changes_nothing() -> None:
    timeline = Timeline(250.0)
    timeline.break_here()
    told = tell(timeline, chunks(stamped(250.0, 100), []))
    assert (told.begins, told.lost, timeline.segment) == ([0], [0], 0)


# --- the rate -------------------------------------------------------------------------


def rates(stamps: Float64, sfreq: float = 250.0) -> list[tuple[float | None, bool]]:
    """Return rate and verdict after each second of a stream."""
    timeline, told = Timeline(sfreq), []
    for chunk in chunks(stamps, cycle([round(sfreq)])):
        for _ in timeline.push(chunk):
            pass
        told.append((timeline.rate, timeline.rate_is_nominal))
    return told


@pytest.mark.parametrize("ppm", [-100.0, 0.0, 100.0])
@pytest.mark.parametrize("jitter", [0.0, 5e-3])
def test_a_clock_of_an_amplifier_keeps_the_nominal_rate(ppm: float, jitter: float) -> None:
    told = rates(stamped(250.0, 250 * 200, ppm=ppm, jitter=jitter))
    assert all(nominal for _, nominal in told)
    assert told[-1][0] == pytest.approx(250 / (1 + ppm * 1e-6), rel=1e-4)


@pytest.mark.parametrize("factor", [256 / 250, 245 / 250, 1.005])
def test_a_rate_that_is_not_the_stated_one_is_found_in_seconds(factor: float) -> None:
    stamps = START + np.arange(250 * 60) / (250 * factor)
    told = rates(stamps)
    assert not any(nominal for _, nominal in told[6:])
    assert told[-1][0] == pytest.approx(250 * factor, rel=1e-4)


def test_losses_too_small_to_be_counted_show_in_the_rate() -> None:
    kept = np.arange(250 * 60) % 100 != 99  # one sample of each hundred, 4 ms, is lost
    stamps = stamped(250.0, 250 * 60)[kept]
    told = rates(stamps)
    assert tell(Timeline(250.0), chunks(stamps, [])).timeline.lost == 0
    assert not told[-1][1]
    assert told[-1][0] == pytest.approx(247.5, rel=1e-3)


def test_the_rate_is_nominal_again_once_the_losses_are_a_minute_ago() -> None:
    stamps = stamped(250.0, 250 * 150)
    stamps[5000:] += 0.015
    stamps[5300:] += 0.015
    stamps[5600:] += 0.015
    stamps[5900:] += 0.015
    stamps[6200:] += 0.015
    stamps[6500:] += 0.015
    told = [nominal for _, nominal in rates(stamps)]
    assert told[:20] == [True] * 20
    assert not any(told[40:75])
    assert told[-40:] == [True] * 40


@LAW
@given(sizes=CHUNKS)
def test_the_rates_verdict_falls_at_the_same_sample_whatever_the_chunks(
    sizes: list[int],
) -> None:
    stamps = START + np.arange(1500) / 256

    def verdicts(how: Iterable[int]) -> dict[int, bool]:
        timeline, told = Timeline(250.0), {}
        for chunk in chunks(stamps, how):
            for piece in timeline.push(chunk):
                told[piece.first_sample + len(piece.stamps)] = timeline.rate_is_nominal
        return told

    whole = verdicts([])
    cut = verdicts(sizes)
    assert {at: cut[at] for at in whole} == whole


@pytest.mark.parametrize("sfreq", [160.0, 250.0, 512.0, 1000.0, 5000.0])
def test_seconds_end_before_the_samples_that_are_left_for_a_window(sfreq: float) -> None:
    """A hop or TR falls due at whole seconds, or quarters: none waits for a judgement."""
    timeline, ends = Timeline(sfreq), []
    for chunk in chunks(stamped(sfreq, round(4 * sfreq)), cycle([7, 100])):
        for piece in timeline.push(chunk):
            if timeline.second_is_over:
                ends.append(piece.first_sample + len(piece.stamps))
    assert np.array_equal(np.diff(ends), [round(sfreq)] * 3)
    to_the_next_due = -np.array(ends) % (sfreq / 4)
    assert (to_the_next_due >= LAST * sfreq).all()


def test_a_new_segment_is_measured_anew() -> None:
    stamps = START + np.arange(250 * 10) / 256
    timeline = Timeline(250.0)
    for chunk in chunks(stamps, []):
        assert list(timeline.push(chunk))
    assert not timeline.rate_is_nominal
    for chunk in chunks(stamped(250.0, 2) + 100, []):
        assert list(timeline.push(chunk))
    assert timeline.rate_is_nominal
    assert timeline.rate is None
