"""Gradient artefact: how much of it a recording holds, and its removal at the desk.

The scanner's gradients induce millivolts that repeat from volume to volume, so the mean of
the volumes around one is that one's artefact (average artefact subtraction, [1]_).

References
----------
.. [1] Allen, Josephs & Turner 2000, NeuroImage 12:230, doi:10.1006/nimg.2000.0599.
"""

from __future__ import annotations

import numpy as np
from mne.preprocessing import GradientRemover
from scipy import signal

from offline.eeg.recordings import Recording
from offline.eeg.volume_grid import Grid, find_volumes
from rtfeedback.chain import ChainConfig, ChainSpec
from rtfeedback.chain.front import Front
from rtfeedback.signals import Float32, Float64
from rtfeedback.volume_locked import VolumeLocked

BLOCK = 10.0  # s through the chain's front at a time; any other gives the same bits
GROUP = 4  # channels in float64 at a time


# ---------------------------------------------------------------------- how much there is


def volume_locked_share(
    recording: Recording, onsets: Float64, spec: ChainSpec | None = None
) -> float | None:
    """Return the share of the EEG's variance that repeats with the volumes.

    Measured as a run of the daemon measures it (see `VolumeLocked`), while the scanner
    runs. Raw EEG comes near 1, corrected EEG near 0.

    Parameters
    ----------
    recording : Recording
    onsets : float64, shape (n_volumes,)
        Seconds from the recording's first sample; NaN where unknown.
    spec : ChainSpec, optional
        Whose filtered signal is looked at; the default chain over all EEG without.

    Returns
    -------
    float or None
        The median over channels, from 0 to 1; None for less than 8 volumes.
    """
    known = np.flatnonzero(np.isfinite(onsets))
    if len(known) < 2:
        return None
    first, last = int(known[0]), int(known[-1])
    tr = float(onsets[last] - onsets[first]) / (last - first)
    begin, end = float(onsets[first]), float(onsets[last]) + tr
    sfreq = recording.info.sfreq
    spec = spec or chain_over_all(recording)
    front = Front(spec, recording.info)
    locked = VolumeLocked(tr, sfreq, len(spec.channels))
    block = max(1, round(BLOCK * sfreq))
    for at in range(0, len(recording.samples), block):
        filtered = front(recording.samples[at : at + block]).filtered
        stamps = np.arange(at, at + len(filtered)) / sfreq
        scanned = (stamps >= begin) & (stamps < end)
        locked.push(filtered[scanned], stamps[scanned])
    return locked.share


def chain_over_all(recording: Recording) -> ChainSpec:
    """Return the default chain over all EEG channels, as far as the rate allows it."""
    info = recording.info
    kinds = zip(info.channels, info.kinds, strict=True)
    eeg = tuple(name for name, kind in kinds if kind == "eeg")
    config = ChainConfig(reference="average" if len(eeg) > 1 else "recorded", artefacts=None)
    if info.sfreq <= 2 * max((*config.notch, *(config.band or ()))):
        config = config.model_copy(update={"band": (1.0, 0.4 * info.sfreq), "notch": ()})
    return ChainSpec(config=config, channels=eeg, sfreq=info.sfreq)


# ------------------------------------------------------------------------- its removal


def remove_gradient(
    samples: Float32, sfreq: float, onsets: Float64, *, tr: float, window: int, name: str
) -> Grid:
    """Take the gradient artefact out of all channels, in place.

    On the volumes' grid (see `find_volumes`) each has one whole number of points, however
    the scanner's clock drifts against the amplifier's. There MNE's `GradientRemover` makes
    each volume's template out of the nearest others, and the template is taken off at the
    recording's own samples. What was scanned before the first onset or after the last one
    is corrected as well.

    Templates are means of detrended volumes and of what is steady in their slopes, and only
    they are subtracted, so slow EEG keeps its course; 1/`window` of the EEG's power comes
    in with them. A piece of less than a volume at either end of the recording stays.

    Parameters
    ----------
    samples : float32, shape (n_times, n_channels)
        At the rate that was recorded. Some 8 float64 copies of 4 channels are made on the
        way.
    sfreq : float
        Hertz.
    onsets : float64, shape (n_volumes,)
        Seconds from the first sample; NaN where unknown.
    tr : float
        Seconds, of which the onsets may differ by 1 %.
    window : int
        Volumes in a template; as many as there are others, in short runs.
    name : str
        The run's, for errors.

    Returns
    -------
    Grid
        The volumes that were corrected.

    Raises
    ------
    DatasetError
        If too few onsets are known, or they are not those of volumes.
    """
    grid = find_volumes(samples, sfreq, onsets, tr=tr, name=name)
    window = min(window, grid.n_volumes - 1) // 2 * 2
    for first in range(0, samples.shape[1], GROUP):
        columns = slice(first, first + GROUP)
        x = np.ascontiguousarray(samples[:, columns].T, dtype=np.float64)
        artefact = grid.give_back(_templates(grid.take(x), window))
        samples[grid.samples, columns] -= artefact.T.astype(np.float32)
    return grid


class _Remover(GradientRemover):  # type: ignore[misc]
    """MNE's templates of volumes that are detrended once, and not for each template."""

    def __init__(self, volumes: Float64, detrended: Float64, window: tuple[int, int]) -> None:
        n, width = volumes.shape[1:]
        super().__init__(volumes.reshape(len(volumes), -1), np.arange(n) * width, window)
        self._detrended = detrended

    def get_tr_detrended(self, n: int) -> Float64:
        """Return a volume without its mean and slope, shape (n_channels, n_times)."""
        return self._detrended[:, n]


def _templates(volumes: Float64, window: int) -> Float64:
    """Return each volume's artefact, shape (n_channels, n_volumes, n_times).

    At the run's ends the volumes are taken from one side, which MNE leaves undone.
    """
    n, found = volumes.shape[1], np.empty_like(volumes)
    detrended = signal.detrend(volumes, axis=2)
    for volume in range(n):
        before = min(volume, max(window // 2, window - (n - 1 - volume)))
        remover = _Remover(volumes, detrended, (before, window - before))
        found[:, volume] = remover.get_tr_template(volume)
    found += _slope(volumes)
    return found


def _slope(volumes: Float64) -> Float64:
    """Return what is steady in the slope of volumes, shape (n_channels, 1, n_times).

    MNE takes each volume's slope off before the mean, the artefact's as well as the
    drift's. Drift is also seen from volume to volume, and so told apart.
    """
    width = volumes.shape[2]
    ramp = np.arange(width) - (width - 1) / 2
    drift = np.gradient(volumes.mean(axis=2), axis=1) / width
    slopes = volumes @ ramp / (ramp @ ramp) - drift
    return np.asarray(np.median(slopes, axis=1)[:, None, None] * ramp)
