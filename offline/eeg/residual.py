"""What of a gradient artefact is left in EEG that it was taken out of.

Whatever the templates missed, the mean over volumes is gone, so the share that repeats with
the volumes is small after every subtraction, good or bad. A bad one shows otherwise: an
artefact that is sampled at another moment in each volume leaves its slope, one that has
changed with the head leaves a part of itself, and what fits neither is too large for EEG.
"""

from __future__ import annotations

from math import floor

import numpy as np

from offline.eeg.gradient import BLOCK, chain_over_all
from offline.eeg.recordings import Recording
from offline.eeg.volume_grid import Grid
from rtfeedback.chain.front import Front
from rtfeedback.signals import Float64

RATE = 125.0  # Hz: the chain lets nothing pass above a third of it


def artefact_left(before: Recording, after: Recording, grid: Grid) -> tuple[float, float]:
    """Return how much of the EEG is left-over artefact, and how large all of it is.

    Parameters
    ----------
    before, after : Recording
        With and without the artefact.
    grid : Grid
        The volumes that were corrected, in samples.

    Returns
    -------
    share : float
        Of the variance of a volume that a multiple of the artefact taken out of it and of
        its slope explain, from 0 to 1; the median over volumes and channels. EEG alone
        comes to some 0.03 for a TR of 1 s, less for longer ones.
    rms : float
        Of the EEG, in volts; the median over volumes and channels.
    """
    step = max(1, floor(after.info.sfreq / RATE))
    eeg, taken = _filtered(before, after, step)
    spacing = grid.spacing / step
    starts = np.ceil(grid.start / step + np.arange(grid.n_volumes) * spacing).astype(int)
    starts = starts[starts + floor(spacing) <= len(eeg)]
    rows = starts[:, None] + np.arange(floor(spacing))
    y, artefact = _centred(eeg[rows]), taken[rows]
    size = _unit(_centred(artefact))
    slope = _centred(np.gradient(artefact, axis=1))
    slope = _unit(slope - size * _product(slope, size))
    power = _product(y, y)
    alive = power[:, 0] > 0
    if not alive.any():
        return 0.0, 0.0
    explained = (_product(y, size) ** 2 + _product(y, slope) ** 2)[:, 0][alive]
    rms = np.sqrt(power[:, 0][alive] / y.shape[1])
    return float(np.median(explained / power[:, 0][alive])), float(np.median(rms))


def _filtered(before: Recording, after: Recording, step: int) -> tuple[Float64, Float64]:
    """Return the EEG and what was taken out, as a chain filters them, every few samples."""
    spec = chain_over_all(after)
    fronts = Front(spec, after.info), Front(spec, after.info)
    parts: tuple[list[Float64], list[Float64]] = [], []
    block = max(1, round(BLOCK * after.info.sfreq / step)) * step
    for at in range(0, len(after.samples), block):
        eeg = after.samples[at : at + block]
        taken = before.samples[at : at + block] - eeg
        for front, part, x in zip(fronts, parts, (eeg, taken), strict=True):
            part.append(front(x).filtered[::step].copy())
    return np.concatenate(parts[0]), np.concatenate(parts[1])


def _centred(x: Float64) -> Float64:
    return np.asarray(x - x.mean(axis=1, keepdims=True))


def _product(x: Float64, y: Float64) -> Float64:
    """Return the scalar product over time, shape (n_volumes, 1, n_channels)."""
    return np.asarray(np.einsum("vtc,vtc->vc", x, y)[:, None])


def _unit(x: Float64) -> Float64:
    length = np.sqrt(_product(x, x))
    return np.asarray(x / np.where(length > 0, length, 1.0))
