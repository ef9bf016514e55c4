from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtfeedback.chain import Chain, ChainConfig, ChainSpec
from rtfeedback.chain.band_power import POWER_FLOOR, BandPower
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.signals import Float64, Int64, StreamInfo

RATES = (125.0, 160.0, 250.0, 256.0, 1000.0, 5000.0)
ALPHA = BandPowerConfig(bands=((4, 8), (8, 13), (13, 30)))


def spec_of(power: BandPowerConfig, sfreq: float = 250.0, n_channels: int = 1) -> ChainSpec:
    return ChainSpec(
        config=ChainConfig(band_power=power, reference="recorded"),
        channels=tuple(f"E{i + 1}" for i in range(n_channels)),
        sfreq=sfreq,
    )


def band_power(power: BandPowerConfig, sfreq: float = 250.0, n_channels: int = 1) -> BandPower:
    return BandPower(spec_of(power, sfreq, n_channels), power)


def counted(x: Float64, first: int = 0) -> tuple[Float64, Int64]:
    return x, np.arange(first, first + len(x), dtype=np.int64)


def wave(frequency: float, rate: float, seconds: float, volts: float = 1e-5) -> Float64:
    times = np.arange(round(seconds * rate)) / rate
    return np.asarray(volts * np.sin(2 * np.pi * frequency * times + 0.3))[:, None]


@pytest.mark.parametrize("sfreq", RATES)
@pytest.mark.parametrize("microvolts", [0.5, 20.0, 500.0])
def test_a_sine_has_its_power_in_its_band(sfreq: float, microvolts: float) -> None:
    spec = spec_of(ALPHA, sfreq)
    chain = Chain(spec, StreamInfo("EEG", sfreq, ("E1",), ("eeg",), ("uV",)))
    x, index = chain.push(wave(10, sfreq, 10, microvolts).astype(np.float32))
    power = 10.0 ** x[index >= 1.5 * chain.warm_up].astype(np.float64)
    assert len(power) > 10
    np.testing.assert_allclose(power[:, 1], (microvolts * 1e-6) ** 2 / 2, rtol=0.03)
    assert np.all(power[:, [0, 2]] < 2e-3 * power[:, [1]] + 2 * POWER_FLOOR)


@pytest.mark.parametrize("sfreq", [160.0, 250.0, 256.0])
def test_the_bands_share_all_the_power_there_is(sfreq: float) -> None:
    edges = (1e-3, 4, 8, 10, 13, 18, 24, 30, float(spec_of(ALPHA, sfreq).sample_rate) / 2)
    power = BandPowerConfig(bands=tuple(pairwise(edges)))
    noise = np.random.default_rng(0).normal(0, 1e-5, (600, 1))
    tokens, _ = band_power(power, sfreq)(*counted(noise))
    assert (10.0**tokens).sum(axis=1).mean() == pytest.approx(1e-10, rel=0.1)


def test_a_frequency_on_an_edge_is_in_the_upper_band() -> None:
    power = BandPowerConfig(bands=((6, 10), (10, 14)))
    tokens, _ = band_power(power, 125)(*counted(wave(10, 125, 2)))
    lower, upper = 10.0 ** tokens[0]
    # A Hann window puts 1/6 of a sine's power into each neighbour of its own bin.
    assert lower == pytest.approx(1e-10 / 2 / 6, rel=1e-3)
    assert upper == pytest.approx(1e-10 / 2 * 5 / 6, rel=1e-3)


@pytest.mark.parametrize("length", [1.0, 1.5, 2.0, 3.0, 5.0])
def test_an_edge_that_is_a_bin_is_that_bin_at_any_rate(length: float) -> None:
    power = BandPowerConfig(length=length, bands=((2, 4), (4, 8), (8, 10), (10, 20)))
    for sfreq in (*range(91, 250), 256, 512, 1000, 2048, 5000):
        config = ChainConfig(reference="recorded", band=(1, 20), notch=(), band_power=power)
        rate = ChainSpec(config=config, channels=("Cz",), sfreq=sfreq).sample_rate
        n_fft = power.n_fft(rate)
        bins = [k * rate / n_fft for k in range(n_fft // 2 + 1)]
        for (low, high), (first, above) in zip(power.bands, power.bins(rate), strict=True):
            assert [k for k, f in enumerate(bins) if low <= f < high] == [*range(first, above)]


def test_ten_times_the_amplitude_is_two_more() -> None:
    noise = np.random.default_rng(0).normal(0, 1e-5, (500, 3))
    quiet, _ = band_power(BandPowerConfig(), n_channels=3)(*counted(noise))
    loud, _ = band_power(BandPowerConfig(), n_channels=3)(*counted(10 * noise))
    np.testing.assert_allclose(loud - quiet, 2, atol=1e-3)


def test_silence_is_the_floor() -> None:
    tokens, _ = band_power(BandPowerConfig())(*counted(np.zeros((200, 1))))
    np.testing.assert_array_equal(tokens, np.log10(POWER_FLOOR))


def test_features_go_channel_by_channel_and_band_by_band() -> None:
    frequencies = (6.0, 10.0, 20.0)
    x = np.concatenate([wave(f, 125, 2) for f in frequencies], axis=1)
    tokens, _ = band_power(ALPHA, n_channels=3)(*counted(x))
    loudest = tokens[0].reshape(3, 3).argmax(axis=1)
    np.testing.assert_array_equal(loudest, [0, 1, 2])


@pytest.mark.parametrize("sfreq", [125.0, 256.0, 160.0])
@pytest.mark.parametrize("rate", [1.0, 3.0, 4.0, 7.3, 30.0])
def test_tokens_keep_their_rate_and_never_drift(sfreq: float, rate: float) -> None:
    bands = band_power(BandPowerConfig(rate=rate, bands=((8, 13),)), sfreq)
    sample_rate = float(spec_of(ALPHA, sfreq).sample_rate)
    _, ends = bands(*counted(np.zeros((round(300 * sample_rate), 1))))
    after = (ends - ends[0]) / sample_rate - np.arange(len(ends)) / rate
    assert ends[0] == bands.n_fft - 1
    assert len(ends) == pytest.approx((300 - bands.n_fft / sample_rate) * rate, abs=1)
    assert np.all((after <= 1e-6) & (after > -1 / sample_rate))


@settings(deadline=None, derandomize=True, max_examples=20)
@given(rate=st.sampled_from([1.0, 4.0, 7.3, 30.0]), cuts=st.lists(st.integers(0, 200)))
def test_a_token_is_made_of_its_own_samples_alone(rate: float, cuts: list[int]) -> None:
    config = BandPowerConfig(rate=rate, bands=((4, 8), (8, 13)))
    x = np.random.default_rng(0).normal(0, 1e-5, (500, 2))
    bands = band_power(config, n_channels=2)
    bounds = [0, *np.minimum(np.cumsum(cuts, dtype=np.int64), 500).tolist(), 500]
    for first, last in pairwise(bounds):
        tokens, ends = bands(*counted(x[first:last], first))
        for token, end in zip(tokens, ends, strict=True):
            assert first <= end < last
            alone, _ = band_power(config, n_channels=2)(
                *counted(x[end + 1 - bands.n_fft : end + 1])
            )
            np.testing.assert_array_equal(token, alone[0])
