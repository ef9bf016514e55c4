"""Artefacts that are put into EEG: where, how large, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from offline.injection import KINDS, Kind, inject
from rtfeedback.errors import ChannelError
from rtfeedback.signals import Float32, Float64, StreamInfo

NAMES = (
    *("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8"),
    *("P7", "P3", "Pz", "P4", "P8", "O1", "O2", "VEOG", "ECG"),
)
EEG = 19
KIND = ("eeg",) * EEG + ("eog", "ecg")
SFREQ = 250.0

each_kind = pytest.mark.parametrize("kind", KINDS)


def info_of(unit: str = "uV", sfreq: float = SFREQ) -> StreamInfo:
    return StreamInfo("EEG", sfreq, NAMES, KIND, (unit,) * len(NAMES))


def recorded(seconds: float = 30.0, sfreq: float = SFREQ) -> Float32:
    rng = np.random.default_rng(5)
    return rng.normal(0, 10, (round(seconds * sfreq), len(NAMES))).astype(np.float32)


def added(kind: Kind, seed: int, **how: str | float) -> Float64:
    x = recorded()
    y, _ = inject(x, info_of(), kind, 10.0, np.random.default_rng(seed), **how)  # type: ignore[arg-type]
    return y.astype(np.float64) - x


@each_kind
def test_the_same_seed_gives_the_same_and_another_another(kind: Kind) -> None:
    x = recorded()
    a, where = inject(x, info_of(), kind, 10.0, np.random.default_rng(1))
    b, again = inject(x, info_of(), kind, 10.0, np.random.default_rng(1))
    c, _ = inject(x, info_of(), kind, 10.0, np.random.default_rng(2))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(where, again)
    assert not np.array_equal(a, c)


@each_kind
def test_nothing_changes_before_the_onset_nor_in_what_was_given(kind: Kind) -> None:
    x = recorded()
    kept = x.copy()
    y, affected = inject(x, info_of(), kind, 10.0, np.random.default_rng(3))
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(y[:2500], x[:2500])
    assert not affected[:2500].any()
    assert affected.any()
    assert y.dtype == np.float32
    assert y.shape == affected.shape == x.shape


@each_kind
def test_only_eeg_is_touched_and_eog_by_a_blink(kind: Kind) -> None:
    for seed in range(5):
        change = added(kind, seed)
        assert not change[:, -1].any()
        assert change[:, -2].any() == (kind == "blink")


@each_kind
def test_volts_and_microvolts_are_the_same_artefact(kind: Kind) -> None:
    x = recorded()
    a, _ = inject(x, info_of(), kind, 10.0, np.random.default_rng(4))
    volts = (x.astype(np.float64) * 1e-6).astype(np.float32)
    b, _ = inject(volts, info_of("V"), kind, 10.0, np.random.default_rng(4))
    np.testing.assert_allclose(b * 1e6, a, rtol=1e-4, atol=1e-3)


@each_kind
@pytest.mark.parametrize("sfreq", [160.0, 250.0, 5000.0])
def test_any_rate_and_any_place_will_do(kind: Kind, sfreq: float) -> None:
    x = recorded(2.0, sfreq)
    for onset in (0.0, 1.0, 1.999, 5.0):
        y, affected = inject(x, info_of(sfreq=sfreq), kind, onset, np.random.default_rng(6))
        assert y.shape == affected.shape == x.shape
        assert np.isfinite(y).all()


def test_a_pop_is_a_step_in_one_channel_that_goes_back() -> None:
    for seed in range(10):
        change = added("pop", seed)
        (channel,) = np.flatnonzero(change.any(axis=0))
        sizes = np.abs(change[2500:, channel])
        assert 100 <= sizes[0] <= 500
        assert np.all(np.diff(sizes[sizes > 1e-3]) <= 1e-3)
        assert sizes[-1] < 1


def test_a_blink_is_frontal_and_positive() -> None:
    for seed in range(5):
        peaks = added("blink", seed).max(axis=0)[:EEG]
        fp, o = peaks[:2].min(), peaks[-2:].max()
        assert 75 <= fp <= 260
        assert o < 0.1 * fp
        assert peaks[4] < peaks[0]


def test_a_movement_is_slow_and_in_half_of_the_channels_or_more() -> None:
    change = added("movement", 1)
    assert np.sum(change.any(axis=0)) >= EEG / 2
    steps = np.abs(np.diff(change, axis=0)).max()
    assert steps < 0.2 * np.abs(change).max()


def test_muscle_is_fast_and_beside_each_other() -> None:
    for seed in range(5):
        change = added("muscle", seed)
        channels = np.flatnonzero(change.any(axis=0))
        assert 6 <= len(channels) <= 12
        spectrum = np.abs(np.fft.rfft(change[:, channels], axis=0)) ** 2
        f = np.fft.rfftfreq(len(change), 1 / SFREQ)
        assert spectrum[f > 15].sum() > 0.9 * spectrum.sum()
        loudest = change[:, channels].std(axis=0).max()
        assert loudest > 3


def test_a_flat_channel_holds_one_value() -> None:
    x = recorded()
    for seed in range(10):
        y, affected = inject(x, info_of(), "flat", 10.0, np.random.default_rng(seed))
        (channel,) = np.flatnonzero(affected.any(axis=0))
        held = y[affected[:, channel], channel]
        assert np.ptp(held) == 0
        assert 3 * SFREQ <= len(held) <= 8 * SFREQ


@pytest.mark.parametrize("kind", ["pop", "movement", "muscle", "flat"])
def test_it_goes_where_it_is_told(kind: Kind) -> None:
    for seed in range(5):
        change = added(kind, seed, channel="c4")
        assert change[:, NAMES.index("C4")].any()


def test_it_lasts_as_long_as_it_is_told() -> None:
    changed = np.flatnonzero(added("muscle", 1, duration=4.0).any(axis=1))
    assert np.ptp(changed) / SFREQ == pytest.approx(4.0, abs=0.1)


def test_a_channel_that_is_not_there_is_refused() -> None:
    with pytest.raises(ChannelError, match="no EEG channel VEOG to put an artefact into"):
        added("pop", 1, channel="VEOG")


def test_channels_without_a_known_site_are_beside_each_other_in_their_order() -> None:
    names = tuple(f"E{i + 100}" for i in range(20))
    info = StreamInfo("EEG", SFREQ, names, ("eeg",) * 20, ("uV",) * 20)
    x = np.zeros((5000, 20), dtype=np.float32)
    y, _ = inject(x, info, "muscle", 5.0, np.random.default_rng(0), channel="E105")
    channels = np.flatnonzero(y.any(axis=0))
    assert np.ptp(channels) == len(channels) - 1
    assert 5 in channels
