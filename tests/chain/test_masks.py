"""What the chain masks as artefacts, and what it leaves."""

from __future__ import annotations

from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import signal

from offline.eeg.fit_artefacts import fit_artefacts
from offline.eeg.recordings import read_recording
from offline.injection import inject
from rtfeedback.chain import Chain, ChainConfig, ChainSpec
from rtfeedback.chain.criteria import field
from rtfeedback.chain.front import Front
from rtfeedback.chain.limits import ArtefactLimits
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.signals import Bool, Float32, Float64, Int64
from tests.chain.streams import (
    NAMES,
    TOKENS,
    bits,
    both_outputs,
    chain_of,
    cut,
    info_of,
    spec_of,
    through,
)

SFREQ, N = 250.0, len(NAMES)
HOLD = 0.35  # s, the default
AT = 2000  # sample of the artefacts


def limits(**given: float) -> ArtefactLimits:
    """Return limits that nothing reaches, but for those that are given."""
    out = {"amplitude": 1.0, "step": 1.0, "muscle": 1.0, "flat": 0.0, "typical": 1e-5}
    values: dict[str, Any] = {name: (given.get(name, out[name]),) * N for name in out}
    return ArtefactLimits(**values, field=given.get("field", 2.0), fitted_on=("a",))


def masked_spec(
    power: BandPowerConfig | None = None,
    sfreq: float = SFREQ,
    max_rate: float = 125.0,
    **given: float,
) -> ChainSpec:
    spec = spec_of(sfreq, band_power=power, reference="recorded", max_rate=max_rate)
    return spec.model_copy(update={"artefacts": limits(**given)})


def quiet(seconds: float = 12.0, sfreq: float = SFREQ) -> Float32:
    """Return noise of 5 uV on millivolts of offset."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 5, (round(seconds * sfreq), N)) + rng.normal(0, 5e3, N)
    return np.asarray(noise, dtype=np.float32)


def masked(spec: ChainSpec, samples: Float32) -> tuple[Bool, Any]:
    """Return which outputs are masked, (n_out, n_channels), and their indices."""
    x, index = chain_of(spec).push(samples)
    by_channel = np.isnan(x).reshape(len(x), N, -1)
    assert (by_channel.all(axis=2) == by_channel.any(axis=2)).all()  # all bands or none
    return np.asarray(by_channel.any(axis=2)), index


# --- the same bits --------------------------------------------------------------------


def restless(sfreq: float, seed: int) -> Float32:
    """Return noise with pops, bursts and a channel that stands still for a while."""
    rng = np.random.default_rng(seed)
    n = round(6 * sfreq)
    x = rng.normal(0, 8, (n, N)) + rng.normal(0, 5e3, N)
    for place in rng.integers(0, n, 3):
        x[place:, rng.integers(N)] += rng.choice([-300, 300])
        x[place : place + n // 20, :3] += rng.normal(
            0, 60, (len(x[place : place + n // 20]), 3)
        )
    x[n // 3 : 2 * n // 3, 5] = 17.0
    return x.astype(np.float32)


TIGHT = {
    "amplitude": 40e-6,
    "field": 0.6,
    "step": 60e-6,
    "muscle": 20e-6,
    "flat": 1e-7,
}


@both_outputs
@pytest.mark.parametrize("sfreq", [160.0, 250.0, 1000.0])
@settings(deadline=None, derandomize=True, max_examples=8)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 2, 7, 32, 250, 999]), max_size=40),
    seed=st.integers(0, 99),
)
def test_masks_do_not_depend_on_how_samples_are_cut(
    sfreq: float, power: BandPowerConfig | None, sizes: list[int], seed: int
) -> None:
    spec, samples = masked_spec(power, sfreq, **TIGHT), restless(sfreq, seed)
    whole, index = chain_of(spec).push(samples)
    cut_up, cut_index = through(chain_of(spec), cut(samples, sizes))
    np.testing.assert_array_equal(bits(cut_up), bits(whole))
    np.testing.assert_array_equal(cut_index, index)
    assert 0 < np.isnan(whole).mean() < 1


@both_outputs
def test_one_sample_at_a_time_gives_the_same_masks(power: BandPowerConfig | None) -> None:
    spec, samples = masked_spec(power, **TIGHT), restless(SFREQ, 1)
    whole, _ = chain_of(spec).push(samples)
    single, _ = through(chain_of(spec), cut(samples, cycle([1])))
    np.testing.assert_array_equal(bits(single), bits(whole))


def test_a_reset_chain_remembers_no_artefact() -> None:
    spec = masked_spec(None, SFREQ, **TIGHT)
    chain, samples = chain_of(spec), restless(SFREQ, 2)
    chain.push(samples)
    chain.reset()
    again, _ = chain.push(samples)
    np.testing.assert_array_equal(bits(again), bits(chain_of(spec).push(samples)[0]))


@both_outputs
def test_what_is_not_masked_is_what_it_was(power: BandPowerConfig | None) -> None:
    spec, samples = masked_spec(power, **TIGHT), restless(SFREQ, 3)
    x, _ = chain_of(spec).push(samples)
    plain, _ = chain_of(spec.model_copy(update={"artefacts": None})).push(samples)
    kept = ~np.isnan(x)
    np.testing.assert_array_equal(x[kept], plain[kept])


# --- the criteria, without the bounds that save most of the work --------------------------


def plainly_bad(spec: ChainSpec, samples: Float32) -> Bool:
    """Return which samples are bad by the criteria's own words, (n_times, n_channels)."""
    front = Front(spec, info_of(spec.sfreq, spec.channels))(samples)
    allowed = spec.artefacts
    assert allowed
    bad = np.abs(front.filtered) > allowed.amplitude
    bad |= (field(front.filtered, np.array(allowed.amplitude)) > allowed.field)[:, None]
    lag = round(0.005 * spec.sfreq)
    before = np.concatenate([front.broad[:1].repeat(lag, axis=0), front.broad])[: len(bad)]
    bad |= np.abs(front.broad - before) > allowed.step
    return bad | plainly_contracted(spec, front.broad) | plainly_flat(spec, front.recorded)


def plainly_contracted(spec: ChainSpec, broad: Float64) -> Bool:
    assert spec.artefacts
    above = min(30.0, 0.3 * spec.sfreq)
    sos = signal.butter(4, above, "highpass", fs=spec.sfreq, output="sos")
    start = signal.sosfilt_zi(sos)[:, :, None] * broad[0]
    fast, _ = signal.sosfilt(sos, broad, axis=0, zi=start)
    keep = np.exp(-1 / (0.1 * spec.sfreq))
    power, rows = fast[0] ** 2, []
    for row in fast**2:
        power = keep * power + (1 - keep) * row
        rows.append(power)
    relative = np.array(rows) / np.square(spec.artefacts.muscle)
    group = (relative > 1).sum(axis=1) >= max(2, 0.05 * broad.shape[1])
    return np.asarray((relative > 1) | (group[:, None] & (relative > 0.6**2)))


def plainly_flat(spec: ChainSpec, recorded: Float64) -> Bool:
    assert spec.artefacts
    n, bad = round(0.25 * spec.sfreq), np.zeros(recorded.shape, np.bool_)
    for end in range(n, len(recorded) + 1, n):  # known at a block's last sample, till the next
        still = np.ptp(recorded[end - n : end], axis=0) <= spec.artefacts.flat
        bad[end - 1 : end + n - 1] = still
    return bad


def plainly_masked(spec: ChainSpec, bad: Bool, index: Int64) -> Bool:
    power = spec.config.band_power
    span = spec.factor * power.n_fft(spec.sample_rate) if power else round(HOLD * spec.sfreq)
    return np.array([bad[max(0, i + 1 - span) : i + 1].any(axis=0) for i in index])


@pytest.mark.parametrize("sfreq", [160.0, 1000.0])
@pytest.mark.parametrize("size", [3, 100, 5000])
@pytest.mark.parametrize(
    ("power", "alone"), [(TOKENS, None), (None, None), *((None, name) for name in TIGHT)]
)
def test_no_bound_saves_work_at_the_price_of_a_mask(
    power: BandPowerConfig | None, alone: str | None, sfreq: float, size: int
) -> None:
    tight = TIGHT if alone is None else {alone: TIGHT[alone]}
    # Samples come out at the stream's rate, so that one sample more or less shows.
    spec = masked_spec(power, sfreq, max_rate=125 if power else sfreq, **tight)
    samples = restless(sfreq, 4)
    x, index = through(chain_of(spec), cut(samples, cycle([size])))
    found = np.isnan(x).reshape(len(x), N, -1).any(axis=2)
    expected = plainly_masked(spec, plainly_bad(spec, samples), index)
    np.testing.assert_array_equal(found, expected)
    assert 0 < expected.mean() < 1


@pytest.mark.parametrize("times", [1.0, 0.7])
def test_real_eeg_is_masked_by_the_criteria_alone(shared: Path, times: float) -> None:
    run = partial(read_recording, shared / "eegmmidb_S001" / "S001R07.edf")
    info = run().info
    recipe = ChainSpec(config=ChainConfig(notch=(60,)), channels=info.channels, sfreq=160.0)
    spec = fit_artefacts(recipe, {"R07": run})
    assert spec.artefacts
    tight = {
        name: tuple(times * value for value in getattr(spec.artefacts, name))
        for name in ("amplitude", "step", "muscle")
    }
    spec = spec.model_copy(update={"artefacts": spec.artefacts.model_copy(update=tight)})
    samples = run().samples[: 60 * 160]
    samples[3000:4000], _ = inject(
        samples[3000:4000], info, "muscle", 2.0, np.random.default_rng(0)
    )
    x, index = through(Chain(spec, info), cut(samples, cycle([16])))
    expected = plainly_masked(spec, plainly_bad(spec, samples), index)
    np.testing.assert_array_equal(np.isnan(x), expected)
    assert 0.02 < expected.mean() < 0.98


def test_what_is_too_large_for_any_number_is_bad_and_no_error() -> None:
    samples = quiet(4)
    samples[500:, 3] = np.float32(3e38)
    found, index = masked(masked_spec(amplitude=1e-12), samples)
    assert found[index > 600, 3].all()


# --- what is masked -------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["amplitude", "step"])
def test_a_pop_masks_its_channel_for_as_long_as_it_holds(limit: str) -> None:
    samples = quiet()
    samples[AT, 2] += 2000  # one sample: the filters make it a few
    small = {limit: 100e-6}
    spec = masked_spec(amplitude=small.get("amplitude", 1.0), step=small.get("step", 1.0))
    found, index = masked(spec, samples)
    rows = index[found[:, 2]]
    assert not np.delete(found, 2, axis=1).any()
    assert AT <= rows[0] <= AT + 2
    assert np.array_equal(rows, np.arange(rows[0], rows[-1] + 1, 2))
    assert AT + HOLD * SFREQ - 2 <= rows[-1] <= AT + HOLD * SFREQ + 0.4 * SFREQ


def test_a_token_is_masked_if_any_of_its_samples_is_bad() -> None:
    samples = quiet()
    samples[AT:, 2] += 300
    found, index = masked(masked_spec(TOKENS, step=100e-6), samples)
    holds = (index >= AT) & (index - AT < SFREQ)
    np.testing.assert_array_equal(found[:, 2], holds)


def test_a_fast_burst_is_muscle_and_a_slow_wave_is_not() -> None:
    times = np.arange(round(12 * SFREQ)) / SFREQ
    burst = (times > 8) & (times < 9)
    for hertz, there in ((45.0, True), (8.0, False)):
        samples = quiet()
        samples[:, 3] += (burst * 40 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)
        found, index = masked(masked_spec(muscle=15e-6), samples)
        inside = (index > 8.2 * SFREQ) & (index < 9 * SFREQ)
        assert found[inside, 3].all() == there
        assert found[index < 8 * SFREQ].any() == False  # noqa: E712


def test_beside_channels_above_their_limit_less_is_enough() -> None:
    times = np.arange(round(12 * SFREQ)) / SFREQ
    wave = (times > 8) * 30 * np.sin(2 * np.pi * 45 * times)  # 21 uV rms
    for others in (0, 3):
        samples = quiet()
        samples[:, 4] += (0.75 * wave).astype(np.float32)
        samples[:, :others] += (1.5 * wave)[:, None].astype(np.float32)
        found, index = masked(masked_spec(muscle=20e-6), samples)
        assert found[index > 9 * SFREQ, 4].any() == (others > 0)
        assert not found[:, 7].any()


def test_what_moves_all_channels_a_little_masks_all() -> None:
    times = np.arange(round(12 * SFREQ)) / SFREQ
    samples = quiet()
    sway = 70 * np.sin(2 * np.pi * 2 * times) * ((times > 7) & (times < 9))
    samples[:, : N - 2] += (sway[:, None] * ([1, -1] * 3)).astype(np.float32)
    found, index = masked(masked_spec(amplitude=100e-6, field=0.5), samples)
    assert found[(index > 7.5 * SFREQ) & (index < 9 * SFREQ)].all()
    assert not found[index < 7 * SFREQ].any()


def test_one_bad_channel_alone_is_no_field() -> None:
    samples = quiet()
    samples[:, 1] += np.random.default_rng(1).normal(0, 3000, len(samples)).astype(np.float32)
    found, _ = masked(masked_spec(amplitude=100e-6, field=0.5), samples)
    assert found[:, 1].mean() > 0.9
    assert not np.delete(found, 1, axis=1).any()


@pytest.mark.parametrize("value", [0.0, 187500.0, 12.5])
def test_a_channel_that_stands_still_is_masked_until_it_lives_again(value: float) -> None:
    samples = quiet()
    block = 62  # samples in 0.25 s
    samples[AT : AT + 1000, 6] = value
    found, index = masked(masked_spec(flat=0.0), samples)
    known = AT + 2 * block
    assert found[(index >= known) & (index < AT + 1000), 6].all()
    assert not found[index >= AT + 1000 + 2 * block + HOLD * SFREQ, 6].any()
    assert not found[index < AT, 6].any()
    assert not np.delete(found, 6, axis=1).any()


def test_a_dead_electrodes_noise_is_flat_too() -> None:
    samples = quiet()
    noise = np.random.default_rng(2).normal(0, 0.1, 1500).astype(np.float32)
    samples[1500:, 0] = 900 + noise
    found, index = masked(masked_spec(flat=2e-6), samples)
    assert found[index > 1700, 0].all()
    assert not found[:, 1:].any()


def test_zeros_are_flat_whatever_the_limits() -> None:
    """Recordings of the EEG Motor Movement/Imagery set end in them."""
    samples = quiet()
    samples[-500:] = 0.0
    found, _ = masked(masked_spec(), samples)
    assert found[-100:].all()


def test_no_limits_and_no_recipe_mask_nothing() -> None:
    samples = restless(SFREQ, 0)
    recipe = spec_of(reference="recorded")  # as a recipe states it, before it was fitted
    off = spec_of(reference="recorded", artefacts=False)
    assert recipe.config.artefacts is not None
    assert off.config.artefacts is None
    for spec in (recipe, off.model_copy(update={"artefacts": limits(**TIGHT)})):
        assert np.isfinite(chain_of(spec).push(samples)[0]).all()


def test_the_tap_hears_the_filtered_signal_at_the_streams_rate() -> None:
    spec, samples = spec_of(1000.0), quiet(3, 1000.0)
    heard: list[Any] = []
    chain = Chain(spec, info_of(1000.0), tap=lambda x: heard.append(x.copy()))
    x, index = through(chain, cut(samples, [1, 7, 0, 250]))
    whole = np.concatenate(heard)
    assert whole.shape == (3000, N)
    assert whole.dtype == np.float64
    # What comes out has passed the anti-alias filter as well, 20 ms later.
    r = np.corrcoef(whole[index[100:-3] - 12, 0], x[100:-3, 0])[0, 1]
    assert r > 0.7


def test_limits_have_to_go_with_the_channels() -> None:
    with pytest.raises(ValidationError, match="not artefact limits for 3 channels"):
        ChainSpec(config=spec_of().config, channels=NAMES[:3], sfreq=SFREQ, artefacts=limits())
    uneven = limits().model_dump() | {"step": (1.0,)}
    with pytest.raises(ValidationError, match="differ in their number of channels"):
        ArtefactLimits(**uneven)
