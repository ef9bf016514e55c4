"""What EEG alone says of a new subject or day: artefact limits, and the scaler."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from offline.calibration.hear import Heard, too_little
from offline.eeg.features import through_chain
from offline.eeg.fit_artefacts import Runs, fit_eog, fit_limits
from rtfeedback.chain import ChainSpec
from rtfeedback.errors import RecordingError, listed
from rtfeedback.online.plausibility import MAGNITUDE
from rtfeedback.signals import Bool, Float32, Float64

LEAST = 60.0  # s of EEG that is no artefact: a mean over less is one of the moment
FAR = 6.0  # robust sds: what lies beyond is left out of mean and sd, and no EEG does


@dataclass(frozen=True, slots=True)
class EEGFit:
    """What was fitted.

    Attributes
    ----------
    chain : ChainSpec
        With the limits of this EEG.
    mean, sd : float64, shape (n_features,)
        Of the chain's output where it is not masked.
    size : float
        The EEG's amplitude in that of the parent's training; 1 where that is not known.
    clean : float
        Seconds that are not masked, of the channel that has least of them.
    """

    chain: ChainSpec
    mean: Float64
    sd: Float64
    size: float
    clean: float


def fit_eeg(chain: ChainSpec, heard: Heard) -> EEGFit:
    """Fit limits and scaler anew, by what `prepare` and `train` fit them by.

    Only what the parent's chain has is fitted. Where the eyes hardly moved, what the EOG
    explains stays the parent's; and so does how much of each channel is usually masked,
    as that says what the model has learnt to do without.

    Parameters
    ----------
    chain : ChainSpec
        The parent's.
    heard : Heard

    Raises
    ------
    RecordingError
        If too little is no artefact, or an electrode is unlike the others.
    DatasetError
        If a channel is flat in nearly all of it.
    """
    if heard.seconds < LEAST:
        raise too_little(heard.name, heard.seconds)
    fitted = _fit_chain(chain, heard)
    size = _check_sizes(chain, fitted, heard.name)
    rows = np.concatenate([through_chain(each, fitted)[0] for each in heard.segments])
    clean = _check_clean(fitted, rows, heard.name)
    mean, sd = robust_statistics(rows)
    return EEGFit(fitted, mean, sd, size, clean)


def robust_statistics(rows: Float32) -> tuple[Float64, Float64]:
    """Return mean and sd of each feature, as a training takes them but for what lies far out.

    Parameters
    ----------
    rows : float32, shape (n_times, n_features)
        NaN where masked, and none of them everywhere.

    Returns
    -------
    mean, sd : float64, shape (n_features,)
    """
    x = rows.astype(np.float64)
    centre = np.nanmedian(x, axis=0)
    size = np.nanmedian(np.abs(x - centre), axis=0) / 0.6745
    x[np.abs(x - centre) > FAR * size] = np.nan
    mean, sd = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    return mean, np.where(sd > 0, sd, 1.0)


def _fit_chain(chain: ChainSpec, heard: Heard) -> ChainSpec:
    name, several = heard.name, len(heard.segments) > 1
    runs: Runs = {
        f"{name}, segment {i}" if several else name: partial(lambda each: each, segment)
        for i, segment in enumerate(heard.segments, 1)
    }
    if chain.eog:
        eog = fit_eog(chain, runs)
        if np.any(eog.coefficients):
            chain = chain.model_copy(update={"eog": eog})
    if chain.artefacts and chain.config.artefacts:
        limits = fit_limits(chain, runs, chain.config.artefacts)
        limits = limits.model_copy(update={"usual": chain.artefacts.usual})
        chain = chain.model_copy(update={"artefacts": limits})
    return ChainSpec.model_validate(chain.model_dump())


def _check_sizes(parent: ChainSpec, child: ChainSpec, name: str) -> float:
    """Return by how much this EEG is larger; refuse electrodes that are unlike the others."""
    if not (parent.artefacts and child.artefacts):
        return 1.0
    before, now = (np.array(each.artefacts.typical) for each in (parent, child))  # type: ignore[union-attr]
    ratio = now / np.maximum(before, 1e-12)
    size = float(np.median(ratio))
    odd: Bool = (ratio > MAGNITUDE * size) | (ratio < size / MAGNITUDE)
    if odd.any():
        found = [f"{parent.channels[i]} {ratio[i] / size:.2g} x" for i in np.flatnonzero(odd)]
        raise RecordingError(
            f"Electrodes of '{name}' are unlike the others, set beside the training's",
            found=f"Their amplitude: {listed(found)}",
            do="Mend their contact, and record again",
        )
    return size


def _check_clean(chain: ChainSpec, rows: Float32, name: str) -> float:
    """Return the seconds of the channel that has least EEG; refuse too few of them."""
    n_bands = chain.n_bands
    clean = np.sum(~np.isnan(rows[:, ::n_bands]), axis=0) / chain.rate
    worst = int(np.argmin(clean))
    if clean[worst] < LEAST / 2:
        what = f"{chain.channels[worst]} that is no artefact, of {len(rows) / chain.rate:.0f} s"
        raise too_little(name, float(clean[worst]), what)
    return float(clean[worst])
