from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtfeedback.chain import Chain, ChainSpec
from rtfeedback.signals import Chunk
from rtfeedback.windows import WindowSpec
from tests.online.lines import (
    INFO,
    NAMES,
    SFREQ,
    SPEC,
    both_chains,
    both_clocks,
    desk_window,
    eeg,
    facts,
    line_of,
    lose,
    mark,
    onsets,
    push,
    stamped,
)

LAW = settings(deadline=None, derandomize=True, max_examples=10)
CHUNKS = st.lists(st.sampled_from([0, 1, 7, 32, 250, 999]), max_size=60)


# --- what is wanted -------------------------------------------------------------------


@both_chains
@pytest.mark.parametrize("hop", [0.1, 0.2, 0.25])
def test_no_window_waits_for_what_is_found_out_over_a_second(
    chain: ChainSpec, hop: float
) -> None:
    """At longer hops there is a look at most of the samples before; see `Gathering`."""
    line, n, found = line_of(chain, hop=hop), 600, 0
    samples, stamps = eeg(3000), stamped(3000)
    assert list(push(line, samples[:n], stamps[:n]))
    while n < 2600:
        first, n = n, n + line.wanted()
        due = [w.sample for w in line.push(Chunk(samples[first:n], stamps[first:n], 0.0))]
        second_over = n + line.timeline.left - SFREQ  # the first sample after it
        assert not any(first < second_over <= sample for sample in due)
        found += len(due)
    assert found >= round(2000 / SFREQ / hop) - 1


# --- however it is cut ----------------------------------------------------------------


@both_chains
@both_clocks
@LAW
@given(sizes=CHUNKS, seed=st.integers(0, 99))
def test_windows_do_not_depend_on_chunks(
    chain: ChainSpec, counted: bool, sizes: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    samples, stamps = eeg(4000), stamped(4000)
    left = lose(stamps, *[(a, a + rng.uniform(0.05, 3)) for a in rng.uniform(2, 15, 2)])
    samples, stamps = samples[left], stamps[left] + rng.uniform(-1e-3, 1e-3, left.sum())
    samples[rng.integers(0, len(samples), 2)] = np.nan
    spec = WindowSpec(length=4.0, lead=(0.0, 2.5, 5.0)[seed % 3])
    hop, told = (None, 0.5, 0.3)[seed // 3 % 3], []
    for how in ([], sizes, [10] * 400):
        line = line_of(chain, spec, hop=hop, counted=counted)
        mark(line, onsets(12, phase=0.7))
        told.append(facts(push(line, samples, stamps, how)))
    assert len(told[0]) > 2
    assert told[1] == told[0]
    assert told[2] == told[0]


@both_chains
def test_one_sample_at_a_time_tells_the_same_windows(chain: ChainSpec) -> None:
    samples, stamps = eeg(3000), stamped(3000)
    told = []
    for sizes in ([], [1] * 3000):
        line = line_of(chain, hop=0.5, counted=True)
        told.append(facts(push(line, samples, stamps, sizes)))
    assert told[1] == told[0]


@both_chains
def test_windows_due_in_one_chunk_all_come_in_their_order(chain: ChainSpec) -> None:
    line = line_of(chain, hop=0.1, counted=True)
    told = list(push(line, eeg(7500), stamped(7500)))
    targets = [w.target_time for w in told]
    assert targets == sorted(targets)
    assert len(told) > 250
    assert [w.volume for w in told if w.volume is not None] == [*range(15)]


# --- what a window holds --------------------------------------------------------------


@both_chains
@pytest.mark.parametrize("lead", [0.0, 5.0])
def test_a_window_is_valid_when_the_desk_has_one_and_is_the_same_bits(
    chain: ChainSpec, lead: float
) -> None:
    samples, stamps = eeg(9000), stamped(9000)
    left = lose(stamps, (17.3, 17.5))
    samples, stamps = samples[left], stamps[left]
    begins = [0, int(np.argmax(np.diff(stamps) > 0.1)) + 1]
    spec = WindowSpec(length=4.0, lead=lead)
    line = line_of(chain, spec, hop=0.5)
    mark(line, onsets(18, phase=0.3))
    n_valid = 0
    for window in push(line, samples, stamps, [7, 250, 1, 1, 32, 999]):
        begin = begins[window.segment]
        data = desk_window(
            chain, samples[begin:], window.sample - begin, spec.n_times(chain.rate)
        )
        if data is None or window.reason == "gap":
            assert not window.valid
        else:
            assert window.valid
            np.testing.assert_array_equal(window.data, data)
            assert window.data.flags.c_contiguous
        n_valid += window.valid
    assert n_valid > 20


@both_chains
@pytest.mark.parametrize("jitter", [0.0, 0.2e-3])
def test_a_window_ends_at_the_sample_nearest_to_its_due_time(
    chain: ChainSpec, jitter: float
) -> None:
    stamps = stamped(7500)
    line = line_of(chain, hop=0.37)
    mark(line, onsets(15, phase=0.123))
    noisy = stamps + np.random.default_rng(0).uniform(-jitter, jitter, 7500)
    outputs = stamps[Chain(chain, INFO).push(eeg(7500))[1]]
    for window in push(line, eeg(7500), noisy, [32] * 200):
        assert window.lsl_time == noisy[window.sample]
        if window.valid:
            assert stamps[window.sample] in outputs
            off = np.abs(outputs - window.due_time)
            assert off[outputs == stamps[window.sample]][0] <= off.min() + 0.07 / chain.rate


def test_a_window_is_a_view_of_the_ring() -> None:
    line = line_of(counted=True)
    for window in line.push(Chunk(eeg(3000), stamped(3000), 5.5)):
        assert np.shares_memory(window.data, line.ring.window())
        assert window.data.shape == (3, 500)
        assert window.received == 5.5


def test_samples_are_numbered_over_all_that_was_received() -> None:
    samples, stamps = eeg(5000), stamped(5000)
    samples[1000:1010, 1] = np.nan
    for window in push(line_of(counted=True), samples, stamps, [250] * 10):
        assert window.lsl_time == stamps[window.sample]
        assert window.segment == (window.sample >= 1010)


# --- another outlet -------------------------------------------------------------------


@both_chains
@pytest.mark.parametrize("pause", [0.0, 3.0])
def test_another_outlet_of_the_stream_begins_a_segment_of_its_own(
    chain: ChainSpec, pause: float
) -> None:
    samples, stamps = eeg(10000), stamped(10000)
    stamps[5000:] += pause
    order = [2, 0, 1]
    other = replace(INFO, channels=tuple(NAMES[i] for i in order), source_id="restarted")
    line = line_of(chain, hop=0.5)
    told = list(push(line, samples[:5000], stamps[:5000], [32] * 50))
    line.reconnect(Chain(chain, other))
    told += list(push(line, samples[5000:][:, order], stamps[5000:], [32] * 50))
    assert line.timeline.segment == 1
    assert line.timeline.lost == round(pause * SFREQ)
    for window in told:
        assert window.segment == (window.sample >= 5000)
        if window.segment and window.valid:
            data = desk_window(
                chain, samples[5000:], window.sample - 5000, SPEC.n_times(line.rate)
            )
            np.testing.assert_array_equal(window.data, data)
    assert {w.reason for w in told if w.segment == 1} == {"gap", "warming_up", "ok"}
    assert told[-1].valid
