"""A recording through the chain at the desk: the same code and bits as in the lab."""

from __future__ import annotations

import numpy as np

from offline.eeg.recordings import Recording
from rtfeedback.chain import Chain, ChainSpec
from rtfeedback.chain.chain import Tap
from rtfeedback.signals import Float32, Float64

BLOCK = 60.0  # s of EEG through the chain at a time; any other gives the same bits


def through_chain(
    recording: Recording, spec: ChainSpec, tap: Tap | None = None
) -> tuple[Float32, Float64]:
    """Pass a recording through a chain; keep what comes once the filters have settled.

    Parameters
    ----------
    recording : Recording
    spec : ChainSpec
    tap : callable, optional
        Hears the filtered signal at the recording's rate (see `Chain`).

    Returns
    -------
    features : float32, shape (n_times, n_features)
    stamps : float64, shape (n_times,)
        Seconds from the recording's first sample.
    """
    chain = Chain(spec, recording.info, tap)
    block = round(BLOCK * spec.sfreq)
    parts = [
        chain.push(recording.samples[first : first + block])
        for first in range(0, len(recording.samples), block)
    ]
    features = np.concatenate([part for part, _ in parts])
    index = np.concatenate([part for _, part in parts])
    settled = index >= chain.warm_up
    return features[settled], index[settled] / spec.sfreq
