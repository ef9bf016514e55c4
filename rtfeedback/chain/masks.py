"""Which outputs of which channels an artefact lies in."""

from __future__ import annotations

import numpy as np

from rtfeedback.chain.criteria import Flat, Muscle, Size, Steps
from rtfeedback.chain.front import Signals
from rtfeedback.chain.limits import ArtefactConfig, ArtefactLimits
from rtfeedback.chain.spec import ChainSpec
from rtfeedback.signals import Bool, Int64

LONG_AGO = -(2**62)


class Masks:
    """Judge each sample of each channel at the stream's rate, and what sums it up.

    A sample is bad where the filtered signal, a change within 5 ms or the running rms above
    30 Hz is above the channel's limit, or where the channel is flat; in all channels where
    the field over them is above its limit. An output is
    masked if any sample that it sums up is bad: a token's own, or for a sample those of
    the last `hold` seconds. Only the newest bad sample of each channel is carried, so the
    outcome does not depend on how samples are cut into chunks.
    """

    def __init__(self, spec: ChainSpec, config: ArtefactConfig, limits: ArtefactLimits) -> None:
        power = spec.config.band_power
        if power:
            self._span = power.n_fft(spec.sample_rate) * spec.factor
        else:
            self._span = max(spec.factor, round(config.hold * spec.sfreq))
        self._size, self._flat = Size(limits), Flat(spec, np.array(limits.flat))
        self._steps, self._largest_step = Steps(spec), np.array(limits.step)
        self._muscle = Muscle(spec, np.array(limits.muscle))
        self._n_channels = len(spec.channels)
        self.reset()

    def reset(self) -> None:
        """Forget the past; the next sample begins a segment."""
        self._seen = 0
        self._last_bad = np.full(self._n_channels, LONG_AGO, dtype=np.int64)
        self._steps.reset()
        self._muscle.reset()
        self._flat.reset()

    def __call__(self, signals: Signals, index: Int64) -> Bool:
        """Judge new samples, and return which outputs are masked.

        Parameters
        ----------
        signals : Signals
        index : int64, shape (n_out,)
            Of the newest sample in each output that these samples complete.

        Returns
        -------
        bool, shape (n_out, n_channels)
        """
        bad = np.zeros(signals.filtered.shape, dtype=np.bool_)
        self._size.mark(signals.filtered, bad)
        bad |= self._steps(signals.broad) > self._largest_step
        self._muscle.mark(signals.broad, bad)
        self._flat.mark(signals.recorded, bad)
        last_bad = self._newest(bad, index - self._seen)
        self._seen += len(bad)
        return np.asarray(index[:, None] - last_bad < self._span)

    def _newest(self, bad: Bool, at: Int64) -> Int64:
        """Return the newest bad sample as of some of the new ones, shape (n_out, n_channels).

        Parameters
        ----------
        bad : bool, shape (n_times, n_channels)
        at : int64, shape (n_out,)
            Which rows of `bad`.
        """
        newest = self._last_bad[None].repeat(len(at), axis=0)
        columns = np.flatnonzero(bad.any(axis=0)) if bad.any() else ()
        if len(columns):  # of most channels nothing is to be told anew
            index = np.arange(self._seen, self._seen + len(bad), dtype=np.int64)
            known = np.where(bad[:, columns], index[:, None], self._last_bad[columns])
            np.maximum.accumulate(known, axis=0, out=known)
            newest[:, columns] = known[at]
            self._last_bad[columns] = known[-1]
        return newest
