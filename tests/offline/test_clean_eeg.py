"""A run's EEG before the chain: clean EEG stays, what is not is mended or refused, and told."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from offline.eeg.clean_eeg import Cleaned, EEGConfig, clean_recording
from offline.eeg.recordings import Recording, read_recording
from rtfeedback.config import load_config
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.signals import Float64
from tests.offline.made_up_eeg import (
    SITES,
    beats,
    brain,
    ecg,
    gains,
    gradients,
    pulse,
    recorded,
)

RATE = 250.0
TR = 2.0
SECONDS = 60.0
ONSETS = np.arange(2.0, 58.0, TR)
FAST = 5000.0
FAST_ONSETS = np.arange(1.0, 25.0)


@pytest.fixture(scope="module")
def eeg() -> Float64:
    return brain(RATE, SECONDS)


@pytest.fixture(scope="module")
def in_scanner() -> Recording:
    """Return 26 s at 5 kHz of 8 channels and an ECG, as they come out of a scanner."""
    times = np.arange(round(26 * FAST)) / FAST
    peaks = beats(26.0)
    heart = ecg(times, peaks)
    moved = brain(FAST, 26.0, SITES[:8]) + pulse(times, peaks)[:, None] * gains(8)
    wave = gradients(1.0)(times)
    wave[(times < 1) | (times >= 25)] = 0
    x = np.c_[moved, heart] + wave[:, None] * gains(9)
    return recorded(x, FAST, (*SITES[:8], "ECG"), ("eeg",) * 8 + ("ecg",))


def clean(
    recording: Recording, onsets: Float64 = ONSETS, tr: float = TR, **config: object
) -> Cleaned:
    settings = EEGConfig.model_validate(config)
    return clean_recording(recording, settings, onsets, tr=tr, name="sub-01_run-01")


def with_bad(eeg: Float64, *columns: int) -> Recording:
    x = eeg.copy()
    x[:, columns] *= 20
    return recorded(x, RATE)


# ---------------------------------------------------------------------- what is left alone


def test_clean_eeg_comes_through_untouched(eeg: Float64) -> None:
    recording = recorded(eeg, RATE)
    cleaned = clean(recording)
    assert cleaned.recording is recording
    assert cleaned.volume_locked is not None
    assert cleaned.volume_locked < 0.1
    assert cleaned.volume_locked == cleaned.volume_locked_before
    assert (cleaned.bad, cleaned.interpolated, cleaned.upstream, cleaned.notes) == ((),) * 4


def test_simulated_runs_come_through_untouched(bids: Path) -> None:
    files = sorted(bids.glob("sub-*/eeg/*.vhdr"))
    for file in files:
        recording = read_recording(file)
        volumes = [marker.stamp for marker in recording.markers if marker.label == "R128"]
        cleaned = clean(recording, np.array(volumes))
        assert cleaned.recording is recording
        assert not cleaned.bad
    assert len(files) == 4


def test_real_eeg_comes_through_untouched(shared: Path) -> None:
    recording = read_recording(shared / "eegmmidb_S001" / "S001R01.edf")
    assert clean(recording).recording is recording


def test_too_few_volumes_are_told(eeg: Float64) -> None:
    cleaned = clean(recorded(eeg, RATE), ONSETS[:5])
    assert cleaned.volume_locked is None
    assert "too few volumes" in cleaned.notes[0]


# ---------------------------------------------------------------------------- bad channels


def test_a_bad_channel_is_interpolated_and_told(eeg: Float64) -> None:
    recording = with_bad(eeg, 9)
    before = recording.samples.copy()
    cleaned = clean(recording)
    assert cleaned.bad == cleaned.interpolated == ("Cz",)
    assert np.array_equal(recording.samples, before)
    changed = np.any(cleaned.recording.samples != before, axis=0)
    assert [*np.flatnonzero(changed)] == [9]
    assert np.corrcoef(cleaned.recording.samples[:, 9], eeg[:, 9])[0, 1] > 0.9
    assert "Cz (" in cleaned.notes[0]
    assert "a live stream cannot be interpolated" in cleaned.notes[0]
    assert not cleaned.upstream  # what is done to one run is no part of the stream's past


def test_a_bad_channel_is_refused_or_kept_as_asked(eeg: Float64) -> None:
    recording = with_bad(eeg, 9)
    with pytest.raises(DatasetError, match=r"sub-01_run-01 has bad channels.*Cz \(.*\[eeg\]"):
        clean(recording, bad="refuse")
    kept = clean(recording, bad="keep")
    assert kept.recording is recording
    assert (kept.bad, kept.interpolated) == (("Cz",), ())
    assert "kept: Cz" in kept.notes[0]


def test_known_and_stated_bad_channels_need_not_be_found(eeg: Float64) -> None:
    recording = recorded(eeg, RATE)
    cleaned = clean(recording, known_bad=["FP1", "T99"])
    assert cleaned.interpolated == ("Fp1",)
    assert "Fp1 (known as bad)" in cleaned.notes[0]
    stated = clean_recording(
        recording, EEGConfig(), ONSETS, tr=TR, name="run", stated_bad=("Pz",)
    )
    assert stated.interpolated == ("Pz",)


def test_a_run_with_too_many_bad_channels_is_refused(eeg: Float64) -> None:
    recording = with_bad(eeg, 0, 5, 9)
    with pytest.raises(DatasetError, match=r"Too many channels.*3 of 16: Fp1.*15%"):
        clean(recording)
    assert len(clean(recording, most_bad=0.25).interpolated) == 3


def test_a_bad_channel_without_a_site_is_refused_or_kept(eeg: Float64) -> None:
    names = ("F3-C3", *SITES[1:])
    x = eeg.copy()
    x[:, 0] = 0.0
    recording = recorded(x, RATE, names)
    with pytest.raises(DatasetError, match=r"no site on the head.*F3-C3 .*Leave F3-C3 out"):
        clean(recording)
    assert clean(recording, bad="keep").recording is recording


# ---------------------------------------------------------------------- gradient and pulse


def test_gradient_artefact_is_refused_with_the_way_out(in_scanner: Recording) -> None:
    with pytest.raises(DatasetError, match=r"holds gradient artefact.*gradient = 'remove'"):
        clean(in_scanner, FAST_ONSETS, 1.0)


def test_gradient_artefact_is_kept_as_asked(in_scanner: Recording) -> None:
    cleaned = clean(in_scanner, FAST_ONSETS, 1.0, gradient="keep")
    assert cleaned.recording is in_scanner
    assert cleaned.volume_locked is not None
    assert cleaned.volume_locked > 0.9
    assert "gradient artefact, kept as asked" in cleaned.notes[0]


def test_gradient_and_pulse_artefact_are_removed_and_told(in_scanner: Recording) -> None:
    before = in_scanner.samples.copy()
    cleaned = clean(in_scanner, FAST_ONSETS, 1.0, gradient="remove", rate=250.0, pulse="remove")
    assert np.array_equal(in_scanner.samples, before)
    assert cleaned.volume_locked_before is not None
    assert cleaned.volume_locked is not None
    assert cleaned.volume_locked_before > 0.9 > 0.2 > cleaned.volume_locked
    assert cleaned.recording.info.sfreq == 250.0
    assert cleaned.recording.samples.shape == (6500, 9)
    mne = version("mne")
    assert cleaned.upstream == (
        f"gradient artefact removed (mne {mne} GradientRemover, templates of up to 20 volumes)",
        "resampled to 250 Hz",
        f"pulse artefact removed (mne {mne} apply_pca_obs, 4 components)",
    )
    assert len(cleaned.notes) == 3


def test_what_was_corrected_before_is_not_corrected_again(eeg: Float64) -> None:
    recording = recorded(eeg, RATE)
    cleaned = clean(recording, gradient="remove")
    assert cleaned.recording is recording
    assert not cleaned.upstream


@pytest.mark.parametrize("spread", [0.0, 2e-3])
def test_an_artefact_that_no_template_fits_is_refused(spread: float) -> None:
    """A scanner that is unsteady by 2 ms: the mean over volumes goes, the rest stays."""
    times, wave = np.arange(round(22 * FAST)) / FAST, gradients(1.0)
    starts = 1 + np.arange(20) + np.random.default_rng(9).uniform(-spread, spread, 20)
    volume = np.clip(np.searchsorted(starts, times) - 1, 0, None)
    artefact = wave(times - starts[volume])
    artefact[(times < 1) | (times >= 21)] = 0
    eeg = brain(FAST, 22.0, SITES[:4])
    recording = recorded(eeg + artefact[:, None] * gains(4), FAST, SITES[:4])
    onsets = np.arange(1.0, 21.0)
    if not spread:
        assert clean(recording, onsets, 1.0, gradient="remove").upstream
        return
    with pytest.raises(DatasetError, match=r"could not be removed.*looks like the artefact"):
        clean(recording, onsets, 1.0, gradient="remove")


def test_a_bad_channel_is_found_once_the_artefact_is_out(in_scanner: Recording) -> None:
    samples = in_scanner.samples.copy()
    samples[:, 3] = np.random.default_rng(8).normal(0, 400, len(samples))
    recording = Recording(in_scanner.info, samples, ())
    cleaned = clean(recording, FAST_ONSETS, 1.0, gradient="remove")
    assert cleaned.interpolated == (SITES[3],)


@pytest.mark.parametrize("rate", [500.0, 125.01, 97.31])
def test_a_rate_that_cannot_be_is_refused(eeg: Float64, rate: float) -> None:
    with pytest.raises(DatasetError, match="cannot be brought to"):
        clean(recorded(eeg, RATE), rate=rate)


def test_a_lower_rate_keeps_times_and_what_is_below_it(eeg: Float64) -> None:
    cleaned = clean(recorded(eeg, RATE), rate=100.0)
    slow, n = cleaned.recording.samples, 6000
    assert slow.shape == (n, len(SITES))
    assert cleaned.upstream == ("resampled to 100 Hz",)
    there = eeg[::5][:3000]  # each fifth of the one is each second of the other
    r = np.corrcoef(slow[::2][100:-100, 4], there[100:-100, 4])[0, 1]
    assert r > 0.98


# --------------------------------------------------------------------------------- config


def test_settings_come_from_toml(tmp_path: Path) -> None:
    file = tmp_path / "eeg.toml"
    file.write_text('bad = "keep"\nknown_bad = ["fp1"]\n[limits]\ncorrelation = 0.3\n')
    config = load_config(file, EEGConfig)
    assert (config.bad, config.known_bad, config.limits.correlation) == ("keep", ("Fp1",), 0.3)


@pytest.mark.parametrize("line", ['bad = "mend"', "template = 5", "most_bad = 2", "flat = 1"])
def test_settings_that_are_none_are_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "eeg.toml"
    file.write_text(line)
    with pytest.raises(ConfigError, match=line.split()[0]):
        load_config(file, EEGConfig)
