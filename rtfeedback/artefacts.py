"""When a window holds too much that is masked: one rule, for the desk and the daemon."""

from __future__ import annotations

import numpy as np

from rtfeedback.chain import ChainSpec
from rtfeedback.hrf import hrf
from rtfeedback.signals import Float32, Float64
from rtfeedback.windows import WindowSpec

ROUNDING = 1e-9  # shares are sums of weights: one of 1 may come out a little above it
NO_RESPONSE = 1e-3  # of the response's peak: a window of less is weighted evenly


class ArtefactRule:
    """The masked share of a window, weighted by what each moment adds to the BOLD.

    A moment that lies `tau` seconds before the target time counts by the size of the
    haemodynamic response at `tau`: a blink 15 s ago says little of the BOLD to come, one
    5 s ago much. A chain without fitted limits masks nothing, and every window is allowed.

    Parameters
    ----------
    chain : ChainSpec
    window : WindowSpec

    Attributes
    ----------
    weights : float64, shape (n_times,)
        Of a window's samples, oldest first; their sum is 1.
    judges : bool
        Whether the chain masks anything at all.
    """

    def __init__(self, chain: ChainSpec, window: WindowSpec) -> None:
        self._channels = chain.channels
        power = chain.config.band_power
        self._n_bands = len(power.bands) if power else 1
        self._config = chain.config.artefacts if chain.artefacts else None
        self.judges = self._config is not None
        self._largest = _largest_shares(chain)
        # A token stands for the middle of the seconds that it sums up.
        self.weights = _weights(chain, window, power.length / 2 if power else 0.0)

    def shares(self, window: Float32) -> Float64:
        """Return each channel's masked share of a window, weighted, from 0 to 1.

        Parameters
        ----------
        window : float32, shape (n_features, n_times)
            NaN where it is masked, in all bands of a channel alike.

        Returns
        -------
        float64, shape (n_channels,)
        """
        # C order, as sums round otherwise in another: the desk gives a view of its rows.
        masked = np.ascontiguousarray(np.isnan(window[:: self._n_bands]))
        if not masked.any():
            return np.zeros(len(masked))
        # No matrix product: it may round differently on another core.
        return np.asarray(np.where(masked, self.weights, 0.0).sum(axis=1))

    def allows(self, window: Float32) -> bool:
        """Return whether so little of a window is masked that a prediction can be valid."""
        if self._config is None:
            return True
        shares = self.shares(window)
        within = (shares <= self._largest).all()
        return bool(within and shares.mean() <= self._config.share)

    def names(self, window: Float32) -> tuple[str, ...]:
        """Return the channels to blame where a window is not allowed, the worst first.

        Those above their own limit; where none is, those above the limit of all.
        """
        if self._config is None or self.allows(window):
            return ()
        shares = self.shares(window)
        above = shares > self._largest
        if not above.any():
            above = shares > self._config.share
        worst_first = np.argsort(-shares, kind="stable")
        return tuple(self._channels[i] for i in worst_first if above[i])


def _largest_shares(chain: ChainSpec) -> Float64:
    """Return the largest share of each channel with which a window is allowed."""
    config, limits = chain.config.artefacts, chain.artefacts
    if config is None or limits is None:
        return np.ones(len(chain.channels))
    usual = np.array(limits.usual or (0.0,) * len(chain.channels))
    return np.asarray(np.where(usual > config.spare, 1.0, config.channel_share) + ROUNDING)


def _weights(chain: ChainSpec, window: WindowSpec, middle: float) -> Float64:
    n_times = window.n_times(chain.rate)
    ages = np.arange(n_times - 1, -1, -1, dtype=np.float64) / chain.rate
    sizes = np.abs(hrf(window.lead + middle + ages))
    if sizes.max(initial=0.0) < NO_RESPONSE:
        sizes = np.ones(n_times)
    return np.asarray(sizes / max(float(sizes.sum()), NO_RESPONSE))
