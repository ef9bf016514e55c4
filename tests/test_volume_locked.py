"""Raw in-scanner EEG is told from EEG by what repeats with the volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from offline.eeg.recordings import read_recording
from rtfeedback.chain import Chain, ChainConfig, ChainSpec
from rtfeedback.signals import Float32, Float64, StreamInfo
from rtfeedback.volume_locked import ENOUGH, VolumeLocked

NAMES = ("F3", "C3", "Cz", "O1")


def info_of(sfreq: float) -> StreamInfo:
    return StreamInfo("EEG", sfreq, NAMES, ("eeg",) * 4, ("uV",) * 4)


def brain(sfreq: float, seconds: float, seed: int = 0) -> Float64:
    """Return pink noise of some 15 uV with an alpha rhythm that is stronger than it."""
    rng = np.random.default_rng(seed)
    n = round(seconds * sfreq)
    spectrum = np.fft.rfft(rng.normal(size=(n, 4)), axis=0)
    f = np.fft.rfftfreq(n, 1 / sfreq)
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(f, 1))[:, None], n=n, axis=0)
    sos = signal.butter(2, (9, 11), "bandpass", fs=sfreq, output="sos")
    alpha = signal.sosfilt(sos, rng.normal(size=(n, 4)), axis=0)
    return np.asarray(12 * pink / pink.std() + 20 * alpha / alpha.std())


def gradients(sfreq: float, seconds: float, tr: float, drift: float = 0.0) -> Float64:
    """Return what 30 slices a volume induce: millivolts, as an amplifier lets it through."""
    fine = 5000.0
    times = np.arange(round(seconds * fine)) / fine + 7e-5  # no slice begins on a sample
    in_slice = np.mod(times * (1 + drift), tr / 30)
    readout = np.sin(2 * np.pi * 700 * in_slice) * (in_slice > 0.02)
    switch = np.exp(-in_slice / 0.002) * np.cos(2 * np.pi * 90 * in_slice)
    of_volume = 1 + 0.5 * np.cos(2 * np.pi * times * (1 + drift) / tr)
    wave = 4000 * readout + 8000 * switch * of_volume
    if sfreq < fine:
        sos = signal.cheby2(8, 60, sfreq / 2, "lowpass", fs=fine, output="sos")
        wave = signal.sosfiltfilt(sos, wave)[:: round(fine / sfreq)]
    return np.asarray(wave[:, None] * np.array([1.0, -0.7, 0.4, 1.3]))


def share(
    samples: Float64 | Float32,
    sfreq: float,
    tr: float,
    *,
    chunk: int = 97,
    info: StreamInfo | None = None,
    stamps: Float64 | None = None,
) -> float | None:
    info = info or info_of(sfreq)
    spec = ChainSpec(config=ChainConfig(), channels=info.channels, sfreq=sfreq)
    heard: list[Float64] = []
    chain = Chain(spec, info, tap=heard.append)
    locked = VolumeLocked(tr, sfreq, len(info.channels))
    wire = samples.astype(np.float32)
    if stamps is None:
        stamps = 417123.4 + np.arange(len(wire)) / sfreq
    for first in range(0, len(wire), chunk):
        chain.push(wire[first : first + chunk])
        locked.push(heard[-1], stamps[first : first + chunk])
    return locked.share


@pytest.mark.parametrize("sfreq", [250.0, 1000.0, 5000.0])
@pytest.mark.parametrize("tr", [1.0, 2.0])
def test_gradient_artefacts_are_nearly_all_there_is(sfreq: float, tr: float) -> None:
    seconds = 12 * tr
    found = share(brain(sfreq, seconds) + gradients(sfreq, seconds, tr), sfreq, tr)
    assert found is not None
    assert found > 0.85  # one volume of the twelve is the filters' start


def test_a_clock_that_drifts_by_50_ppm_hides_nothing() -> None:
    """Over a minute and a half: the artefact moves by more than a sample."""
    x = brain(250, 90) + gradients(250, 90, 2.0, drift=50e-6)
    found = share(x, 250, 2.0)
    assert found is not None
    assert found > 0.9


@pytest.mark.parametrize("tr", [0.8, 1.0, 2.0, 2.16])
def test_alpha_and_mains_do_not_repeat_with_the_volumes(tr: float) -> None:
    for mains in (50.0, 50.02):
        x = brain(250, 90)
        hum = 200 * np.sin(2 * np.pi * mains * np.arange(len(x)) / 250)
        found = share(x + hum[:, None], 250, tr)
        assert found is not None
        assert found < 0.08


def test_it_says_nothing_before_enough_volumes() -> None:
    assert share(brain(250, 2 * ENOUGH - 0.1), 250, 2.0) is None
    assert share(brain(250, 2 * ENOUGH + 0.1), 250, 2.0) is not None


@pytest.mark.parametrize("chunk", [1, 50, 100000])
def test_chunks_are_no_difference(chunk: int) -> None:
    x = brain(250, 20) + 0.1 * gradients(250, 20, 1.0)
    expected, got = share(x, 250, 1.0), share(x, 250, 1.0, chunk=chunk)
    assert expected is not None
    assert got is not None
    assert 0.2 < expected < 0.99
    assert got == pytest.approx(expected, abs=1e-9)


def test_a_volume_that_a_gap_falls_into_is_left_out() -> None:
    x = brain(250, 60) + gradients(250, 60, 2.0)
    stamps = np.arange(len(x)) / 250
    kept = (stamps < 21.3) | (stamps > 35.7)
    locked = VolumeLocked(2.0, 250, 4)
    locked.push(x[kept], stamps[kept])
    assert locked.share is not None
    assert locked.share > 0.9


def test_a_clock_that_is_set_back_begins_anew() -> None:
    x = gradients(250, 40, 2.0)
    stamps = np.arange(len(x)) / 250
    locked = VolumeLocked(2.0, 250, 4)
    locked.push(x, stamps + 1000)
    assert locked.share is not None
    locked.push(x[:500], stamps[:500])
    assert locked.share is None
    locked.push(x[500:], stamps[500:])
    assert locked.share is not None


def test_a_dead_stream_repeats_nothing() -> None:
    locked = VolumeLocked(1.0, 250, 4)
    locked.push(np.zeros((5000, 4)), np.arange(5000) / 250)
    assert locked.share == 0.0


@pytest.mark.parametrize("run", [1, 2, 7])
def test_real_eeg_outside_the_scanner_comes_near_zero(shared: Path, run: int) -> None:
    recording = read_recording(shared / "eegmmidb_S001" / f"S001R{run:02d}.edf")
    x = recording.samples[: 60 * 160]
    for tr in (1.0, 2.0):
        found = share(x, 160.0, tr, info=recording.info)
        assert found is not None
        assert found < 0.05
