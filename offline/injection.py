"""Artefacts of known place put into recorded EEG: to test what ought to catch them.

Pure and seeded: the same samples, settings and generator give the same bits. Knows no
chain and no stream; amplitudes are in the ranges that recordings show, and stated below.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal, NamedTuple, get_args

import numpy as np
from scipy import signal

from rtfeedback.channels import canonical, scale_to_volts
from rtfeedback.errors import ChannelError
from rtfeedback.signals import Bool, Float32, Float64, Int64, StreamInfo

Kind = Literal["blink", "pop", "movement", "muscle", "flat"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MICROVOLT = 1e-6
HEIGHT = 0.5  # an artefact is at its height where it reaches half of its peak
EYES = ((-0.03, 0.085, -0.04), (0.03, 0.085, -0.04))  # m, in the montage's head frame
REACH = 0.05  # m over which a blink falls to 1/e along the scalp (Lins et al. 1993)


class Artefact(NamedTuple):
    """What is added, or what is frozen.

    Attributes
    ----------
    volts : float64, shape (n_times, n_channels)
        From the onset on.
    affected : bool, shape (n_times, n_channels)
        Where the artefact is at its height.
    """

    volts: Float64
    affected: Bool


def inject(
    samples: Float32,
    info: StreamInfo,
    kind: Kind,
    onset_s: float,
    rng: np.random.Generator,
    *,
    channel: str | None = None,
    duration: float | None = None,
) -> tuple[Float32, Bool]:
    """Put one artefact into a copy of samples.

    Parameters
    ----------
    samples : float32, shape (n_times, n_channels)
        In the stream's units; every other unit than one of voltage is left alone.
    info : StreamInfo
        Only its EEG channels are touched, and its EOG channels by a blink.
    kind : str
        `blink`: 80-250 uV at Fp1 and Fp2, 0.2-0.4 s, falling off along the scalp [1]_ [2]_.
        `pop`: a step of 100-500 uV in one channel, back with a time constant of 0.2-1 s [3]_.
        `movement`: 150-500 uV at 0.5-4 Hz for 1-3 s in at least half of the channels, in
        each from half of that to all of it, of either sign [3]_ [4]_.
        `muscle`: noise above 20 Hz of 30-100 uV (rms) for 0.5-2 s over 6-12 channels beside
        each other, in each from half of that to all of it [5]_ [6]_.
        `flat`: one channel holds a value for 3-8 s: its last, zero or an amplifier's rail.
    onset_s : float
        Seconds from the first sample. What would come after the last is cut off.
    rng : numpy.random.Generator
    channel : str, optional
        Where it is, or where its middle is; drawn without. A blink has its own place.
    duration : float, optional
        Seconds; drawn from the range above without. Of a pop its time constant.

    Returns
    -------
    samples : float32, shape (n_times, n_channels)
    affected : bool, shape (n_times, n_channels)
        Where the artefact is at its height: half of its channel's peak, for noise of its
        envelope's. A pop's tail, a blink far from the eyes and the slopes are not.

    Raises
    ------
    ChannelError
        If the stream has no such EEG channel.

    References
    ----------
    .. [1] Lins et al. 1993, Brain Topogr. 6:51, doi:10.1007/BF01234127.
    .. [2] Croft & Barry 2000, Neurophysiol. Clin. 30:5, doi:10.1016/S0987-7053(00)00055-1.
    .. [3] Tatum et al. 2011, J. Clin. Neurophysiol. 28:252,
       doi:10.1097/WNP.0b013e31821c3c93.
    .. [4] Urigüen & Garcia-Zapirain 2015, J. Neural Eng. 12 031001,
       doi:10.1088/1741-2560/12/3/031001.
    .. [5] Delorme et al. 2007, NeuroImage 34:1443, doi:10.1016/j.neuroimage.2006.11.004:
       muscle simulated as noise of 20-60 Hz on a scalp map.
    .. [6] Goncharova et al. 2003, Clin. Neurophysiol. 114:1580,
       doi:10.1016/S1388-2457(03)00093-2.
    """
    head = _Head(info, channel)
    onset = max(0, round(onset_s * info.sfreq))
    n_times = max(0, len(samples) - onset)
    changed, affected = samples.copy(), np.zeros(samples.shape, dtype=np.bool_)
    if kind == "flat":
        _freeze(changed[onset:], affected[onset:], head, rng, duration)
        return changed, affected
    artefact = _MADE[kind](head, rng, duration)
    n_times = min(n_times, len(artefact.volts))
    volts, affected[onset : onset + n_times] = (part[:n_times] for part in artefact)
    scales = np.array([_scale(unit) for unit in info.units])
    changed[onset : onset + n_times] += (volts / scales).astype(np.float32)
    return changed, affected


class _Head:
    """The channels of a stream by their place on the head, and the rate."""

    def __init__(self, info: StreamInfo, channel: str | None) -> None:
        self.sfreq, self.n_channels = info.sfreq, len(info.channels)
        self.scales = [_scale(unit) for unit in info.units]
        kinds = np.array(info.kinds)
        self.eeg: Int64 = np.flatnonzero(kinds == "eeg")
        self.eog: Int64 = np.flatnonzero(kinds == "eog")
        self.places = _places(info)
        self.named: int | None = None
        if channel is not None:
            names = [canonical(info.channels[i]) for i in self.eeg]
            if canonical(channel) not in names:
                raise ChannelError(
                    f"'{info.name}' has no EEG channel {channel} to put an artefact into",
                    found=f"It has {', '.join(names)}",
                    do="Name one of these",
                )
            self.named = int(self.eeg[names.index(canonical(channel))])

    def one(self, rng: np.random.Generator) -> int:
        """Return the named channel, else one that is drawn."""
        drawn = int(rng.choice(self.eeg))
        return drawn if self.named is None else self.named

    def around(self, middle: int, n: int) -> Int64:
        """Return the `n` EEG channels nearest to one, itself among them."""
        apart = np.linalg.norm(self.places[self.eeg] - self.places[middle], axis=1)
        nearest: Int64 = self.eeg[np.argsort(apart, kind="stable")[:n]]
        return nearest

    def times(self, seconds: float) -> Float64:
        return np.arange(max(2, round(seconds * self.sfreq))) / self.sfreq


def _blink(head: _Head, rng: np.random.Generator, duration: float | None) -> Artefact:
    height = rng.uniform(80, 250) * MICROVOLT
    seconds = duration or rng.uniform(0.2, 0.4)
    # The lid closes faster than it opens: a third of the time up, two thirds down.
    phase = head.times(seconds) / seconds
    lid = np.where(phase < 1 / 3, phase * 1.5, 0.5 + (phase - 1 / 3) * 0.75)
    volts = np.zeros((len(lid), head.n_channels))
    eyes = np.linalg.norm(head.places[:, None] - np.array(EYES), axis=2).min(axis=1)
    gains = np.exp(-(eyes - 0.033) / REACH)  # 1 at Fp1, which is 33 mm from the eye
    volts[:, head.eeg] = np.minimum(gains[head.eeg], 1.2)
    volts[:, head.eog] = 2.0
    volts *= height * (np.sin(np.pi * lid) ** 2)[:, None]
    return Artefact(volts, np.abs(volts) >= HEIGHT * height)


def _pop(head: _Head, rng: np.random.Generator, duration: float | None) -> Artefact:
    height = rng.uniform(100, 500) * MICROVOLT * rng.choice([-1, 1])
    decay = duration or rng.uniform(0.2, 1.0)
    times = head.times(8 * decay)
    volts = np.zeros((len(times), head.n_channels))
    volts[:, head.one(rng)] = height * np.exp(-times / decay)
    return Artefact(volts, np.abs(volts) >= HEIGHT * abs(height))


def _movement(head: _Head, rng: np.random.Generator, duration: float | None) -> Artefact:
    height = rng.uniform(150, 500) * MICROVOLT
    seconds = duration or rng.uniform(1.0, 3.0)
    sway = _noise(head, rng, seconds, 0.5, 4.0)
    sway *= np.hanning(len(sway))
    sway /= np.abs(sway).max()
    least = (len(head.eeg) + 1) // 2
    moved = head.around(head.one(rng), int(rng.integers(least, len(head.eeg) + 1)))
    volts = np.zeros((len(sway), head.n_channels))
    signs = rng.choice([-1, 1], len(moved))
    volts[:, moved] = height * sway[:, None] * signs * rng.uniform(0.5, 1.0, len(moved))
    peaks = np.abs(volts).max(axis=0)
    return Artefact(volts, (np.abs(volts) >= HEIGHT * peaks) & (peaks > 0))


def _muscle(head: _Head, rng: np.random.Generator, duration: float | None) -> Artefact:
    height = rng.uniform(30, 100) * MICROVOLT
    seconds = duration or rng.uniform(0.5, 2.0)
    group = head.around(_edge(head, rng), int(rng.integers(6, 13)))
    envelope = np.sin(np.pi * np.linspace(0, 1, len(head.times(seconds)))) ** 0.5
    volts = np.zeros((len(envelope), head.n_channels))
    shared = _noise(head, rng, seconds, 20.0, 100.0)
    for i, gain in zip(group, rng.uniform(0.5, 1.0, len(group)), strict=True):
        # Fibres under each electrode fire on their own, beside what spreads over all.
        own = _noise(head, rng, seconds, 20.0, 100.0)
        volts[:, i] = height * gain * envelope * (shared + own) / np.sqrt(2)
    at_height = np.zeros(volts.shape, dtype=np.bool_)
    at_height[:, group] = (envelope >= HEIGHT)[:, None]
    return Artefact(volts, at_height)


def _freeze(
    samples: Float32,
    affected: Bool,
    head: _Head,
    rng: np.random.Generator,
    duration: float | None,
) -> None:
    """Hold one channel of `samples` at a value, and mark where, both in place."""
    frozen = head.one(rng)
    last = len(head.times(duration or rng.uniform(3.0, 8.0)))
    rail = rng.choice([-1, 1]) * 187.5e-3 / head.scales[frozen]
    held = float(rng.choice([float(samples[0, frozen]) if len(samples) else 0.0, 0.0, rail]))
    samples[:last, frozen] = held
    affected[:last, frozen] = True


_MADE: dict[str, Callable[[_Head, np.random.Generator, float | None], Artefact]] = {
    "blink": _blink,
    "pop": _pop,
    "movement": _movement,
    "muscle": _muscle,
}


def _edge(head: _Head, rng: np.random.Generator) -> int:
    """Return a channel near the muscles: one of the lower half of the cap."""
    if head.named is not None:
        return head.named
    heights = head.places[head.eeg, 2]
    return int(rng.choice(head.eeg[heights <= np.median(heights)]))


def _noise(
    head: _Head, rng: np.random.Generator, seconds: float, low: float, high: float
) -> Float64:
    """Return noise of a band in hertz with an rms of one, of so many seconds."""
    n, lead = len(head.times(seconds)), round(4 * head.sfreq)
    high = min(high, 0.45 * head.sfreq)
    band = (min(low, 0.9 * high), high)
    sos = signal.butter(2, band, "bandpass", fs=head.sfreq, output="sos")
    drawn = signal.sosfilt(sos, rng.standard_normal(lead + n))[lead:]
    return np.asarray(drawn / np.sqrt(np.mean(drawn**2)))


def _scale(unit: str) -> float:
    try:
        return scale_to_volts(unit)
    except ChannelError:
        return np.inf  # volts over infinity: an acceleration keeps its value


def _places(info: StreamInfo) -> Float64:
    """Return where each channel is, in metres; one without a known site is in a row."""
    known, n = _montage(), len(info.channels)
    row = [(0.0, 0.09 - 0.18 * i / n, 0.05) for i in range(n)]
    named = [canonical(name).upper() for name in info.channels]
    return np.array([known.get(name, row[i]) for i, name in enumerate(named)])


@cache
def _montage() -> dict[str, tuple[float, float, float]]:
    from mne.channels import make_standard_montage

    found = make_standard_montage("colin27_1005").get_positions()["ch_pos"]
    return {name.upper(): tuple(place) for name, place in found.items()}
