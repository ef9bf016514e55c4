"""How long one window takes, model by model, through the `Predictor` that a run uses.

    python -m bench.inference [--device cpu|cuda|all] [--rounds N] [--write]

Windows are taken one at a time, as in a run, on one thread, back to back: caches are warm
where the window fits them. The models take turns in each round, so that what else the machine
does falls on all of them. `--write` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from bench.checkpoint import MODELS, labels_of, write
from bench.tables import markdown_table, provenance, put
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32

SECTION = "bench.inference"
Shape = tuple[int, float, float]
SHAPES: tuple[Shape, ...] = ((34, 1000.0, 20.0), (64, 1000.0, 20.0), (128, 5000.0, 30.0))
"""Channels and rate in hertz of a stream, and seconds of a raw window of it."""
TURN = 0.2  # s that a contender measures in a round, at least
FEWEST = 10  # windows in a turn
HEADER = (
    "model", "stream", "window", "parameters", "device", "p50 ms", "p99 ms", "windows/s",
)  # fmt: skip
NOTE = """One window at a time through `Predictor`, one thread, back to back; `mean-power` on
the raw samples, the others behind their default chain at 125 Hz or 4 tokens a second. p50,
p99 and windows/s over all rounds ({rounds}, interleaved). Weights are random.
"""


@dataclass
class Contender:
    """A model on a device, and how long each of its windows took, in seconds."""

    stream: str
    predictor: Predictor
    window: Float32
    times: list[float] = field(default_factory=list)

    def take_turn(self) -> None:
        """Measure for a while, after one window that is not."""
        self.predictor(self.window)
        end, taken = time.perf_counter() + TURN, 0
        while taken < FEWEST or time.perf_counter() < end:
            began = time.perf_counter()
            self.predictor(self.window)
            self.times.append(time.perf_counter() - began)
            taken += 1

    def row(self) -> list[object]:
        """Return its row of the table."""
        n_features, n_times = self.predictor.shape
        parameters = self.predictor.checkpoint.model.parameters()
        device = self.predictor.device.type
        if device == "cuda":
            device += ", graph" if self.predictor.inference.captured else ", eager"
        p50, p99 = 1e3 * np.percentile(self.times, [50, 99])
        return [
            self.predictor.spec.model.name,
            self.stream,
            f"{n_features} x {n_times}",
            f"{sum(each.numel() for each in parameters):,}",
            device,
            f"{p50:.3f}",
            f"{p99:.3f}",
            f"{1 / np.mean(self.times):,.0f}",
        ]


def report(rounds: int, devices: Sequence[str], shapes: Sequence[Shape] = SHAPES) -> str:
    """Measure, and return the table and what it says, as Markdown.

    Parameters
    ----------
    rounds : int
    devices : sequence of str
        `cpu`, `cuda`.
    shapes : sequence of (int, float, float)
        As `SHAPES`.
    """
    with TemporaryDirectory() as folder:
        contenders = [
            contender
            for shape in shapes
            for model in MODELS
            for contender in _contenders(Path(folder), model, shape, devices)
        ]
    for _ in range(rounds):
        for contender in contenders:
            contender.take_turn()
    rows = [contender.row() for contender in contenders]
    command = f"python -m {SECTION} --rounds {rounds}"
    return "\n".join(
        (provenance(command), NOTE.format(rounds=rounds), markdown_table(HEADER, rows))
    )


def _contenders(
    folder: Path, model: str, shape: Shape, devices: Sequence[str]
) -> list[Contender]:
    channels, rate, length = shape
    path = folder / f"{model}-{channels}"
    raw = {"length": length} if model == "mean-power" else {}
    config = MODELS[model].model_validate(raw)
    write(path, config, labels=labels_of(channels), rate=rate)
    found = []
    for device in devices:
        predictor = Predictor.load(path, device)
        predictor.warm_up()
        # Numbers of about the right size: none is denormal, and none is masked.
        size, middle = (1e-5, 0.0) if config.chain == "samples" else (0.5, -11.0)
        window = np.random.default_rng(0).normal(middle, size, predictor.shape)
        stream = f"{channels} ch, {rate / 1000:g} kHz"
        found.append(Contender(stream, predictor, window.astype(np.float32)))
    return found


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda", "all"), default="all")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    given = parser.parse_args()
    every = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    text = report(given.rounds, every if given.device == "all" else (given.device,))
    print(text)  # noqa: T201
    if given.write:
        put(SECTION, text)


if __name__ == "__main__":
    main()
