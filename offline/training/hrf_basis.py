"""Three haemodynamic responses, early to late, as weights of the lags of a window."""

from __future__ import annotations

import numpy as np

from rtfeedback.hrf import response
from rtfeedback.signals import Float64

PEAKS = (3.0, 4.0, 5.0)  # s, as Cury et al. 2020; the last is SPM's own response


def hrf_basis(n_times: int, rate: float, lead: float) -> Float64:
    """Return what each sample of a window weighs in each convolved feature.

    A response that is longer than the window ends with it.

    Parameters
    ----------
    n_times : int
    rate : float
        In hertz.
    lead : float
        Seconds from the newest sample to the time that is predicted.

    Returns
    -------
    float64, shape (n_times, 3)
        In the order of time; each response of norm 1.

    References
    ----------
    Cury et al. 2020, Front. Neurosci. 13:1451, doi:10.3389/fnins.2019.01451.
    """
    ago = lead + np.arange(n_times)[::-1] / rate
    basis = np.stack([response(ago, peak) for peak in PEAKS], axis=1)
    return np.asarray(basis / np.linalg.norm(basis, axis=0))
