"""When a window holds too much that is masked: one rule, for the desk and the daemon."""

from __future__ import annotations

import numpy as np

from rtfeedback.chain import ChainSpec
from rtfeedback.hrf import hrf
from rtfeedback.signals import Bool, Float32, Float64, Int64
from rtfeedback.windows import WindowSpec

UNITS = 2**40  # that a window weighs: sums of whole ones are exact in any order
NO_RESPONSE = 1e-3  # of the response's peak: a window of less is weighted evenly


class ArtefactRule:
    """The masked share of a window, weighted by what each moment adds to the BOLD.

    A moment that lies `tau` seconds before the target time counts by the size of the
    haemodynamic response at `tau`: a blink 15 s ago says little of the BOLD to come, one
    5 s ago much. A chain without fitted limits masks nothing, and every window is allowed.

    Weights are whole numbers, so a share is the same to the bit however it is added up:
    over the whole window, as here, or run by run, as `follow` does.

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
    n_channels : int
    """

    def __init__(self, chain: ChainSpec, window: WindowSpec) -> None:
        self._channels, self.n_channels = chain.channels, len(chain.channels)
        power = chain.config.band_power
        self._n_bands = len(power.bands) if power else 1
        self._config = chain.config.artefacts if chain.artefacts else None
        self.judges = self._config is not None
        self._largest = _largest_shares(chain)
        # A token stands for the middle of the seconds that it sums up.
        self._units = _units(chain, window, power.length / 2 if power else 0.0)
        self._all = int(self._units.sum())

    @property
    def weights(self) -> Float64:
        """Of a window's samples, oldest first."""
        return np.asarray(self._units / self._all)

    def follow(self) -> FollowedWindow:
        """Return what judges the newest window of a ring, told only what is new in it."""
        return FollowedWindow(self, self._units)

    def masked(self, rows: Float32) -> Bool:
        """Return which channels of rows, shape (n, n_features), are masked, (n, n_channels)."""
        return np.isnan(rows[:, :: self._n_bands])

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
        masked = self.masked(window.T).T
        if not masked.any():
            return np.zeros(len(masked))
        return np.asarray(np.where(masked, self._units, 0).sum(axis=1) / self._all)

    def blame(self, shares: Float64) -> tuple[str, ...]:
        """Return the channels to blame where such shares are not allowed, the worst first.

        Those above their own limit; where none is, those above the limit of all.
        """
        if self._config is None or not shares.any():
            return ()
        above = shares > self._largest
        if not above.any() and shares.mean() > self._config.share:
            above = shares > self._config.share
        worst_first = np.argsort(-shares, kind="stable")
        return tuple(self._channels[i] for i in worst_first if above[i])

    def names(self, window: Float32) -> tuple[str, ...]:
        """Return the channels to blame where a window is not allowed, the worst first."""
        return self.blame(self.shares(window)) if self.judges else ()

    def allows(self, window: Float32) -> bool:
        """Return whether so little of a window is masked that a prediction can be valid."""
        return not self.names(window)


class FollowedWindow:
    """An `ArtefactRule` for the newest window of a ring: it is told each row once.

    Kept are the changes, in each channel from EEG to masked or back: a share is the sum of
    what the window weighs from each such row on, with its sign. So a verdict costs by how
    often something was masked, and nothing by the length of the window.

    Parameters
    ----------
    rule : ArtefactRule
    units : int64, shape (n_times,)
        The weights of a window's samples, oldest first.
    """

    def __init__(self, rule: ArtefactRule, units: Int64) -> None:
        self._rule, self._n_times = rule, len(units)
        self._all = int(units.sum())
        # What the window weighs from each of its samples on.
        self._from = np.append(units[::-1].cumsum()[::-1], 0)
        self.clear()

    def clear(self) -> None:
        """Forget all rows; those that are missing to a window count as EEG."""
        n = self._rule.n_channels
        self._seen = 0
        self._newest: Bool = np.zeros(n, np.bool_)
        self._oldest: Int64 = np.zeros(n, np.int64)  # 1: masked as the window begins
        self._changes: Int64 = np.empty((3, 0), np.int64)  # row, channel, 1 or -1

    def push(self, rows: Float32) -> None:
        """Take the rows that go into the ring, shape (n, n_features)."""
        if not self._rule.judges or not len(rows):
            return
        masked = self._rule.masked(rows)
        if masked.any() or self._newest.any():
            before = np.concatenate([self._newest[None], masked[:-1]])
            row, channel = np.nonzero(masked != before)
            if len(row):
                sign = np.where(masked[row, channel], 1, -1)
                new = np.array([row + self._seen, channel, sign])
                self._changes = np.concatenate([self._changes, new], axis=1)
                self._newest = masked[-1].copy()
        self._seen += len(rows)
        if self._changes.size and self._changes[0, 0] <= self._first:
            self._forget()

    def _forget(self) -> None:
        """Drop the changes that every window to come begins after, or with."""
        gone = int(np.searchsorted(self._changes[0], self._first, side="right"))
        _, channel, sign = self._changes[:, :gone]
        np.add.at(self._oldest, channel, sign)
        self._changes = self._changes[:, gone:]

    @property
    def _first(self) -> int:
        return self._seen - self._n_times

    def shares(self) -> Float64:
        """Return each channel's masked share of the newest window, as the rule does."""
        row, channel, sign = self._changes
        units = self._oldest * self._all
        np.add.at(units, channel, sign * self._from[row - self._first])
        return np.asarray(units / self._all)

    def names(self) -> tuple[str, ...]:
        """Return the channels to blame where the newest window is not allowed."""
        if not (self._changes.size or self._oldest.any()):
            return ()  # as nearly always: nothing in it is masked
        return self._rule.blame(self.shares())

    def allows(self) -> bool:
        """Return whether little enough of the newest window is masked."""
        return not self.names()


def _largest_shares(chain: ChainSpec) -> Float64:
    """Return the largest share of each channel with which a window is allowed."""
    config, limits = chain.config.artefacts, chain.artefacts
    if config is None or limits is None:
        return np.ones(len(chain.channels))
    usual = np.array(limits.usual or (0.0,) * len(chain.channels))
    return np.where(usual > config.spare, 1.0, config.channel_share)


def _units(chain: ChainSpec, window: WindowSpec, middle: float) -> Int64:
    n_times = window.n_times(chain.rate)
    ages = np.arange(n_times - 1, -1, -1, dtype=np.float64) / chain.rate
    sizes = np.abs(hrf(window.lead + middle + ages))
    if sizes.max(initial=0.0) < NO_RESPONSE:
        sizes = np.ones(n_times)
    return np.rint(UNITS * sizes / max(float(sizes.sum()), NO_RESPONSE)).astype(np.int64)
