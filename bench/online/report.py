"""The results as Markdown: what was done, a table for each shape, and the bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np

from bench.online.bars import p50, ratios, verdicts
from bench.online.contenders import FLOOR
from bench.online.rounds import ShapeResults
from bench.online.trial import Measured
from bench.tables import markdown_table, provenance

HEADER = (
    *("contender", "latency p50 ms", "p95", "p99", "x floor", "function p50 ms"),
    *("CPU s/s", "x floor", "peak MB", "lost", "missed", "invalid", "values", "other load"),
)

INTRODUCTION = """\
A sender streams noise of 20 µV over LSL in an amplifier's pace. The contender keeps the
last seconds, and at each hop publishes JSON over ZeroMQ; this benchmark receives it.
*Latency* is from the push of the chunk with the window's newest sample to the receipt.
*Function*: what of it the contender's function takes, as it says (a rival is not asked to
copy the window for it). *CPU*: of the contender's processes, seconds per second. *Missed*:
values that were due and did not come. *Other load*: cores that all else kept busy, by the
kernel's ticks, which see little of short work. The *floor* blocks in liblsl for what is
missing to the hop, computes mean power in a view of its ring and sends it, in one thread;
*mne-lsl-manual* sleeps until 3 ms before each hop and acquires by hand from then on.
*Arithmetic*: `Chain.push` of the block at which a hop falls due, and the `Predictor`, at the
stream's pace, in a process without LSL. Percentiles are over the values of all rounds;
ratios, CPU and the bars are medians over the rounds, in which all contenders take turns.
"""


def report(results: Sequence[ShapeResults], command: str) -> str:
    """Return the page's section."""
    rounds = max(len(each) for result in results for each in result.measured.values())
    parts = [provenance(command) + f"{rounds} interleaved rounds.\n", INTRODUCTION]
    for result in results:
        parts.append(result.shape.title + "\n")
        parts.append(markdown_table(HEADER, _rows(result)))
        parts += [f"{why}\n" for why in dict.fromkeys(result.absent)]
        if result.arithmetic:
            parts.append(_arithmetic(result))
    parts.append("\n".join(map(str, verdicts(results))) + "\n")
    return "\n".join(parts)


def _rows(result: ShapeResults) -> Iterator[list[str]]:
    floor = result.measured.get(FLOOR)
    for contender, measured in result.measured.items():
        yield [contender, *_row(measured, floor)]


def _row(measured: Sequence[Measured], floor: Sequence[Measured] | None) -> Iterator[str]:
    latency = np.concatenate([m.latency for m in measured])
    function = np.concatenate([m.functions for m in measured])
    yield from (f"{1000 * p:.2f}" if np.isfinite(p) else "-" for p in _percentiles(latency))
    yield _times([p50(m) for m in measured], [p50(m) for m in floor or ()])
    yield f"{1000 * np.median(function):.2f}" if len(function) else "-"
    yield f"{median(m.cpu for m in measured):.4f}"
    yield _times([m.cpu for m in measured], [m.cpu for m in floor or ()])
    yield f"{max(m.peak for m in measured):.0f}"
    for what in ("lost", "missed", "invalid"):
        yield str(sum(getattr(m, what) for m in measured))
    yield str(len(latency))
    yield f"{median(m.other for m in measured):.1f}"


def _percentiles(latency: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    if not len(latency):
        return [np.inf] * 3
    return [float(p) for p in np.percentile(latency, [50, 95, 99])]


def _times(mine: Sequence[float], floor: Sequence[float]) -> str:
    times = median(ratios(mine, floor)) if floor else np.inf
    return f"{times:.2f}" if np.isfinite(times) else "-"


def _arithmetic(result: ShapeResults) -> str:
    """Say what chain and model take, for each size of block."""
    said = []
    for each in zip(*result.arithmetic, strict=True):
        latency, cpu = median(a.latency for a in each), median(a.cpu for a in each)
        said.append(f"{1000 * latency:.2f} ms, {cpu:.4f} s/s (blocks of {each[0].block})")
    return f"Arithmetic: {'; '.join(said)}.\n"
