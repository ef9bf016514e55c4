"""The EEG's own features: band power of each channel, of the windows that a model saw."""

from __future__ import annotations

import numpy as np

from rtfeedback.chain import ChainSpec
from rtfeedback.signals import Float32, Float64

# Delta, theta, alpha, beta, gamma, for chains whose output is samples, in hertz.
BANDS = ((1.0, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 45.0))
TINY = 1e-30  # V**2: less is a channel that is flat


class BandMeans:
    """Turns a window into the mean log10 power of each channel's bands.

    A chain of tokens has these already, and they are averaged over the window. Of samples
    they are taken by a periodogram of the whole window (Hann), masked samples left out.

    Parameters
    ----------
    chain : ChainSpec
    n_times : int
        Of a window.

    Attributes
    ----------
    n : int
        How many there are: channels times bands.
    bands : tuple of tuple of float
        In hertz.
    """

    def __init__(self, chain: ChainSpec, n_times: int) -> None:
        self._n_channels, power = len(chain.channels), chain.config.band_power
        self._hann: Float64 | None = None
        if power:
            self.bands = tuple((float(low), float(high)) for low, high in power.bands)
        else:
            low, high = chain.config.band or (0.0, np.inf)
            hertz = np.fft.rfftfreq(n_times, 1 / chain.rate)
            found = {
                band: bins
                for band in ((max(low, a), min(high, b)) for a, b in BANDS)
                if (bins := np.flatnonzero((hertz >= band[0]) & (hertz < band[1]))).size
            }
            self.bands, self._bins = tuple(found), tuple(found.values())
            self._hann = np.hanning(n_times + 2)[1:-1]
        self.n = self._n_channels * len(self.bands)

    def __call__(self, window: Float32) -> Float64:
        """Return the features of a window, shape (n_features, n_times).

        Returns
        -------
        float64, shape (n_channels * n_bands,)
            log10 of V**2; NaN where a channel is masked from end to end.
        """
        x = window.astype(np.float64)
        known = ~np.isnan(x)
        x[~known] = 0.0
        if self._hann is None:
            count = known.sum(axis=1)
            return np.where(count, x.sum(axis=1) / np.maximum(count, 1), np.nan)
        weights = known * self._hann
        size = np.sum(weights**2, axis=1)
        some = np.maximum(size, TINY)[:, None]
        level = np.sum(weights * x, axis=1) / np.maximum(weights.sum(axis=1), TINY)
        spectrum = np.abs(np.fft.rfft(weights * (x - level[:, None]), axis=1)) ** 2 / some
        power = np.stack([spectrum[:, bins].mean(axis=1) for bins in self._bins], axis=1)
        log = np.log10(np.maximum(power, TINY))
        return np.where(size[:, None] > 0, log, np.nan).reshape(-1)
