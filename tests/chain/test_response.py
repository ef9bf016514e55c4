"""What a chain lets through, and what it takes out."""

from __future__ import annotations

import numpy as np
import pytest

from rtfeedback.chain import Chain
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.signals import Float32, Float64, StreamInfo
from tests.chain.streams import (
    NAMES,
    RATES,
    bits,
    both_outputs,
    chain_of,
    cut,
    eeg,
    info_of,
    spec_of,
    through,
)


def sine(frequency: float, sfreq: float, n_times: int, microvolts: float = 50.0) -> Float64:
    return np.asarray(microvolts * np.sin(2 * np.pi * frequency * np.arange(n_times) / sfreq))


def settled(chain: Chain, samples: Float32, times: float = 1.0) -> Float32:
    """Return what comes out after so many warm-ups."""
    x, index = chain.push(samples)
    return x[index >= times * chain.warm_up]


@pytest.mark.parametrize(("unit", "per_microvolt"), [("V", 1e-6), ("mV", 1e-3), ("nV", 1e3)])
def test_the_same_voltage_in_another_unit_is_the_same_signal(
    unit: str, per_microvolt: float
) -> None:
    spec, samples = spec_of(), eeg(1000)
    microvolts, _ = chain_of(spec).push(samples)
    other = (samples.astype(np.float64) * per_microvolt).astype(np.float32)
    got, _ = chain_of(spec, unit).push(other)
    # float32 holds millivolts of offset to some 0.2 nV.
    np.testing.assert_allclose(got, microvolts, rtol=0, atol=5e-9)
    assert 5e-6 < microvolts.std() < 20e-6


def test_channels_of_one_stream_may_have_units_of_their_own() -> None:
    samples, spec = eeg(1000, 3), spec_of(channels=NAMES[:3])
    mixed = StreamInfo("EEG", 250.0, NAMES[:3], ("eeg",) * 3, ("uV", "mV", "V"))
    expected, _ = chain_of(spec).push(samples)
    scaled = (samples * np.array([1, 1e-3, 1e-6])).astype(np.float32)
    got, _ = Chain(spec, mixed).push(scaled)
    np.testing.assert_allclose(got, expected, rtol=0, atol=5e-9)


@pytest.mark.parametrize("sfreq", RATES)
def test_an_electrode_offset_leaves_nothing_from_the_first_sample_on(sfreq: float) -> None:
    spec = spec_of(sfreq, reference="recorded")
    offsets = np.linspace(-50e3, 50e3, len(NAMES)).astype(np.float32)
    x, _ = chain_of(spec).push(np.tile(offsets, (round(5 * sfreq), 1)))
    assert np.abs(x).max() < 1e-9


@pytest.mark.parametrize("sfreq", RATES)
@pytest.mark.parametrize("mains", [50.0, 60.0])
def test_mains_is_taken_out(sfreq: float, mains: float) -> None:
    high = 75.0
    spec = spec_of(
        sfreq, ("Cz",), reference="recorded", notch=(mains,), band=(1, high), max_rate=200
    )
    wave = sine(mains, sfreq, round(12 * sfreq))[:, None].astype(np.float32)
    kept = settled(chain_of(spec), wave, times=3)
    assert np.abs(kept).max() < 50e-6 / 1000


@pytest.mark.parametrize("frequency", [4.0, 10.0, 20.0])
@pytest.mark.parametrize("sfreq", RATES)
def test_the_band_passes_at_its_amplitude(sfreq: float, frequency: float) -> None:
    spec = spec_of(sfreq, ("Cz",), reference="recorded")
    wave = sine(frequency, sfreq, round(10 * sfreq))[:, None].astype(np.float32)
    rms = settled(chain_of(spec), wave, times=1.5).std()
    assert 0.97 < rms / (50e-6 / np.sqrt(2)) < 1.01


@pytest.mark.parametrize("sfreq", [*RATES, 500.0, 512.0])
def test_nothing_above_the_new_nyquist_frequency_aliases(sfreq: float) -> None:
    spec = spec_of(sfreq, ("Cz",), reference="recorded", notch=(), band=(1, sfreq / 2.1))
    rate = float(spec.sample_rate)
    for frequency in np.arange(0.505 * rate, min(sfreq / 2, 3 * rate), 0.0499 * rate):
        wave = sine(frequency, sfreq, round(6 * sfreq))[:, None].astype(np.float32)
        kept = settled(chain_of(spec), wave, times=2)
        assert np.abs(kept).max() < 1.001 * 50e-6 / 1000, frequency  # the stop band's ripple


@pytest.mark.parametrize("sfreq", RATES)
def test_less_than_a_thousandth_of_what_is_above_the_band_remains(sfreq: float) -> None:
    spec = spec_of(sfreq, ("Cz",), reference="recorded")
    frequency = 0.7 * float(spec.sample_rate)
    wave = sine(frequency, sfreq, round(6 * sfreq))[:, None].astype(np.float32)
    assert np.abs(settled(chain_of(spec), wave, times=1.5)).max() < 50e-6 / 1000


@both_outputs
@pytest.mark.parametrize("reference", ["average", "recorded", "Cz"])
def test_dead_channels_and_a_dead_stream_stay_finite(
    power: BandPowerConfig | None, reference: str
) -> None:
    spec = spec_of(band_power=power, reference=reference)
    samples = eeg(1500)
    samples[:, 2] = 0.0
    samples[700:, 4] = 187500.0  # saturated
    for dead in (samples, np.zeros_like(samples)):
        x, _ = through(chain_of(spec), cut(dead, [1, 7, 250]))
        assert np.isfinite(x).all()
        assert np.abs(x).max() < 20


def test_the_average_reference_cancels_what_all_channels_share() -> None:
    common = (1000 * np.random.default_rng(0).normal(size=(1000, 1))).astype(np.float32)
    x, _ = chain_of(spec_of()).push(np.tile(common, (1, len(NAMES))))
    assert np.abs(x).max() < 1e-15
    kept, _ = chain_of(spec_of(reference="recorded")).push(np.tile(common, (1, len(NAMES))))
    assert kept.std() > 100e-6


def test_the_average_is_over_the_models_channels_alone() -> None:
    samples = eeg(600, len(NAMES) + 1)
    expected, _ = chain_of(spec_of()).push(samples[:, :-1].copy())
    samples[:, -1] = 1e5
    got, _ = Chain(spec_of(), info_of(channels=(*NAMES, "Pz"))).push(samples)
    np.testing.assert_array_equal(bits(got), bits(expected))


@pytest.mark.parametrize("reference", ["average", "Cz", "Pz"])
def test_a_reference_cancels_that_of_the_recording(reference: str) -> None:
    names = (*NAMES, "Pz")
    samples = np.random.default_rng(0).normal(0, 20, (1500, len(names)))
    shared = 100 * np.random.default_rng(1).normal(size=(1500, 1))
    spec, info = spec_of(reference=reference), info_of(channels=names)
    a, _ = Chain(spec, info).push(samples.astype(np.float32))
    b, _ = Chain(spec, info).push((samples + shared).astype(np.float32))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)
    assert a.std() > 5e-6


@pytest.mark.parametrize(("reference", "lent"), [("Cz", False), ("Pz", True), ("PZ", True)])
def test_a_named_reference_is_subtracted_and_only_a_lent_one_is_left_out(
    reference: str, lent: bool
) -> None:
    names = (*NAMES, "Pz")
    samples = np.random.default_rng(0).normal(0, 20, (1500, len(names))).astype(np.float32)
    x, _ = Chain(spec_of(reference=reference), info_of(channels=names)).push(samples)
    column = names.index("Pz" if lent else "Cz")
    by_hand = samples[:, : len(NAMES)] - samples[:, [column]]
    expected, _ = chain_of(spec_of(reference="recorded")).push(by_hand)
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-11)
    assert x.shape[1] == len(NAMES)
    assert np.any(x[:, NAMES.index("Cz")]) == lent
