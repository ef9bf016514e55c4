"""Segments, gaps and smooth stamps out of the stamps that were received.

liblsl's own dejitter hides lost samples and then lies about time for minutes, so it is
never asked for. Here a break in the stamps begins a segment, and inside a segment a
fixed-gain second-order loop smooths them; both give the same whatever the chunks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import signal

from rtfeedback.signals import Bool, Chunk, Float32, Float64

LOOP_FREQUENCY = 0.05  # Hz: slow against jitter, fast against clock drift
GAP = 0.02  # s: declared threshold; a jump below it counts as jitter

LATE = 10  # s in which a jump back makes up for a gap

RATE_TOLERANCE = 1e-3  # of the nominal rate; clocks of amplifiers are some 20 times better
RATE_SPAN = 60  # s that the rate is measured over, at most
RATE_JITTER = 0.015  # s that smoothed stamps may be off at either end of that span
BEFORE = 0.1  # s before a whole second of its samples that a segment's seconds end


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive samples of one segment.

    Attributes
    ----------
    samples : float32, shape (n_times, n_channels)
    received_stamps, stamps : float64, shape (n_times,)
        As received, and smoothed.
    segment : int
        Counted from 0 over the run.
    begins : bool
        Whether this piece begins its segment.
    lost : int
        Samples missing before this piece, as the jump of the stamps tells.
    first_sample : int
        Absolute index of its first sample, counted over all that the run received.
    """

    samples: Float32
    received_stamps: Float64
    stamps: Float64
    segment: int
    begins: bool
    lost: int
    first_sample: int


class Beginning(NamedTuple):
    """A segment, the absolute index of its first sample, and samples lost before it."""

    segment: int
    sample: int
    lost: int


class Timeline:
    """Cut chunks into pieces of segments and smooth their stamps.

    A piece ends with each second of its segment's samples, so that what is found out over
    seconds is found out at the same sample however the chunks are cut. Seconds end with the
    sample a tenth before whole ones, as hops and TRs end at these, or with that sample: who
    waits for a window waits for no judgement of a second, while the stamps keep the rate.

    Parameters
    ----------
    sfreq : float
        Nominal rate in hertz.
    gap : float
        A jump of the stamps by more than this, in seconds, is a break.

    Attributes
    ----------
    segment : int
        The last one begun, counted from 0; -1 before the first.
    begun : list of Beginning
        Segments that have begun; who tells them empties it.
    received, lost : int
        Samples, over the run. A jump back within ten seconds of a gap shows that so many
        of its samples were not lost but late.
    rate : float or None
        Samples a second over the last minute of the segment, by the stamps; None in its
        first second. Losses too small to be counted one by one lower it.
    rate_is_nominal : bool
        Whether `rate` is the stated one, to 0.1 % and 15 ms of jitter.
    second_is_over : bool
        Whether a second ended with the last piece.
    """

    def __init__(self, sfreq: float, gap: float = GAP) -> None:
        self.sfreq = sfreq
        self.gap = max(gap, 0.5 / sfreq)
        pole = np.exp(-2 * np.pi * LOOP_FREQUENCY / sfreq)
        alpha, beta = 1 - pole**2, (1 - pole) ** 2
        # As numerator and denominator: on so few samples `sosfilt` takes seven times longer.
        self._loop = np.array([alpha, beta - alpha, 0]), np.array([1, -2 * pole, pole**2])
        self.segment = -1
        self.begun: list[Beginning] = []
        self.received = 0
        self.lost = 0
        self._start: float | None = None
        self._n = 0  # samples of the segment so far
        self._gained, self._gap_at = 0, 0  # samples by the last gaps, and when that was
        self._told = 0  # samples lost when the last segment began
        self._broken = False
        self._second = max(1, round(sfreq))  # in samples
        self._before = round(BEFORE * sfreq) - 1
        self.second_is_over = False
        # Samples, and the seconds that the stamps are off the nominal rate, at each second.
        self._drift: deque[tuple[int, float, float]] = deque(maxlen=RATE_SPAN + 1)
        self.rate: float | None = None
        self.rate_is_nominal = True

    @property
    def left(self) -> int:
        """Return how many samples the second that is under way still lacks."""
        return self._second - (self._n + self._before) % self._second

    def break_here(self) -> None:
        """Let the next sample begin a segment: another outlet, or a restart."""
        self._broken = True

    def push(self, chunk: Chunk, usable: Bool | None = None) -> Iterator[Piece]:
        """Yield the pieces of a chunk.

        Parameters
        ----------
        chunk : Chunk
        usable : bool, shape (n_times,), optional
            Samples that are not, such as NaN, count as lost; see `Chunk.usable`.
        """
        if usable is None:
            usable = chunk.usable()
        for first, last in _runs(usable):
            samples, stamps = chunk.samples[first:last], chunk.stamps[first:last]
            if usable[first]:
                yield from self._split(samples, stamps, self.received)
            else:
                self._skip(last - first)
            self.received += last - first

    def _skip(self, n: int) -> None:
        self.lost += n
        self._n += n  # they had their time, so the jump after them is none
        self._broken = True

    def _split(self, samples: Float32, stamps: Float64, sample: int) -> Iterator[Piece]:
        while len(stamps):
            n = self.left
            residual = self._residual(stamps[:n])
            jump = 0.0 if self._start is None else float(residual[0]) - self._last
            if self._start is None or self._broken or abs(jump) > self.gap:
                yield self._begin(samples, stamps, sample, jump)
                n = 1
            else:
                n = _until_jump(residual, self.gap)
                yield self._continue(samples[:n], stamps[:n], residual[:n], sample)
            samples, stamps, sample = samples[n:], stamps[n:], sample + n

    def _residual(self, stamps: Float64) -> Float64:
        start = 0.0 if self._start is None else self._start
        return stamps - (start + np.arange(self._n, self._n + len(stamps)) / self.sfreq)

    def _begin(self, samples: Float32, stamps: Float64, sample: int, jump: float) -> Piece:
        lost = self._count_lost(jump)
        self.segment += 1
        self.begun.append(Beginning(self.segment, sample, max(0, self.lost - self._told)))
        self._told = self.lost
        self._start, self._n, self._last = float(stamps[0]), 1, 0.0
        self._state = np.zeros(2)
        self._broken = False
        self._drift.clear()
        self._measure(0.0, 0.0)
        self.second_is_over = False
        return Piece(samples[:1], stamps[:1], stamps[:1], self.segment, True, lost, sample)

    def _count_lost(self, jump: float) -> int:
        """Return how many samples a jump of the stamps says are missing, and count them."""
        lost = round(jump * self.sfreq) if abs(jump) > self.gap else 0
        if self.received - self._gap_at > LATE * self.sfreq:
            self._gained = 0
        if lost < 0:
            lost = -min(-lost, self._gained)
        self._gap_at, self._gained = self.received, self._gained + lost
        self.lost += lost
        return max(0, lost)

    def _continue(
        self, samples: Float32, stamps: Float64, residual: Float64, sample: int
    ) -> Piece:
        smooth, self._state = signal.lfilter(*self._loop, residual, zi=self._state)
        smoothed = stamps - residual + smooth
        self._n += len(stamps)
        self._last = float(residual[-1])
        self.second_is_over = self.left == self._second
        if self.second_is_over:
            self._measure(self._last, float(smooth[-1]))
        return Piece(samples, stamps, smoothed, self.segment, False, 0, sample)

    def _measure(self, raw: float, smooth: float) -> None:
        """Take note of how far the stamps are off the nominal rate by now, in seconds."""
        self._drift.append((self._n, raw, smooth))
        first, first_raw, first_smooth = self._drift[0]
        span = (self._n - first) / self.sfreq
        # Smoothed stamps tell jitter from drift, and follow a drift only after seconds.
        self.rate = self.sfreq / (1 + (raw - first_raw) / span) if span else None
        gained = abs(smooth - first_smooth)
        self.rate_is_nominal = gained <= RATE_TOLERANCE * span + RATE_JITTER


def _until_jump(residual: Float64, gap: float) -> int:
    """Return how many samples there are before the first jump by more than a gap."""
    jumps = np.abs(residual[1:] - residual[:-1]) > gap
    return 1 + int(jumps.argmax()) if jumps.any() else len(residual)


def _runs(flags: Bool) -> list[tuple[int, int]]:
    """Return first and last + 1 of each run of equal flags."""
    if np.count_nonzero(flags) == len(flags):
        return [(0, len(flags))] if len(flags) else []
    edges = np.flatnonzero(np.diff(flags)) + 1
    return list(pairwise([0, *edges.tolist(), len(flags)]))
