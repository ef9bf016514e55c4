"""Pulse artefact: heartbeats are found, and what they move goes while the EEG stays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from offline.eeg.pulse import find_beats, remove_pulse
from offline.eeg.recordings import Recording
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float32, Float64, Marker
from tests.offline.made_up_eeg import SITES, beats, brain, ecg, gains, pulse, recorded

RATE = 250.0
SECONDS = 60.0
CAP = SITES[:6]
TIMES = np.arange(round(SECONDS * RATE)) / RATE
PEAKS = beats(SECONDS)


@pytest.fixture(scope="module")
def eeg() -> Float64:
    return brain(RATE, SECONDS, CAP)


def in_field(eeg: Float64, markers: tuple[Marker, ...] = ()) -> Recording:
    """Return EEG that each heartbeat moves, beside its ECG."""
    heart = ecg(TIMES, PEAKS) + np.random.default_rng(6).normal(0, 20, len(TIMES))
    moved = eeg + pulse(TIMES, PEAKS)[:, None] * gains(len(CAP))
    kinds = ("eeg",) * len(CAP) + ("ecg",)
    return recorded(np.c_[moved, heart], RATE, (*CAP, "ECG"), kinds, markers)


def locked_to_beats(x: Float64 | Float32) -> Float64:
    """Return the rms of each channel's mean over heartbeats, in microvolts."""
    rows = np.round(PEAKS[2:-2] * RATE).astype(int)[:, None] + np.arange(round(0.6 * RATE))
    mean = x[rows].mean(axis=0)
    return np.asarray((mean - mean.mean(axis=0)).std(axis=0))


def power(x: Float64, low: float, high: float) -> float:
    f, density = signal.welch(x, RATE, nperseg=500, axis=0)
    return float(density[(f >= low) & (f < high)].mean())


def test_each_heartbeat_is_found_in_the_ecg(eeg: Float64) -> None:
    found = find_beats(in_field(eeg), name="run-01")
    nearest = np.abs(found[:, None] - PEAKS).min(axis=1)
    assert nearest.max() < 0.02
    assert len(PEAKS) - 4 <= len(found) <= len(PEAKS)


def test_markers_of_heartbeats_are_taken_at_their_word(eeg: Float64) -> None:
    markers = tuple(Marker(float(peak), "R") for peak in PEAKS)
    recording = in_field(eeg, (*markers, Marker(50.0, "S 99")))
    assert np.array_equal(find_beats(recording, ("R",), name="run-01"), PEAKS)


def test_the_artefact_goes_and_the_eeg_stays(eeg: Float64) -> None:
    """Locked to the beats a tenth is left; power of 8 to 30 Hz within 10 %."""
    recording = in_field(eeg)
    before = recording.samples[:, :6].astype(np.float64)
    remove_pulse(recording, find_beats(recording, name="run-01"), components=4)
    after = recording.samples[:, :6].astype(np.float64)
    assert np.all(locked_to_beats(after) < 0.15 * locked_to_beats(before))
    assert power(before, 2, 8) > 1.5 * power(eeg, 2, 8)
    assert 0.9 < power(after, 8, 30) / power(eeg, 8, 30) < 1.1


def test_the_ecg_and_slow_eeg_stay_as_they_are(eeg: Float64) -> None:
    drift = 500 * np.sin(2 * np.pi * 0.03 * TIMES)[:, None] - 8000
    recording, drifting = in_field(eeg), in_field(eeg + drift)
    heart = drifting.samples[:, 6].copy()
    peaks = find_beats(drifting, name="run-01")
    for each in (recording, drifting):
        remove_pulse(each, peaks, components=4)
    assert np.array_equal(drifting.samples[:, 6], heart)
    apart = drifting.samples[:, :6] - drift - recording.samples[:, :6]
    assert np.abs(apart[500:-500]).max() < 5  # uV, of 500 and of 8000


def test_without_ecg_or_markers_it_is_told_what_to_do(eeg: Float64) -> None:
    with pytest.raises(DatasetError, match=r"run-01.*ECG channel.*beats.*pulse = 'keep'"):
        find_beats(recorded(eeg, RATE, CAP), name="run-01")


def test_what_is_no_heart_is_refused(eeg: Float64) -> None:
    markers = tuple(Marker(at, "R") for at in np.arange(0.0, 58.0, 3.0).tolist())
    with pytest.raises(DatasetError, match=r"No regular heartbeat.*20 beats.*20 a minute"):
        find_beats(in_field(eeg, markers), ("R",), name="run-01")
    with pytest.raises(DatasetError, match="0 beats"):
        find_beats(in_field(eeg), ("R",), name="run-01")


def test_beats_at_the_very_ends_are_no_matter(eeg: Float64) -> None:
    recording = in_field(eeg)
    remove_pulse(recording, np.r_[0.0, PEAKS, SECONDS], components=4)
    assert np.isfinite(recording.samples).all()
    left = locked_to_beats(recording.samples[:, :6].astype(np.float64))
    assert left.max() < 0.15 * locked_to_beats(in_field(eeg).samples[:, :6]).max()
