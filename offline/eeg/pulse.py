"""Pulse artefact: heartbeats found in the ECG, and what they move in the EEG taken out.

In the scanner's field each beat moves electrodes and blood: some 100 µV, a fifth of a
second after the R peak, and never quite the same. Optimal basis sets fit it beat by beat
with the mean and the principal components of all beats [1]_.

References
----------
.. [1] Niazy et al. 2005, NeuroImage 28:720, doi:10.1016/j.neuroimage.2005.06.067.
"""

from __future__ import annotations

from collections.abc import Collection
from math import floor

import mne
import numpy as np
from mne.preprocessing import apply_pca_obs, find_ecg_events
from scipy import signal

from offline.eeg.recordings import Recording
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float64

RATE = 250.0  # Hz: at which heartbeats are looked for, however fast was recorded
DELAY = 0.21  # s from the R peak to the middle of its artefact [1]
SLOW = 0.5  # Hz: drift below is no part of a beat
GROUP = 4  # channels in float64 at a time
BEATS = 10  # of fewer no components can be told
INTERVAL = (0.33, 2.0)  # s from beat to beat: 30 to 180 a minute
IRREGULAR = 0.25  # median difference of an interval from the median one, as a share of it


def find_beats(recording: Recording, labels: Collection[str] = (), *, name: str) -> Float64:
    """Return when the heart beat, in seconds from the recording's first sample.

    Parameters
    ----------
    recording : Recording
        Without gradient artefact.
    labels : collection of str
        Markers of heartbeats, where they were found before; the recording's ECG channel
        without.
    name : str
        The run's, for errors.

    Raises
    ------
    DatasetError
        If there is neither, or what was found cannot be a heart.
    """
    if labels:
        beats = np.array([m.stamp for m in recording.markers if m.label in labels])
        where = f"markers {', '.join(sorted(labels))}"
    else:
        beats, where = _beats_in_ecg(recording, name)
    intervals = np.diff(beats)
    typical = float(np.median(intervals)) if len(intervals) else 0.0
    off = np.median(np.abs(intervals - typical)) / typical if typical else 1.0
    n = len(beats)
    if n < BEATS or not INTERVAL[0] <= typical <= INTERVAL[1] or off > IRREGULAR:
        rate = f", {60 / typical:.0f} a minute" if typical else ""
        raise DatasetError(
            f"No regular heartbeat was found in {name}, so its pulse artefact stays",
            found=f"{n} beats in {where}{rate}, intervals {100 * off:.0f} % off their median",
            do="Mark the R peaks in the recording and name their label in beats, or set"
            " pulse = 'keep'",
        )
    return beats


def _beats_in_ecg(recording: Recording, name: str) -> tuple[Float64, str]:
    info = recording.info
    if "ecg" not in info.kinds:
        raise DatasetError(
            f"The pulse artefact of {name} cannot be removed without its heartbeats",
            found="Neither an ECG channel nor markers of beats",
            do="State the ECG channel's type, mark the R peaks and name their label in beats,"
            " or set pulse = 'keep'",
        )
    column, factor = info.kinds.index("ecg"), max(1, floor(info.sfreq / RATE))
    ecg = recording.samples[:, column].astype(np.float64) * 1e-6
    ecg = signal.resample_poly(ecg - ecg[0], 1, factor, padtype="line")
    described = mne.create_info(["ECG"], info.sfreq / factor, "ecg", verbose="error")
    raw = mne.io.RawArray(ecg[None], described, verbose="error")
    events, _, _ = find_ecg_events(raw, ch_name="ECG", verbose="error")
    return events[:, 0] * factor / info.sfreq, info.channels[column]


def remove_pulse(recording: Recording, beats: Float64, *, components: int) -> None:
    """Take the pulse artefact out of a recording's EEG and EOG channels, in place.

    MNE's `apply_pca_obs` fits it to the channel above 0.5 Hz; what it fits is subtracted,
    so slow EEG keeps its course. What of the EEG looks like a beat goes with it: of pink
    noise nine tenths of the power from 1 to 2 Hz, two thirds up to 4 Hz, and little above.

    Parameters
    ----------
    recording : Recording
        Whose samples are changed.
    beats : float64, shape (n_beats,)
        Of the R peaks, in seconds from the first sample.
    components : int
        Principal components beside the mean.
    """
    info, samples = recording.info, recording.samples
    moved = [i for i, kind in enumerate(info.kinds) if kind in ("eeg", "eog")]
    sos = signal.butter(2, SLOW, "highpass", fs=info.sfreq, output="sos")
    for first in range(0, len(moved), GROUP):
        group = moved[first : first + GROUP]
        fast = signal.sosfiltfilt(sos, samples[:, group].T.astype(np.float64), axis=1) * 1e-6
        samples[:, group] -= 1e6 * _fitted(fast, info.sfreq, beats, components).T


def _fitted(fast: Float64, sfreq: float, beats: Float64, components: int) -> Float64:
    """Return the artefact in channels, in volts, shape (n_channels, n_times)."""
    described = mne.create_info(len(fast), sfreq, "eeg", verbose="error")
    raw = mne.io.RawArray(fast, described, copy="both", verbose="error")
    # MNE takes half an interval on either side of a beat, and no heed of the ends.
    half = np.median(np.diff(beats)) / 2 + 2 / sfreq
    middles = beats + DELAY
    inside = (middles > half) & (middles < fast.shape[1] / sfreq - half)
    picks = [*raw.ch_names]
    apply_pca_obs(
        raw,
        picks,
        qrs_times=middles[inside],
        n_components=components,
        copy=False,
        verbose="error",
    )
    return np.asarray(fast - raw.get_data())
