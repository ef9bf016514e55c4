"""EEG of rhythms, background, blinks and noise, mixed by the head model's leadfields.

It knows nothing of BOLD or of the task: how strong each rhythm is, it is told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from offline.simulation.headmodel import EYES, HANDS, OCCIPITAL, cortex_leadfield, leadfield
from rtfeedback.signals import Float32, Float64

# Microvolts rms at the electrode that sees each best, against FCz.
MU, BETA, ALPHA, BACKGROUND, SENSOR = 6.0, 3.0, 8.0, 9.0, 1.0
BLINK = 110.0  # peak, µV
BLINK_EVERY, BLINK_MIN = 5.0, 1.2  # s, mean and least interval
BLINK_SD = 0.07  # s: a blink lasts some 0.3 s
BETA_DEPTH = 0.8  # beta follows the hand's log power less than mu does
KNEE = 0.3  # Hz below which the background is flat, as behind an amplifier's high-pass


@dataclass(frozen=True, slots=True)
class Anatomy:
    """How one subject's EEG differs from another's.

    Attributes
    ----------
    mu, beta, alpha : float
        Individual frequencies, in hertz.
    gain : float
        Factor on the strength of mu and beta.
    shift : tuple of float
        Millimetres by which the sources are off, x y z.
    """

    mu: float
    beta: float
    alpha: float
    gain: float
    shift: tuple[float, float, float]


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a subject whose rhythms stay within their bands."""
    mu = float(np.clip(rng.normal(10.5, 0.6), 9.5, 11.8))
    alpha = float(np.clip(rng.normal(10.0, 0.5), 9.0, 11.0))
    beta = float(np.clip(rng.normal(20.0, 1.0), 18.5, 22.5))
    gain = float(np.exp(np.clip(rng.normal(0.0, 0.15), -0.3, 0.3)))
    x, y, z = np.clip(rng.normal(0.0, 2.0, 3), -4.0, 4.0)
    return Anatomy(mu, beta, alpha, gain, (float(x), float(y), float(z)))


def simulate_eeg(
    rng: np.random.Generator,
    channels: tuple[str, ...],
    log_power: Float64,
    *,
    rate: float,
    anatomy: Anatomy,
) -> Float32:
    """Draw EEG whose rhythms are as strong as told.

    Parameters
    ----------
    rng : numpy.random.Generator
    channels : tuple of str
    log_power : float64, shape (3, n_times)
        Of the left hand, right hand and occipital rhythms, in nats about rest.
    rate : float
        Samples per second.
    anatomy : Anatomy

    Returns
    -------
    float32, shape (n_times, n_channels)
        Microvolts against `REFERENCE`.
    """
    shift = np.array(anatomy.shift)
    hands, back = leadfield(channels, HANDS, shift), leadfield(channels, OCCIPITAL, shift)
    eyes = leadfield(channels, EYES, np.zeros(3)).sum(1, keepdims=True)
    left, right, occipital = log_power
    n = log_power.shape[1]
    eeg = _background(rng, channels, n, rate)
    for column, course in zip(_peak_normalised(hands).T, (left, right), strict=True):
        mu = MU * _rhythm(rng, n, rate, anatomy.mu, 1.0) * np.exp(course / 2)
        beta = _rhythm(rng, n, rate, anatomy.beta, 2.2) * np.exp(BETA_DEPTH * course / 2)
        eeg += np.outer(column, anatomy.gain * (mu + BETA * beta))
    for column in _peak_normalised(back).T:
        alpha = _rhythm(rng, n, rate, anatomy.alpha, 0.8) * np.exp(occipital / 2)
        eeg += np.outer(column, ALPHA / np.sqrt(2) * alpha)
    eeg += np.outer(_peak_normalised(eyes)[:, 0], BLINK * _blinks(rng, n, rate))
    eeg += SENSOR * rng.standard_normal(eeg.shape)
    return np.ascontiguousarray(eeg.T, dtype=np.float32)


def _background(
    rng: np.random.Generator, channels: tuple[str, ...], n: int, rate: float
) -> Float64:
    """Draw what hundreds of 1/f sources give at the electrodes, (n_channels, n).

    Sources of one spectrum give electrodes of that spectrum and of the leadfield's
    covariance, so as many courses as channels are enough.
    """
    field = cortex_leadfield(channels)
    covariance = field @ field.T
    covariance *= BACKGROUND**2 / np.trace(covariance) * len(channels)
    mixing = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(channels)))
    frequencies = rfftfreq(next_fast_len(n), 1 / rate)
    courses = _coloured(rng, (len(channels), n), np.maximum(frequencies, KNEE) ** -0.5)
    return np.asarray(mixing @ courses)


def _rhythm(
    rng: np.random.Generator, n: int, rate: float, centre: float, width: float
) -> Float64:
    frequencies = rfftfreq(next_fast_len(n), 1 / rate)
    shape = np.exp(-0.25 * ((frequencies - centre) / width) ** 2)  # power's sd is width
    return _coloured(rng, (1, n), shape).ravel()


def _coloured(rng: np.random.Generator, shape: tuple[int, int], amplitude: Float64) -> Float64:
    """Draw noise of unit sd and the given amplitude spectrum along its last axis."""
    n = next_fast_len(shape[1])
    spectrum = rfft(rng.standard_normal((shape[0], n)))
    # Expected power, not that of this draw: runs may differ a little.
    weight = 2 * np.sum(amplitude[1:-1] ** 2) + amplitude[0] ** 2 + amplitude[-1] ** 2
    spectrum *= amplitude / np.sqrt(weight / n)
    return np.asarray(irfft(spectrum, n)[:, : shape[1]])


def _blinks(rng: np.random.Generator, n: int, rate: float) -> Float64:
    course = np.zeros(n)
    shape_times = np.arange(-4 * BLINK_SD, 4 * BLINK_SD, 1 / rate)
    blink = np.exp(-0.5 * (shape_times / BLINK_SD) ** 2)
    at = rng.exponential(BLINK_EVERY)
    while (first := round(at * rate)) + blink.size < n:
        course[first : first + blink.size] += rng.uniform(0.7, 1.2) * blink
        at += BLINK_MIN + rng.exponential(BLINK_EVERY - BLINK_MIN)
    return course


def _peak_normalised(field: Float64) -> Float64:
    return np.asarray(field / np.abs(field).max(axis=0))
