"""A recording at a lower rate, as a corrected stream would come in."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from scipy import signal

from offline.eeg.recordings import Recording
from rtfeedback.errors import DatasetError

GROUP = 4  # channels in float64 at a time


def resample(recording: Recording, rate: float, *, name: str) -> Recording:
    """Return a recording at a lower rate, by a linear-phase filter below half of it.

    The first sample stays the first, and markers where they are.

    Parameters
    ----------
    recording : Recording
    rate : float
        Hertz.
    name : str
        The run's, for errors.

    Raises
    ------
    DatasetError
        If the rate is no lower one, or in no plain ratio to the recording's.
    """
    info, samples = recording.info, recording.samples
    ratio = Fraction(rate / info.sfreq).limit_denominator(1000)
    if not 0 < ratio < 1 or abs(float(ratio) * info.sfreq / rate - 1) > 1e-6:
        raise DatasetError(
            f"The EEG of {name} cannot be brought to {rate:g} Hz",
            found=f"It was recorded at {info.sfreq:g} Hz",
            do="Choose a lower rate that is in a plain ratio to it, or leave rate out",
        )
    up, down = ratio.numerator, ratio.denominator
    slower = np.empty((-(-len(samples) * up // down), samples.shape[1]), np.float32)
    for first in range(0, samples.shape[1], GROUP):
        x = samples[:, first : first + GROUP].astype(np.float64)
        slower[:, first : first + GROUP] = signal.resample_poly(x, up, down, padtype="median")
    return replace(recording, info=replace(info, sfreq=rate), samples=slower)
