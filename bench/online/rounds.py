"""All contenders in turn, round after round, each round in another order."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from bench.online.contenders import FLOOR, OURS, RIVALS, Model, arithmetic_of, command_of
from bench.online.shapes import Shape
from bench.online.trial import Measured, run_trial
from bench.rivals.environments import NotInstallableError


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What chain and model cost by themselves, in blocks of one size.

    Attributes
    ----------
    block : int
        Samples.
    latency : float
        Median seconds of the block at which a hop falls due, and of the prediction.
    cpu : float
        CPU seconds per second of stream.
    """

    block: int
    latency: float
    cpu: float


@dataclass(slots=True)
class ShapeResults:
    """What one shape's rounds showed; round i is item i of each list.

    Attributes
    ----------
    measured : dict of str to list of Measured
        By contender, in the order in which they are reported.
    arithmetic : list of list of Arithmetic
        In each round one for each size of block.
    absent : list of str
        Why a contender did not take part.
    """

    shape: Shape
    measured: dict[str, list[Measured]] = field(default_factory=dict)
    arithmetic: list[list[Arithmetic]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


def run_rounds(
    shapes: Sequence[Shape],
    contenders: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    folder: Path,
) -> list[ShapeResults]:
    """Measure each contender at each shape, as often as there are rounds.

    Parameters
    ----------
    shapes : sequence of Shape
    contenders : sequence of str
        Rivals take part where the function is the trivial one and chunks are usual.
    rounds : int
    seconds : float
        To be measured of each.
    folder : Path
        Empty.
    """
    models = {shape.name: Model.make(shape, folder / shape.name) for shape in shapes}
    results = [ShapeResults(shape) for shape in shapes]
    for i in range(rounds):
        for result in results:
            _run_round(result, models[result.shape.name], contenders, i, seconds, folder)
    return results


def _run_round(
    result: ShapeResults,
    model: Model,
    contenders: Sequence[str],
    i: int,
    seconds: float,
    folder: Path,
) -> None:
    shape = result.shape
    taking_part = [c for c in contenders if c not in RIVALS or _suits_rivals(shape)]
    result.measured = result.measured or {contender: [] for contender in taking_part}
    if OURS in contenders:
        result.arithmetic.append(list(_arithmetic(shape, model, seconds)))
    turn = i % len(taking_part)
    for contender in (*taking_part[turn:], *taking_part[:turn]):
        if contender not in result.measured:
            continue  # it does not install
        try:
            command = command_of(contender, shape, model)
        except NotInstallableError as error:
            result.absent.append(str(error))
            del result.measured[contender]
            continue
        where = folder / f"{shape.name}-{contender}-{i}"
        measured = run_trial(command, shape, model.labels, shape.seconds(seconds), where)
        result.measured[contender].append(measured)
        _say(f"round {i + 1} {shape.name} {contender}: {_brief(measured)}")


def _arithmetic(shape: Shape, model: Model, seconds: float) -> Iterator[Arithmetic]:
    for block in sorted({shape.block, round(shape.hop * shape.rate)}):
        took, cpu = arithmetic_of(shape, model, block, shape.seconds(seconds))
        yield Arithmetic(block, median(took), cpu)
        cost = f"{1000 * median(took):.2f} ms, {cpu:.4f} s/s"
        _say(f"{shape.name} arithmetic, block {block}: {cost}")


def _suits_rivals(shape: Shape) -> bool:
    return shape.trivial and shape.chunk > 1


def _brief(measured: Measured) -> str:
    if not len(measured.latency):
        return "no value"
    p50, p99 = 1000 * np.percentile(measured.latency, [50, 99])
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, CPU {measured.cpu:.4f} s/s"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


__all__ = ["FLOOR", "OURS", "Arithmetic", "ShapeResults", "run_rounds"]
