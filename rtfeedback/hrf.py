"""How BOLD answers a moment of neural activity, over time."""

from __future__ import annotations

import numpy as np
from scipy import stats

from rtfeedback.signals import Float64

PEAK = 5.0  # s, of the canonical response: of a gamma of shape 6 and scale 1 s
UNDERSHOOT = 16.0  # shape of the other gamma, of the same scale
RATIO = 6.0  # of the response to its undershoot


def hrf(times: Float64) -> Float64:
    """Return the canonical double-gamma response, scaled so that its peak is 1.

    Parameters
    ----------
    times : float64, shape (n,)
        Seconds after the activity.

    References
    ----------
    SPM's `spm_hrf` with its default parameters; Friston et al. 1998, NeuroImage 7:30,
    doi:10.1006/nimg.1997.0306; the two gammas go back to Glover 1999, NeuroImage 9:416,
    doi:10.1006/nimg.1998.0419.
    """
    return response(times) / _LARGEST


def response(times: Float64, peak: float = PEAK) -> Float64:
    """Return the same response unscaled, its peak moved: a gamma of shape k peaks at k - 1."""
    rise = stats.gamma.pdf(times, peak + 1.0)
    return np.asarray(rise - stats.gamma.pdf(times, UNDERSHOOT) / RATIO)


_LARGEST = float(response(np.linspace(4.0, 6.0, 2001)).max())
