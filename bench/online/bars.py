"""The bars, and whether they are met.

The floor computes the trivial model's function itself. It is taken out of the floor before
the chain's and model's arithmetic is added: else it would be granted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from bench.online.contenders import FLOOR, OURS, RIVALS
from bench.online.rounds import ShapeResults
from bench.online.trial import Measured

LATENCY, CPU = 1.3, 1.5  # times the floor's
TAIL = 0.020  # s
SINGLE = 2.0  # times the CPU with chunks of 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bar: what was asked, whether it was met."""

    met: bool
    said: str

    def __str__(self) -> str:
        return f"- {'pass' if self.met else '**FAIL**'}: {self.said}"


def verdicts(results: Sequence[ShapeResults]) -> Iterator[Verdict]:
    """Yield whether each bar is met that these results can tell of."""
    for result in results:
        if OURS in result.measured:
            yield from _of_shape(result)
    by_name = {result.shape.name: result for result in results}
    if {"fast", "single"} <= by_name.keys() and OURS in by_name["fast"].measured:
        yield _of_chunks(by_name["fast"], by_name["single"])


def p50(measured: Measured) -> float:
    """Return the median latency in seconds; infinite where no value came."""
    return float(np.median(measured.latency)) if len(measured.latency) else np.inf


def ratios(mine: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return the ratio in each round."""
    return [a / b for a, b in zip(mine, others, strict=True)]


def _of_shape(result: ShapeResults) -> Iterator[Verdict]:
    ours, name = result.measured[OURS], result.shape.name
    if FLOOR in result.measured:
        yield _of_latency(result, result.measured[FLOOR])
        yield _of_cpu(result, result.measured[FLOOR])
    own = median(min(a.latency for a in each) for each in result.arithmetic)
    tail = _percentile(ours, 99)
    yield Verdict(
        tail < TAIL + own,
        f"{name}: p99 {_ms(tail)}, under {_ms(TAIL + own)}"
        f" (20 ms and {_ms(own)} of arithmetic)",
    )
    whole = [sum(getattr(m, what) for m in ours) for what in ("lost", "missed", "invalid")]
    yield Verdict(
        not any(whole),
        f"{name}: {whole[0]} samples lost, {whole[1]} values missed, {whole[2]} invalid",
    )
    for rival in RIVALS:
        if rival in result.measured:
            yield _of_rival(result, rival)


def _of_latency(result: ShapeResults, floor: Sequence[Measured]) -> Verdict:
    bar = _Bar(
        factor=LATENCY,
        mine=[p50(m) for m in result.measured[OURS]],
        floor=[p50(f) for f in floor],
        function=[float(np.median(f.functions)) for f in floor],
        arithmetic=[min(a.latency for a in each) for each in result.arithmetic],
    )
    return bar.verdict(f"{result.shape.name}: p50", _ms)


def _of_cpu(result: ShapeResults, floor: Sequence[Measured]) -> Verdict:
    bar = _Bar(
        factor=CPU,
        mine=[m.cpu for m in result.measured[OURS]],
        floor=[f.cpu for f in floor],
        function=[f.functions_cpu for f in floor],
        arithmetic=[min(a.cpu for a in each) for each in result.arithmetic],
    )
    return bar.verdict(f"{result.shape.name}: CPU", lambda cpu: f"{cpu:.4f} s/s")


@dataclass(frozen=True, slots=True)
class _Bar:
    """So many times the floor, and the arithmetic; an item a round."""

    factor: float
    mine: Sequence[float]
    floor: Sequence[float]
    function: Sequence[float]
    arithmetic: Sequence[float]

    def verdict(self, what: str, unit: Callable[[float], str]) -> Verdict:
        """Say whether it is met: strictly, and where the floor's function counts as floor."""
        bare = [f - g for f, g in zip(self.floor, self.function, strict=True)]
        share = self._share(bare)
        return Verdict(
            share <= 1,
            f"{what} {unit(median(self.mine))} is {share:.2f} of what is allowed:"
            f" {self.factor} x the floor's {unit(median(bare))} and"
            f" {unit(median(self.arithmetic))} of arithmetic"
            f" ({self._share(self.floor):.2f} with the floor's own function in it)",
        )

    def _share(self, floor: Sequence[float]) -> float:
        bars = [self.factor * f + a for f, a in zip(floor, self.arithmetic, strict=True)]
        return median(ratios(self.mine, bars))


def _of_rival(result: ShapeResults, rival: str) -> Verdict:
    ours, theirs = result.measured[OURS], result.measured[rival]
    latency = ratios([p50(m) for m in theirs], [p50(m) for m in ours])
    cpu = ratios([m.cpu for m in theirs], [m.cpu for m in ours])
    return Verdict(
        min(latency) > 1 and min(cpu) > 1,
        f"{result.shape.name}: ahead of {rival} in each of {len(ours)} rounds;"
        f" its latency is {_list(latency)} x ours, its CPU {_list(cpu)} x",
    )


def _of_chunks(fast: ShapeResults, single: ShapeResults) -> Verdict:
    def times(who: str) -> float:
        return median(
            ratios([m.cpu for m in single.measured[who]], [m.cpu for m in fast.measured[who]])
        )

    floor = f" (the floor: {times(FLOOR):.2f} x)" if FLOOR in single.measured else ""
    return Verdict(
        times(OURS) <= SINGLE,
        f"chunks of 1 sample cost {times(OURS):.2f} x the CPU of chunks of 10,"
        f" at most {SINGLE:g} x{floor}",
    )


def _percentile(measured: Sequence[Measured], percent: float) -> float:
    """Return a percentile over the values of all rounds."""
    latency = np.concatenate([m.latency for m in measured])
    return float(np.percentile(latency, percent)) if len(latency) else np.inf


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms"


def _list(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.1f}" for number in numbers)
