"""Which outputs of which channels an artefact lies in."""

from __future__ import annotations

import numpy as np
from scipy import signal

from rtfeedback.chain.filters import Filter
from rtfeedback.chain.front import Signals
from rtfeedback.chain.limits import BLOCK, MUSCLE, STEP, ArtefactConfig, ArtefactLimits
from rtfeedback.chain.spec import ChainSpec
from rtfeedback.signals import Bool, Float64, Int64

LONG_AGO = -(2**62)
GROUP = 0.05  # of the channels: so many above their limit are a muscle
BESIDE = 0.6  # of the limit is then enough in the others
SMALLEST = 1e-12  # V: a limit of zero is above nothing, and divides nothing


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
        self._amplitude = np.array(limits.amplitude)
        self._step = np.array(limits.step)
        self._field = limits.field
        self._muscle_limit = np.array(limits.muscle) ** 2
        self._steps, self._muscle = Steps(spec), Muscle(spec)
        self._flat = Flat(spec, np.array(limits.flat))
        self.reset()

    def reset(self) -> None:
        """Forget the past; the next sample begins a segment."""
        self._seen = 0
        self._last_bad = np.full(len(self._amplitude), LONG_AGO, dtype=np.int64)
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
        at = index - self._seen
        last_bad = self._judge(signals)
        return np.asarray(index[:, None] - last_bad[at] < self._span)

    def _judge(self, signals: Signals) -> Int64:
        """Return the newest bad sample so far, shape (n_times, n_channels)."""
        n_times = len(signals.filtered)
        bad = np.abs(signals.filtered) > self._amplitude
        bad |= self._steps(signals.broad) > self._step
        bad |= self._contracted(self._muscle(signals.broad))
        bad |= self._flat(signals.recorded)
        bad |= (field(signals.filtered, self._amplitude) > self._field)[:, None]
        index = np.arange(self._seen, self._seen + n_times, dtype=np.int64)
        self._seen += n_times
        if not bad.any():
            return np.broadcast_to(self._last_bad, bad.shape)
        last_bad = np.maximum.accumulate(np.where(bad, index[:, None], self._last_bad), axis=0)
        self._last_bad = last_bad[-1].copy()
        return np.asarray(last_bad)

    def _contracted(self, power: Float64) -> Bool:
        above = power > self._muscle_limit
        group = above.sum(axis=1) >= max(2, GROUP * above.shape[1])
        if group.any():
            # A muscle lies under many channels: beside some above, less is enough.
            above |= group[:, None] & (power > BESIDE**2 * self._muscle_limit)
        return np.asarray(above)


def field(x: Float64, limits: Float64) -> Float64:
    """Return the field over all channels at each sample, shape (n_times,), from 0 to 1.

    The rms of each channel by its limit: the global field power (Lehmann & Skrandies
    1980, doi:10.1016/0013-4694(80)90419-8) of channels that count alike. A channel counts
    up to its limit, so that no single one makes the field.
    """
    relative = np.minimum(np.abs(x) / np.maximum(limits, SMALLEST), 1.0)
    return np.asarray(np.sqrt(np.mean(relative**2, axis=1)))


class Steps:
    """How much a signal changes within 5 ms."""

    def __init__(self, spec: ChainSpec) -> None:
        self._lag = max(1, round(STEP * spec.sfreq))
        self.reset()

    def reset(self) -> None:
        """Forget the past; the next sample begins a segment."""
        self._past: Float64 | None = None

    def __call__(self, x: Float64) -> Float64:
        """Return the size of each change in volts, shape (n_times, n_channels).

        Before a segment's first sample the signal was as it is then.
        """
        if self._past is None:
            self._past = x[:1].repeat(self._lag, axis=0)
        known = np.concatenate([self._past, x])
        self._past = known[len(known) - self._lag :]
        return np.asarray(np.abs(known[self._lag :] - known[: -self._lag]))


class Muscle:
    """The running power of a signal above 30 Hz, or above 0.6 of a lower Nyquist frequency."""

    def __init__(self, spec: ChainSpec) -> None:
        above, seconds = MUSCLE
        above = min(above, 0.3 * spec.sfreq)
        decay = np.exp(-1 / (seconds * spec.sfreq))
        self._fast = Filter(signal.butter(4, above, "highpass", fs=spec.sfreq, output="sos"))
        self._mean = Filter(np.array([[1 - decay, 0, 0, 1, -decay, 0]]))

    def reset(self) -> None:
        """Forget the past; the next sample begins a segment."""
        self._fast.reset()
        self._mean.reset()

    def __call__(self, x: Float64) -> Float64:
        """Return the power in V**2, shape (n_times, n_channels)."""
        return self._mean(self._fast(x) ** 2)


class Flat:
    """Whether a channel stood still over the newest whole block, counted from the start."""

    def __init__(self, spec: ChainSpec, limit: Float64) -> None:
        self._block = max(2, round(BLOCK * spec.sfreq))
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        """Forget the past; the next sample begins a segment."""
        self._flat = np.zeros(len(self._limit), dtype=np.bool_)
        self._filled = 0
        self._low = np.full(len(self._limit), np.inf)
        self._high = np.full(len(self._limit), -np.inf)

    def __call__(self, x: Float64) -> Bool:
        """Return where x is flat, shape (n_times, n_channels)."""
        flat = np.empty(x.shape, dtype=np.bool_)
        first = 0
        while first < len(x):
            stop = min(len(x), first + self._block - self._filled)
            np.minimum(self._low, x[first:stop].min(axis=0), out=self._low)
            np.maximum(self._high, x[first:stop].max(axis=0), out=self._high)
            flat[first:stop] = self._flat
            self._filled += stop - first
            if self._filled == self._block:
                self._flat = self._high - self._low <= self._limit
                flat[stop - 1] = self._flat
                self._begin_block()
            first = stop
        return flat

    def _begin_block(self) -> None:
        self._filled = 0
        self._low.fill(np.inf)
        self._high.fill(-np.inf)
