"""How BOLD answers a moment of neural activity, over time."""

from __future__ import annotations

import numpy as np
from scipy import stats

from rtfeedback.signals import Float64

PEAK, UNDERSHOOT = 6.0, 16.0  # s: shapes of the two gammas, each of scale 1 s
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
    return _response(times) / _LARGEST


def _response(times: Float64) -> Float64:
    response = stats.gamma.pdf(times, PEAK)
    return np.asarray(response - stats.gamma.pdf(times, UNDERSHOOT) / RATIO)


_LARGEST = float(_response(np.linspace(4.0, 6.0, 2001)).max())
