"""EEG whose truth is known: a brain with a field, and what a scanner and a heart add."""

from __future__ import annotations

from collections.abc import Callable

import mne
import numpy as np
from scipy import signal

from offline.eeg.recordings import Recording
from rtfeedback.signals import Float32, Float64, Marker, StreamInfo

SITES = (
    *("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7"),
    *("C3", "Cz", "C4", "T8", "P3", "Pz", "P4", "Oz"),
)
BRAIN = 250.0  # Hz: at which it is made up
SOURCES = 80
REACH = 0.8  # rad over which a source is seen


def brain(
    sfreq: float, seconds: float, sites: tuple[str, ...] = SITES, seed: int = 0
) -> Float64:
    """Return pink noise and alpha of sources under a cap, some 15 uV, (n_times, n_sites)."""
    rng = np.random.default_rng(seed)
    n = round(seconds * BRAIN)
    spectrum = np.fft.rfft(rng.normal(size=(n, SOURCES)), axis=0)
    f = np.fft.rfftfreq(n, 1 / BRAIN)
    shape = np.where(f < 45, 1 / np.maximum(f, 1), 0) + 0.15 * np.exp(
        -0.5 * ((f - 10) / 1) ** 2
    )
    courses = np.fft.irfft(spectrum * shape[:, None], n=n, axis=0)
    x = courses @ _field(sites, rng)
    x = signal.resample_poly(x, round(sfreq / BRAIN), 1, padtype="line") if sfreq > BRAIN else x
    return np.asarray(15 * x / x.std() + rng.normal(0, 0.7, x.shape))


def _field(sites: tuple[str, ...], rng: np.random.Generator) -> Float64:
    montage = mne.channels.make_standard_montage("colin27_1005").get_positions()["ch_pos"]
    places = np.array([montage[site] for site in sites]) - [0, 0, 0.02]
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    sources = rng.normal(size=(SOURCES, 3))
    sources /= np.linalg.norm(sources, axis=1, keepdims=True)
    angles = np.arccos(np.clip(sources @ places.T, -1, 1))
    return np.asarray(np.exp(-((angles / REACH) ** 2)) * rng.choice([-1, 1], (SOURCES, 1)))


def gradients(tr: float, slices: int = 20, seed: int = 1) -> Callable[[Float64], Float64]:
    """Return millivolts that repeat every TR, as a function of seconds: slices' harmonics.

    Up to 900 Hz, each with the volume's own beside it; largest below 100 Hz.
    """
    rng = np.random.default_rng(seed)
    first = slices / tr
    slice_harmonics = np.arange(first, 900, first)
    f = np.concatenate([slice_harmonics + shift / tr for shift in (-1, 0, 1)])
    sizes = 3000 / (1 + f / 100) * rng.uniform(0.3, 1, len(f)) / 10
    phases = rng.uniform(0, 2 * np.pi, len(f))

    def wave(times: Float64) -> Float64:
        total = np.zeros(len(times))
        for frequency, size, phase in zip(f, sizes, phases, strict=True):
            total += size * np.cos(2 * np.pi * frequency * times + phase)
        return total

    return wave


def gains(n: int, seed: int = 2) -> Float64:
    """Return how much of the scanner each channel's loop sees."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.uniform(0.4, 1.5, n) * rng.choice([-1, 1], n))


def beats(seconds: float, seed: int = 3) -> Float64:
    """Return R peaks some 0.9 s apart."""
    rng = np.random.default_rng(seed)
    times = 0.4 + np.cumsum(rng.uniform(0.8, 1.0, round(2 * seconds)))
    return times[times < seconds - 0.1]


def ecg(times: Float64, peaks: Float64) -> Float64:
    """Return an ECG of 1 mV, with its T waves, in microvolts."""
    lags = times[:, None] - peaks
    return np.asarray(
        (
            1000 * np.exp(-0.5 * (lags / 0.01) ** 2)
            + 200 * np.exp(-0.5 * ((lags - 0.3) / 0.04) ** 2)
        ).sum(axis=1)
    )


def pulse(times: Float64, peaks: Float64, seed: int = 4) -> Float64:
    """Return what each beat moves, 80 uV some 0.2 s later, no two beats quite the same."""
    rng = np.random.default_rng(seed)
    lags = times[:, None] - peaks - 0.2
    sizes = 80 * rng.uniform(0.8, 1.2, len(peaks))
    widths = 0.06 * rng.uniform(0.9, 1.1, len(peaks))
    return np.asarray(
        (sizes * np.exp(-0.5 * (lags / widths) ** 2) * np.cos(lags / 0.05)).sum(axis=1)
    )


def recorded(
    samples: Float64 | Float32,
    sfreq: float,
    channels: tuple[str, ...] = SITES,
    kinds: tuple[str, ...] = (),
    markers: tuple[Marker, ...] = (),
) -> Recording:
    """Return microvolts as a recording."""
    n = len(channels)
    info = StreamInfo("made-up", sfreq, channels, kinds or ("eeg",) * n, ("microvolts",) * n)
    return Recording(info, np.ascontiguousarray(samples, np.float32), markers)
