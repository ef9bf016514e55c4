"""How a stream keeps time: rate, jitter, losses and lag, out of its stamps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rtfeedback.doctor.finding import Finding, fail, ok, warn
from rtfeedback.doctor.listening import Heard
from rtfeedback.online.timeline import (
    GAP,
    RATE_JITTER,
    RATE_SPAN,
    RATE_TOLERANCE,
    Timeline,
)
from rtfeedback.signals import Bool, Chunk, Float64

# What a run allows once it has heard the stream for its whole span.
TOLERANCE = RATE_TOLERANCE + RATE_JITTER / RATE_SPAN
LEAST = 1.0  # s of stamps without a break, below which no rate is measured
SURE = 2.0  # standard errors
OLD = 0.25  # s that EEG may be old, or ahead, when it arrives
FAST = 1.5  # times the pace of the stamps, that nothing live has
JITTERY = 0.5  # of the gap's threshold

_End = tuple[int, int, float]  # segment, number and stamp of a chunk's last sample


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate measured on stamps.

    Attributes
    ----------
    sfreq : float
        Hertz.
    error : float
        Standard error of `sfreq`, in hertz.
    jitter : float
        Standard deviation of the stamps around an even spacing, in seconds.
    seconds : float
        What it was measured over.
    """

    sfreq: float
    error: float
    jitter: float
    seconds: float


def measure_rate(indices: Sequence[int], stamps: Sequence[float]) -> Rate | None:
    """Fit a line through stamps by least squares.

    Parameters
    ----------
    indices : sequence of int
        Number of each sample.
    stamps : sequence of float
        Its stamp, in seconds. The last ones of chunks do: those before them are often
        spaced by the nominal rate and tell nothing.

    Returns
    -------
    rate : Rate or None
        None where there are too few to say.
    """
    if len(indices) < 4 or stamps[-1] - stamps[0] < LEAST:
        return None
    x = np.asarray(indices, dtype=np.float64)
    y: Float64 = np.asarray(stamps, dtype=np.float64) - stamps[0]
    x -= x.mean()
    spread = float(x @ x)
    period = float(x @ y) / spread
    residual = y - y.mean() - period * x
    variance = float(residual @ residual) / (len(x) - 2)
    if period <= 0:
        return None
    error = float(np.sqrt(variance / spread)) / period**2
    return Rate(1 / period, error, float(np.sqrt(variance)), float(y[-1]))


def check_timing(
    heard: Heard,
    sfreq: float,
    usable: Callable[[Chunk], Bool],
    *,
    gap: float = GAP,
    needs: float = 0.0,
) -> Iterator[Finding]:
    """Judge rate, losses and lag of what was heard, on the timeline of a run.

    Parameters
    ----------
    heard : Heard
        Holds a chunk at least.
    sfreq : float
        Stated rate, in hertz.
    usable : callable
        Tells which samples of a chunk are; see `Chain.usable`.
    gap : float
        A jump of the stamps by more than this, in seconds, is a gap.
    needs : float
        Seconds after a gap until a window is whole again.
    """
    timeline = Timeline(sfreq, gap)
    ends = _chunk_ends(heard, timeline, usable)
    yield _judge_rate(_longest(ends), timeline)
    yield _judge_losses(timeline, needs)
    if heard.lags:
        yield _judge_lag(heard)


def _chunk_ends(
    heard: Heard, timeline: Timeline, usable: Callable[[Chunk], Bool]
) -> list[_End]:
    ends = []
    for chunk in heard.chunks:
        pieces = list(timeline.push(chunk, usable(chunk)))
        if pieces:
            last = pieces[-1]
            sample = last.first_sample + len(last.stamps) - 1
            ends.append((last.segment, sample, float(last.received_stamps[-1])))
    return ends


def _longest(ends: list[_End]) -> list[_End]:
    """Return the segment with the most; all, where the breaks leave none of use."""
    segments = {segment for segment, _, _ in ends}
    parts = [[end for end in ends if end[0] == segment] for segment in segments]
    best = max(parts, key=len, default=[])
    return best if len(best) >= 4 and best[-1][2] - best[0][2] >= LEAST else ends


def _judge_rate(ends: list[_End], timeline: Timeline) -> Finding:
    sfreq = timeline.sfreq
    rate = measure_rate([end[1] for end in ends], [end[2] for end in ends])
    if rate is None:
        return warn(
            "rate",
            f"Too few stamps without a break to measure whether it is {sfreq:g} Hz",
            "Listen for longer: --duration 20",
        )
    off = rate.sfreq / sfreq - 1
    found = (
        f"{rate.sfreq:.3f} Hz measured over {rate.seconds:.1f} s, {sfreq:g} Hz stated"
        f" ({100 * off:+.3f} %, standard error {100 * rate.error / sfreq:.3f} %);"
        f" jitter {1000 * rate.jitter:.2f} ms"
    )
    sure = SURE * rate.error / sfreq
    if not timeline.rate_is_nominal or abs(off) > TOLERANCE + sure:
        do = f"Set the amplifier to {sfreq:g} Hz, or have its program state the rate it sends"
        return fail("rate", found, do)
    if sure > TOLERANCE:
        return warn("rate", found, "Too jittery to tell: listen for longer, --duration 60")
    if rate.jitter > JITTERY * timeline.gap:
        do = "Raise [stream] gap in --config, or jitter will pass for gaps"
        return warn("rate", found, do)
    return ok("rate", found)


def _judge_losses(timeline: Timeline, needs: float) -> Finding:
    gaps, seconds = timeline.segment, (timeline.received + timeline.lost) / timeline.sfreq
    if gaps <= 0 and not timeline.lost:
        return ok("losses", f"No gap in {timeline.received} samples")
    found = (
        f"{timeline.lost} samples lost in {max(gaps, 0)} gaps within {seconds:.1f} s"
        + f"; after each, feedback is invalid for {needs:.1f} s" * bool(needs)
    )
    do = "Use a wired network, a nearer receiver, or fewer programs on this machine"
    # One gap may be chance; where they come again before a window is whole, none ever is.
    if gaps >= 2 and needs and seconds / gaps < needs:
        return fail("losses", found, do)
    return warn("losses", found, do)


def _judge_lag(heard: Heard) -> Finding:
    lag, worst = float(np.median(heard.lags)), max(heard.lags, key=abs)
    received = np.array([chunk.received for chunk in heard.chunks])
    interval = float(np.median(np.diff(received))) if len(received) > 1 else heard.seconds
    pace = 1 - (heard.lags[-1] - heard.lags[0]) / heard.seconds
    if pace > FAST:
        return ok("lag", f"Samples come {pace:.1f} times faster than their stamps: a recording")
    found = (
        f"The newest sample is {1000 * lag:.1f} ms old when it arrives"
        f" ({1000 * worst:.1f} ms at worst); a chunk comes each {1000 * interval:.0f} ms"
    )
    if lag > OLD:
        return warn("lag", found, "Shorten the buffer or block size of the amplifier's program")
    if lag < -OLD:
        return warn("lag", found, "The stamps are ahead of the clock: have them set by LSL")
    return ok("lag", found)
