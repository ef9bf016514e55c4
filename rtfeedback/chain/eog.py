"""Take out of the EEG what the eyes' channels explain."""

from __future__ import annotations

import numpy as np

from rtfeedback.chain.spec import ChainSpec
from rtfeedback.signals import Float64


class EOG:
    """Subtract each EOG channel times its coefficients, fitted at the desk.

    It drops the EOG columns, which come after the chain's channels. Without a fitted
    regression it lets the channels through.

    References
    ----------
    Gratton, Coles & Donchin 1983, Electroencephalogr. Clin. Neurophysiol. 55:468,
    doi:10.1016/0013-4694(83)90135-9.
    Croft & Barry 2000, Neurophysiol. Clin. 30:5, doi:10.1016/S0987-7053(00)00055-1.
    """

    def __init__(self, spec: ChainSpec) -> None:
        self.n_channels = len(spec.channels)
        fitted = spec.eog.coefficients if spec.eog else ()
        self._coefficients = [np.array(row) for row in fitted]

    def __call__(self, x: Float64) -> Float64:
        """Return x, shape (n_times, n_channels + n_eog), as (n_times, n_channels)."""
        if not self._coefficients:
            return x
        y = x[:, : self.n_channels]
        for i, coefficients in enumerate(self._coefficients):
            # One column after the other: x @ coefficients would round by chunk.
            y = y - x[:, self.n_channels + i, None] * coefficients
        return np.ascontiguousarray(y)
