"""What makes a sample bad: its size, the field, a step, a muscle, a channel that is still.

Each criterion marks what it finds in the flags that all share. Most EEG is far from every
limit, so each first asks, by a bound that no rounding breaks, whether anything of a chunk
can be above; the comparison itself is the same however that is answered.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import signal

from rtfeedback.chain.filters import Filter
from rtfeedback.chain.limits import BLOCK, MUSCLE, STEP, ArtefactLimits
from rtfeedback.chain.spec import ChainSpec
from rtfeedback.signals import Bool, Float64, Int64

GROUP = 0.05  # of the channels: so many above their limit are a muscle
BESIDE = 0.6  # of the limit is then enough in the others
SMALLEST = 1e-12  # V: a limit of zero is above nothing, and divides nothing
SURELY = 0.999  # of a limit: what a bound leaves below it is below it, however it was rounded
SAMPLED = 16  # a channel that lives shows that in every so many of its samples


class Size:
    """The filtered signal above its channel's limit, or the field over all above its own."""

    def __init__(self, limits: ArtefactLimits) -> None:
        self._amplitude = np.array(limits.amplitude)
        self._field = limits.field
        self._none_is_zero = bool((self._amplitude >= SMALLEST).all())
        self._per_limit = (1 / np.maximum(self._amplitude, SMALLEST)).astype(np.float32)
        self._most_energy = SURELY * limits.field**2 * len(self._amplitude)

    def mark(self, x: Float64, bad: Bool) -> None:
        """Mark where x, shape (n_times, n_channels), is too large."""
        with np.errstate(over="ignore"):  # what overflows is above
            relative = x.astype(np.float32)  # half the memory, and fine enough to rule out
            relative *= self._per_limit
        if max(relative.max(), -relative.min()) > SURELY or not self._none_is_zero:
            bad |= np.abs(x) > self._amplitude
        energy = np.einsum("tc,tc->t", relative, relative)
        rows = np.flatnonzero(energy > self._most_energy)
        if len(rows):
            bad[rows[field(x.take(rows, axis=0), self._amplitude) > self._field]] = True


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
        lag, n = self._lag, len(x)
        changes = np.empty_like(x)
        np.subtract(x[:lag], self._past[:n], out=changes[:lag])
        np.subtract(x[lag:], x[: max(0, n - lag)], out=changes[lag:])
        newest = np.concatenate([self._past, x[-lag:]]) if n < lag else x[n - lag :].copy()
        self._past = newest[-lag:]
        return np.abs(changes, out=changes)


class Muscle:
    """The running power of a signal above 30 Hz, or above 0.6 of a lower Nyquist frequency.

    It is an exponential mean of the squares. A recursion over each sample would cost as
    much as a filter of the eighth order, so it is carried from block to block, of the
    mean's own time, by one weighted sum of fixed shape; inside a block it is worked out
    only where it can have passed a limit.

    Parameters
    ----------
    spec : ChainSpec
    limits : float64, shape (n_channels,), optional
        Of the running rms, in volts.
    """

    def __init__(self, spec: ChainSpec, limits: Float64 | None = None) -> None:
        above, seconds = MUSCLE
        above = min(above, 0.3 * spec.sfreq)
        self._keep = np.exp(-1 / (seconds * spec.sfreq))
        self._n_block = max(1, round(seconds * spec.sfreq))
        ages = np.arange(self._n_block - 1, -1, -1)
        self._weights = (1 - self._keep) * self._keep**ages
        self._fast = Filter(signal.butter(4, above, "highpass", fs=spec.sfreq, output="sos"))
        self._squares = np.zeros((self._n_block, len(spec.channels)))
        self._limits = np.zeros(len(spec.channels)) if limits is None else limits**2
        self._group = max(2, GROUP * len(spec.channels))
        self.reset()

    def reset(self) -> None:
        """Forget the past; the next sample begins a segment."""
        self._fast.reset()
        self._before: Float64 | None = None  # the power before the block
        self._filled = 0
        self._sum = np.zeros(self._squares.shape[1])

    def __call__(self, x: Float64) -> Float64:
        """Return the power in V**2, shape (n_times, n_channels)."""
        every = np.arange(x.shape[1])
        parts = [self._power(rows.stop - rows.start, every) for rows in self._advance(x)]
        return np.concatenate([np.empty((0, x.shape[1])), *parts])

    def mark(self, x: Float64, bad: Bool) -> None:
        """Mark where the power is above its limit; beside a group of such channels, less."""
        for rows in self._advance(x):
            if len(self._near(self._limits)):
                self._mark(bad[rows])

    def _mark(self, bad: Bool) -> None:
        above = self._above(self._limits, len(bad))
        bad |= above
        # A muscle lies under many channels: beside some above, less is enough.
        group = above.sum(axis=1) >= self._group
        if group.any():
            bad |= group[:, None] & self._above(BESIDE**2 * self._limits, len(bad))

    def _above(self, limits: Float64, n: int) -> Bool:
        """Return where the power of the block's n newest samples is above limits."""
        above, columns = np.zeros((n, len(limits)), dtype=np.bool_), self._near(limits)
        above[:, columns] = self._power(n, columns) > limits[columns]
        return above

    def _near(self, limits: Float64) -> Int64:
        """Return the channels whose power may have passed a limit in the block so far."""
        # It has not passed the sum of all squares, as if none had faded.
        most = (1 - self._keep) * self._sum
        most += self._before
        return np.flatnonzero(most > SURELY * limits)

    def _advance(self, x: Float64) -> Iterator[slice]:
        """Yield which rows of x were squared into the block, a block at a time."""
        fast, first = self._fast(x), 0
        while first < len(fast):
            rows = slice(first, min(len(fast), first + self._n_block - self._filled))
            filled = self._filled + rows.stop - first
            new = self._squares[self._filled : filled]
            np.multiply(fast[rows], fast[rows], out=new)
            if self._before is None:
                self._before = new[0].copy()
            self._sum += np.einsum("tc,tc->c", fast[rows], fast[rows])
            self._filled, first = filled, rows.stop
            yield rows
            if self._filled == self._n_block:
                self._begin_block(self._before)

    def _begin_block(self, before: Float64) -> None:
        added = np.einsum("t,tc->c", self._weights, self._squares)
        self._before = self._keep**self._n_block * before + added
        self._filled = 0
        self._sum[:] = 0.0

    def _power(self, n: int, columns: Int64) -> Float64:
        """Return the power at the block's newest samples, shape (n, len(columns))."""
        assert self._before is not None
        keep, squares = self._keep, self._squares[: self._filled].take(columns, axis=1)
        before = keep * self._before[None, columns]
        power, _ = signal.lfilter([1 - keep], [1.0, -keep], squares, axis=0, zi=before)
        return np.asarray(power[len(power) - n :])


class Flat:
    """Whether a channel stood still over the newest whole block, counted from the start."""

    def __init__(self, spec: ChainSpec, limits: Float64) -> None:
        self._n_block = max(2, round(BLOCK * spec.sfreq))
        self._limits = limits
        self.reset()

    def reset(self) -> None:
        """Forget the past; the next sample begins a segment."""
        self._flat = np.zeros(len(self._limits), dtype=np.bool_)
        self._begin_block()

    def _begin_block(self) -> None:
        self._filled, self._all_moved = 0, False
        self._low = np.full(len(self._limits), np.inf)
        self._high = np.full(len(self._limits), -np.inf)

    def mark(self, x: Float64, bad: Bool) -> None:
        """Mark where x, shape (n_times, n_channels), is flat."""
        first = 0
        while first < len(x):
            stop = min(len(x), first + self._n_block - self._filled)
            self._look(x[first:stop])
            self._filled += stop - first
            ends = self._filled == self._n_block
            bad[first : stop - ends] |= self._flat
            if ends:
                self._flat = self._high - self._low <= self._limits
                bad[stop - 1] |= self._flat
                self._begin_block()
            first = stop

    def _look(self, x: Float64) -> None:
        """Take in the range of x, as far as it takes to know that all channels live."""
        for part in (x[::SAMPLED], x):
            if self._all_moved:
                return
            np.minimum(self._low, part.min(axis=0), out=self._low)
            np.maximum(self._high, part.max(axis=0), out=self._high)
            self._all_moved = bool((self._high - self._low > self._limits).all())
