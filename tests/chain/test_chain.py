from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import signal

from rtfeedback.chain import Chain, ChainSpec
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.signals import Chunk, Float32, Float64, StreamInfo
from tests.chain.streams import (
    NAMES,
    RATES,
    TOKENS,
    bits,
    both_outputs,
    chain_of,
    cut,
    eeg,
    info_of,
    spec_of,
    through,
)

LAW = settings(deadline=None, derandomize=True, max_examples=12)
CHUNKS = st.lists(st.sampled_from([0, 1, 2, 7, 32, 250, 999]), max_size=40)


# --- the same bits --------------------------------------------------------------------


@both_outputs
@pytest.mark.parametrize("sfreq", RATES)
@LAW
@given(sizes=CHUNKS, seed=st.integers(0, 99))
def test_the_bits_do_not_depend_on_how_samples_are_cut(
    sfreq: float, power: BandPowerConfig | None, sizes: list[int], seed: int
) -> None:
    spec, samples = spec_of(sfreq, band_power=power), eeg(round(2.5 * sfreq), seed=seed)
    whole, index = chain_of(spec).push(samples)
    cut_up, cut_index = through(chain_of(spec), cut(samples, sizes))
    assert len(whole) > 0
    np.testing.assert_array_equal(bits(cut_up), bits(whole))
    np.testing.assert_array_equal(cut_index, index)


@both_outputs
@pytest.mark.parametrize("sfreq", RATES)
def test_one_sample_at_a_time_gives_the_same_bits(
    sfreq: float, power: BandPowerConfig | None
) -> None:
    spec, samples = spec_of(sfreq, band_power=power), eeg(min(2000, round(2.5 * sfreq)))
    samples = np.repeat(samples, 4, axis=0) if sfreq > 1000 else samples
    whole, index = chain_of(spec).push(samples)
    single, single_index = through(chain_of(spec), cut(samples, cycle([1])))
    np.testing.assert_array_equal(bits(single), bits(whole))
    np.testing.assert_array_equal(single_index, index)


@pytest.mark.parametrize("reference", ["average", "recorded", "E1", "Cz"])
@pytest.mark.parametrize("n_channels", [1, 2, 7, 9, 33, 64, 129, 256])
def test_the_bits_do_not_depend_on_chunks_at_any_width(n_channels: int, reference: str) -> None:
    names = tuple(f"E{i + 1}" for i in range(n_channels))
    if n_channels == 1 and reference in ("average", "E1"):
        with pytest.raises(ValidationError, match=r"the only channel.*set reference to 'rec"):
            spec_of(channels=names, reference=reference)
        return
    spec = spec_of(channels=names, reference=reference)
    info = info_of(channels=(*names, "Cz"))
    samples = eeg(700, n_channels + 1)
    whole, _ = Chain(spec, info).push(samples)
    cut_up, _ = through(Chain(spec, info), cut(samples, [1, 0, 1, 7, 32, 1, 1, 250, 3, 64]))
    np.testing.assert_array_equal(bits(cut_up), bits(whole))


@both_outputs
def test_the_bits_do_not_depend_on_memory_order_or_alignment(
    power: BandPowerConfig | None,
) -> None:
    spec, samples = spec_of(band_power=power), eeg(1000)
    wide = np.zeros((1000, 2 * len(NAMES)), dtype=np.float32)
    wide[:, ::2] = samples
    expected, _ = chain_of(spec).push(samples)
    for same in (np.asfortranarray(samples), wide[:, ::2], samples[::-1].copy()[::-1]):
        for sizes in ([], [1, 7, 32, 1, 250]):
            got, _ = through(chain_of(spec), cut(same, sizes))
            np.testing.assert_array_equal(bits(got), bits(expected))


def test_what_is_pushed_is_left_as_it_was() -> None:
    samples = eeg(500)
    kept = samples.copy()
    chain_of(spec_of(reference="recorded")).push(samples)
    np.testing.assert_array_equal(samples, kept)


@both_outputs
@LAW
@given(order=st.permutations(range(len(NAMES) + 3)))
def test_channels_go_by_name_whatever_their_order_and_company(
    power: BandPowerConfig | None, order: list[int]
) -> None:
    names = (*NAMES, "ECG", "HEOG", "Pz")
    kinds = ("eeg",) * len(NAMES) + ("ecg", "eog", "eeg")
    units = ("uV",) * len(NAMES) + ("mV", "V", "µV")
    info = StreamInfo(
        "EEG",
        250.0,
        tuple(names[i] for i in order),
        tuple(kinds[i] for i in order),
        tuple(units[i] for i in order),
    )
    spec, samples = spec_of(band_power=power), eeg(800, len(names))
    expected, _ = chain_of(spec).push(samples[:, : len(NAMES)].copy())
    got, _ = through(Chain(spec, info), cut(samples[:, order], [1, 7, 250]))
    np.testing.assert_array_equal(bits(got), bits(expected))


@both_outputs
@LAW
@given(sizes=CHUNKS, before=st.integers(0, 1200))
def test_a_reset_chain_is_a_fresh_one(
    power: BandPowerConfig | None, sizes: list[int], before: int
) -> None:
    spec, samples = spec_of(band_power=power), eeg(800)
    expected, index = chain_of(spec).push(samples)
    used = chain_of(spec)
    used.push(eeg(before, seed=1))
    used.reset()
    got, got_index = through(used, cut(samples, sizes))
    np.testing.assert_array_equal(bits(got), bits(expected))
    np.testing.assert_array_equal(got_index, index)


# --- what comes when ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sfreq", "rate", "factor"),
    [
        (100.0, Fraction(100), 1),
        (125.0, Fraction(125), 1),
        (128.0, Fraction(64), 2),
        (160.0, Fraction(80), 2),
        (250.0, Fraction(125), 2),
        (256.0, Fraction(256, 3), 3),
        (500.0, Fraction(125), 4),
        (512.0, Fraction(512, 5), 5),
        (1000.0, Fraction(125), 8),
        (2048.0, Fraction(2048, 17), 17),
        (5000.0, Fraction(125), 40),
    ],
)
def test_the_output_rate_is_the_highest_that_a_whole_factor_reaches(
    sfreq: float, rate: Fraction, factor: int
) -> None:
    spec = spec_of(sfreq, band=(1, 30), notch=())
    assert (spec.sample_rate, spec.factor, spec.rate) == (rate, factor, float(rate))
    _, index = chain_of(spec).push(eeg(round(2 * sfreq)))
    np.testing.assert_array_equal(index, np.arange(0, round(2 * sfreq), factor))


@both_outputs
@pytest.mark.parametrize("sfreq", RATES)
def test_an_output_comes_with_its_newest_sample_and_depends_on_none_after_it(
    sfreq: float, power: BandPowerConfig | None
) -> None:
    spec, samples = spec_of(sfreq, band_power=power), eeg(round(2 * sfreq))
    whole, index = chain_of(spec).push(samples)
    chain = chain_of(spec)
    for i in (index[0], index[len(index) // 2], index[-1]):
        chain.reset()
        got, got_index = chain.push(samples[: i + 1])
        assert got_index[-1] == i
        np.testing.assert_array_equal(bits(got), bits(whole[: len(got)]))
        chain.reset()
        assert i not in chain.push(samples[:i])[1]


@both_outputs
def test_an_empty_chunk_gives_nothing_and_changes_nothing(
    power: BandPowerConfig | None,
) -> None:
    chain = chain_of(spec_of(band_power=power))
    empty = np.empty((0, len(NAMES)), dtype=np.float32)
    for _ in range(3):
        x, index = chain.push(empty)
        assert x.shape == (0, chain.spec.n_features)
        assert index.shape == (0,)
        assert x.dtype == np.float32
        assert index.dtype == np.int64
    samples = eeg(700)
    expected, _ = chain_of(chain.spec).push(samples)
    np.testing.assert_array_equal(bits(chain.push(samples)[0]), bits(expected))


@both_outputs
def test_features_are_float32_and_one_row_each(power: BandPowerConfig | None) -> None:
    chain = chain_of(spec_of(band_power=power))
    x, index = chain.push(eeg(1000))
    assert x.shape == (len(index), chain.spec.n_features)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous


@both_outputs
@pytest.mark.parametrize("sfreq", RATES)
def test_once_warm_it_has_forgotten_what_it_started_from(
    sfreq: float, power: BandPowerConfig | None
) -> None:
    spec = spec_of(sfreq, band_power=power, reference="recorded")
    past, n_times = round(20 * sfreq), round(8 * sfreq)
    past -= past % (4 * spec.factor * round(sfreq))  # where tokens and kept samples repeat
    samples = eeg(past + n_times)
    samples[past] += 100  # the segment begins on an outlier, of five standard deviations
    long, index = chain_of(spec).push(samples)
    chain = chain_of(spec)
    short, short_index = chain.push(samples[past:])
    both = np.intersect1d(index, short_index[short_index >= chain.warm_up] + past)
    a = long[np.isin(index, both)]
    b = short[np.isin(short_index + past, both)]
    assert len(both) > (10 if power else 300)
    assert np.abs(a - b).max() < (0.1 if power else 0.02 * 1e-6 * 100)


# --- what of a stream is used ---------------------------------------------------------


def usable(chain: Chain, samples: Float32, stamps: Float64 | None = None) -> list[bool]:
    stamps = np.arange(len(samples), dtype=np.float64) if stamps is None else stamps
    found: list[bool] = chain.usable(Chunk(samples, stamps, received=0.0)).tolist()
    return found


def test_a_sample_is_usable_if_the_channels_that_are_used_are_numbers() -> None:
    names = ("x", *NAMES[::-1], "y")
    info = replace(info_of(channels=names), kinds=("misc", *["eeg"] * len(NAMES), "misc"))
    samples = eeg(6, len(names))
    samples[1, 0] = samples[2, -1] = np.nan  # of no channel of the model
    samples[3, 4], samples[5, 1] = np.nan, np.inf
    chain = Chain(spec_of(reference="recorded"), info)
    assert usable(chain, samples) == [True, True, True, False, True, False]
    assert usable(chain, samples[:3]) == [True] * 3
    assert usable(chain, samples[:0]) == []
    np.testing.assert_array_equal(chain.recorded(samples), samples[:, 1:-1][:, ::-1])


def test_a_stream_of_the_models_channels_alone_is_used_as_it_is() -> None:
    chain, samples = chain_of(spec_of()), eeg(6)
    assert chain.recorded(samples) is samples
    samples[2, 7] = np.nan
    assert usable(chain, samples) == [True, True, False, True, True, True]


def test_a_sample_is_usable_if_its_stamp_is_a_number() -> None:
    chain, stamps = chain_of(spec_of()), np.arange(6.0)
    stamps[[0, 4]] = np.inf, np.nan
    assert usable(chain, eeg(6), stamps) == [False, True, True, True, False, True]


def test_a_sample_of_numbers_is_usable_however_large_they_are() -> None:
    chain, samples = chain_of(spec_of()), eeg(6)
    samples[:, 3] = np.finfo(np.float32).max  # their sum is infinite
    assert usable(chain, samples) == [True] * 6
    samples[1, 0], samples[2, 0] = np.inf, -np.inf
    assert usable(chain, samples) == [True, False, False, True, True, True]


@both_outputs
@pytest.mark.parametrize("sfreq", [*RATES, 1024.0])
def test_which_sample_gives_the_next_output_is_known_ahead(
    sfreq: float, power: BandPowerConfig | None
) -> None:
    chain = chain_of(spec_of(sfreq, band_power=power))
    _, index = chain.push(eeg(round(4 * sfreq)))
    for at in (0, 1, 7, int(index[0]), int(index[0]) + 1, *index[-4:-1] + 1, int(index[-1])):
        assert chain.next_output(int(at)) == index[np.searchsorted(index, at)]


# --- what it costs --------------------------------------------------------------------


@both_outputs
@pytest.mark.parametrize("sfreq", [250.0, 5000.0])
def test_each_sample_is_worked_on_once(
    sfreq: float, power: BandPowerConfig | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[int] = []
    sosfilt = signal.sosfilt

    def counting(sos: Float64, x: Float64, **how: Any) -> Any:
        worked.append(len(x))
        return sosfilt(sos, x, **how)

    monkeypatch.setattr(signal, "sosfilt", counting)
    chain, samples = chain_of(spec_of(sfreq, band_power=power)), eeg(3000)
    costs = []
    for _ in range(20):
        through(chain, cut(samples, cycle([100])))
        costs.append(sum(worked))
        worked.clear()
    assert set(costs) == {3 * len(samples)}  # high-pass, low-pass and anti-alias filter


def carried(thing: object) -> int:
    """Return the size of all arrays that an object and its parts hold, in bytes."""
    if isinstance(thing, np.ndarray):
        return thing.nbytes
    if isinstance(thing, list):
        return sum(carried(part) for part in thing)
    parts = list(vars(thing).values()) if type(thing).__module__.startswith("rtf") else []
    return sum(carried(part) for part in parts if not isinstance(part, ChainSpec))


@both_outputs
def test_what_is_carried_on_is_bounded_by_a_token_whatever_was_pushed(
    power: BandPowerConfig | None,
) -> None:
    chain = chain_of(spec_of(band_power=power))
    fresh = carried(chain)
    sizes = []
    for n in (1, 10, 1000, 100000, 3, 0):
        chain.push(eeg(n))
        sizes.append(carried(chain))
    token = 125 * (len(NAMES) + 1) * 8
    assert fresh < max(sizes) < fresh + token + 5000


# --- what cannot be -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sfreq", "config", "said"),
    [
        (100.0, {}, "50 Hz cannot be filtered in a stream of 100 Hz"),
        (160.0, {"band": (1, 90)}, "90 Hz cannot be filtered"),
        (250.0, {"notch": (50, 150)}, "150 Hz cannot be filtered"),
        (250.0, {"max_rate": 60, "band_power": TOKENS}, "above 25 Hz does not exist"),
        (250.0, {"band": (40, 1)}, "lower, upper"),
        (250.0, {"band": (0, 40)}, "greater than 0"),
        (250.0, {"band": (1, float("nan"))}, "finite"),
        (250.0, {"band_power": {"bands": ()}}, "at least one"),
        (250.0, {"band_power": {"bands": ((8, 8),)}}, "lower, upper"),
        (250.0, {"band_power": {"bands": ((8.2, 8.8),)}}, "8.2 to 8.8 Hz: widen it"),
        (250.0, {"band_power": {"length": 0.2}}, "token of 0.2 s .* 2 to 4 Hz"),
        (250.0, {"band_power": {"rate": 200}}, "200 tokens .* more than 125 samples"),
        (250.0, {"band_power": {"length": 0.001}}, "token of 0.001 s"),
        (250.0, {"hop": 1}, "Extra inputs"),
    ],
)
def test_a_chain_that_cannot_be_is_refused(
    sfreq: float, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        spec_of(sfreq, **config)


def test_a_chain_without_channels_is_refused() -> None:
    with pytest.raises(ValidationError, match="channels"):
        spec_of(channels=())
