"""Gradient artefact: told from EEG, and taken out so that the EEG stays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from offline.eeg.gradient import remove_gradient, volume_locked_share
from offline.eeg.recordings import Recording
from rtfeedback.chain import Chain, ChainConfig, ChainSpec
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float32, Float64
from rtfeedback.volume_locked import VolumeLocked
from tests.offline.made_up_eeg import SITES, brain, gains, gradients, recorded

RATE = 5000.0
TR = 1.0
VOLUMES = 24
LEAD_IN = 2.0  # s before the first volume
SECONDS = 28.0
CAP = SITES[4:12:2]
BANDS = ((2, 4), (4, 8), (8, 13), (13, 30))


@pytest.fixture(scope="module")
def eeg() -> Float64:
    return brain(RATE, SECONDS, CAP)


def scanned(
    eeg: Float64, *, tr: float = TR, begin: float = LEAD_IN, volumes: int = VOLUMES
) -> Float32:
    """Return the EEG in a scanner that begins after a while and stops."""
    times = np.arange(len(eeg)) / RATE
    wave = gradients(tr)(times - begin)
    wave[(times < begin) | (times >= begin + volumes * tr)] = 0
    return (eeg + wave[:, None] * gains(eeg.shape[1])).astype(np.float32)


def onsets(tr: float = TR, begin: float = LEAD_IN, volumes: int = VOLUMES) -> Float64:
    return np.asarray(begin + tr * np.arange(volumes, dtype=np.float64))


def share(samples: Float32 | Float64, at: Float64) -> float:
    found = volume_locked_share(recorded(samples, RATE, CAP), at)
    assert found is not None
    return found


def powers(x: Float64 | Float32) -> Float64:
    """Return each band's power in each channel, while the scanner ran."""
    f, density = signal.welch(slow(x)[3 * 250 : 25 * 250], 250, nperseg=500, axis=0)
    return np.array([density[(f >= low) & (f < high)].mean(axis=0) for low, high in BANDS])


def slow(x: Float64 | Float32) -> Float64:
    """Return what a chain would see: below 40 Hz, at 250 Hz."""
    sos = signal.butter(4, (1, 40), "bandpass", fs=RATE, output="sos")
    return np.asarray(signal.sosfiltfilt(sos, np.asarray(x, np.float64), axis=0)[::20])


def test_gradients_are_told_from_eeg(eeg: Float64) -> None:
    assert share(eeg, onsets()) < 0.08
    assert share(scanned(eeg), onsets()) > 0.95


def test_the_share_is_what_the_chain_s_tap_would_tell(eeg: Float64) -> None:
    """To the last bit: it stands in the store beside the daemon's own."""
    recording = recorded(scanned(eeg), RATE, CAP)
    spec = ChainSpec(config=ChainConfig(), channels=CAP, sfreq=RATE)
    heard: list[Float64] = []
    Chain(spec, recording.info, tap=heard.append).push(recording.samples)
    stamps = np.arange(len(eeg)) / RATE
    during = (stamps >= LEAD_IN) & (stamps < LEAD_IN + VOLUMES * TR)
    locked = VolumeLocked(TR, RATE, len(CAP))
    locked.push(heard[0][during], stamps[during])
    assert volume_locked_share(recording, onsets()) == locked.share
    assert volume_locked_share(recording, onsets(), spec) == locked.share


def test_of_few_volumes_nothing_is_said(eeg: Float64) -> None:
    recording = recorded(eeg, RATE, CAP)
    assert volume_locked_share(recording, onsets(volumes=7)) is None
    assert volume_locked_share(recording, np.full(30, np.nan)) is None


def test_onsets_that_are_unknown_hide_no_artefact(eeg: Float64) -> None:
    at = onsets()
    at[[0, 5, 6, -1]] = np.nan
    assert share(scanned(eeg), at) > 0.95


def removed(samples: Float32, at: Float64, *, tr: float = TR, window: int = 20) -> Float32:
    cleaned = samples.copy()
    remove_gradient(cleaned, RATE, at, tr=tr, window=window, name="run-01")
    return cleaned


def test_it_is_removed_and_the_eeg_stays(eeg: Float64) -> None:
    """Band power within 12 %: the mean of 20 volumes brings in 1/20 of it."""
    cleaned = removed(scanned(eeg), onsets())
    assert share(cleaned, onsets()) < 0.08
    ratio = powers(cleaned) / powers(eeg)
    assert 0.95 < np.median(ratio) < 1.1
    np.testing.assert_allclose(ratio.mean(axis=1), 1.05, atol=0.12)
    both = slow(cleaned), slow(eeg)
    r = [np.corrcoef(one, other)[0, 1] for one, other in zip(both[0].T, both[1].T, strict=True)]
    assert min(r) > 0.95


def test_the_first_and_last_volumes_are_as_clean_as_the_others(eeg: Float64) -> None:
    left = slow(removed(scanned(eeg), onsets()).astype(np.float64) - eeg)
    by_volume = left[500 : 500 + 250 * VOLUMES].reshape(VOLUMES, -1).std(axis=1)
    assert by_volume.max() < 2 * np.median(by_volume)
    assert np.median(by_volume) < 0.5 * slow(eeg).std()


def test_before_and_after_the_scan_nothing_changes(eeg: Float64) -> None:
    samples = scanned(eeg)
    cleaned = removed(samples, onsets())
    begin, end = round(LEAD_IN * RATE), round((LEAD_IN + VOLUMES * TR) * RATE)
    assert np.array_equal(cleaned[:begin], samples[:begin])
    assert np.array_equal(cleaned[end:], samples[end:])
    assert not np.array_equal(cleaned[begin:end], samples[begin:end])


def test_slow_eeg_keeps_its_course(eeg: Float64) -> None:
    times = np.arange(len(eeg)) / RATE
    drift = 300 * np.sin(2 * np.pi * 0.05 * times)[:, None] + 20_000
    left = removed(scanned(eeg + drift), onsets()).astype(np.float64) - eeg - drift
    sos = signal.butter(2, 0.5, fs=RATE, output="sos")
    assert np.abs(signal.sosfiltfilt(sos, left, axis=0)).max() < 15  # uV, of 300


@pytest.mark.parametrize("ppm", [40.0, -7.0])
def test_clocks_that_drift_and_markers_that_are_a_sample_off(eeg: Float64, ppm: float) -> None:
    tr = TR * (1 + ppm * 1e-6)
    jitter = np.random.default_rng(5).integers(-1, 2, VOLUMES)
    at = (np.round(onsets(tr, 2.00007) * RATE) + jitter) / RATE
    cleaned = removed(scanned(eeg, tr=tr, begin=2.00007), at)
    assert share(cleaned, at) < 0.1
    np.testing.assert_allclose((powers(cleaned) / powers(eeg)).mean(axis=1), 1.05, atol=0.15)


def test_a_tr_that_is_no_whole_number_of_samples(eeg: Float64) -> None:
    tr = 1.00013
    cleaned = removed(scanned(eeg, tr=tr), onsets(tr), tr=tr)
    assert share(cleaned, onsets(tr)) < 0.08


def test_volumes_that_were_scanned_before_the_first_one_are_corrected(eeg: Float64) -> None:
    """Dummy scans: the BOLD knows nothing of them."""
    samples = scanned(eeg)
    known = onsets()[3:-2]
    cleaned = samples.copy()
    grid = remove_gradient(cleaned, RATE, known, tr=TR, window=20, name="run-01")
    assert (grid.start, grid.n_volumes) == (LEAD_IN * RATE, VOLUMES)
    assert np.array_equal(cleaned, removed(samples, onsets()))


def test_volumes_without_an_onset_are_corrected(eeg: Float64) -> None:
    at, samples = onsets(), scanned(eeg)
    at[[0, 8, 9, 20, -1]] = np.nan
    assert np.array_equal(removed(samples, at), removed(samples, onsets()))


def test_short_runs_have_templates_of_what_there_is(eeg: Float64) -> None:
    samples = scanned(eeg, volumes=9)
    cleaned = removed(samples, onsets(volumes=9))
    assert share(samples, onsets(volumes=9)) > 0.9
    assert np.abs(slow(cleaned - eeg)).max() < 100  # of some thousands


def test_what_is_no_tr_removes_nothing(eeg: Float64) -> None:
    samples = scanned(eeg)
    with pytest.raises(DatasetError, match=r"run-01.* every 1 s.*TR is 1\.5 s"):
        remove_gradient(samples, RATE, onsets(), tr=1.5, window=20, name="run-01")
    few = np.where(np.arange(VOLUMES) < 5, onsets(), np.nan)
    with pytest.raises(DatasetError, match="5 volumes have a known onset"):
        remove_gradient(samples, RATE, few, tr=TR, window=20, name="run-01")
    assert np.array_equal(samples, scanned(eeg))


def test_a_recording_that_begins_and_ends_within_volumes(eeg: Float64) -> None:
    """Whole volumes are corrected; the pieces at either end stay, to be masked."""
    cut = round(2.4 * RATE)  # 0.4 s into the first volume
    samples = scanned(eeg)[cut : -round(2.3 * RATE)]
    at = onsets() - cut / RATE
    cleaned = removed(samples, at)
    whole = slice(round(0.6 * RATE), round(0.6 * RATE) + 22 * 5000)
    assert np.abs(slow(cleaned[whole] - eeg[cut:][whole])[100:-100]).max() < 40
    assert np.array_equal(cleaned[: whole.start], samples[: whole.start])


def test_a_recording_is_not_changed_by_the_looking(eeg: Float64) -> None:
    recording: Recording = recorded(scanned(eeg), RATE, CAP)
    before = recording.samples.copy()
    volume_locked_share(recording, onsets())
    assert np.array_equal(recording.samples, before)
