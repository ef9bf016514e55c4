"""A training step and a prediction of every model at its paper's own shapes.

    python -m bench.paper_shapes [--models NAME ...] [--rounds N] [--write]

Each model has a process of its own, so that its peak of memory is its own. A step runs as in
`train`, on every core; a prediction as in `run`, on one thread. `--write` puts the table into
docs/benchmarks.md. Weights, windows and volumes are noise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TypedDict

import torch

from bench.paper import PAPER, Case
from bench.processes import peak_gib
from bench.stepping import Prediction, Step, made, trainable
from bench.tables import markdown_table, provenance, put
from offline.training.fit_config import FitConfig
from offline.training.training_process import training_process
from rtfeedback.arithmetic import fix_arithmetic
from rtfeedback.models import Network

SECTION = "bench.paper_shapes"
ROOT = Path(__file__).resolve().parents[1]
TR = 2.0  # s within which a prediction has to come
PREDICTIONS = 5  # for each step
HEADER = (
    "model", "window", "predicts", "parameters", "batch", "step s", "prediction ms", "peak GiB",
    f"within {TR:g} s",
)  # fmt: skip
NOTE = """One training step and one prediction, medians of {rounds} steps and {predictions}
predictions after one that is not counted. Steps: threads and memory as `train` has them, AdamW,
float32; predictions: one thread, as in a run. The peak is of resident memory, torch's own
included ({bare:.2f} GiB before there is a model). A `ridge` is fitted in closed form.
"""


class Measured(TypedDict):
    """What a model took."""

    parameters: int
    step: float | None
    prediction: float
    peak: float
    bare: float


def measure(case: Case, rounds: int) -> Measured:
    """Take steps and predictions of one model, in this process."""
    bare = peak_gib()
    model, step = made(case.config, case.shape), None
    if isinstance(model, Network):
        with training_process():
            one = Step(model, case.shape, FitConfig(batch=case.batch, learning_rate=1e-4))
            step = _median_after_one(one.seconds, rounds)
            del one
    fix_arithmetic()
    predict = Prediction(model, case.shape, torch.device("cpu"))
    prediction = _median_after_one(predict.seconds, PREDICTIONS * rounds)
    return Measured(
        parameters=trainable(model),
        step=step,
        prediction=prediction,
        peak=peak_gib(),
        bare=bare,
    )


def _median_after_one(seconds: Callable[[], float], n: int) -> float:
    seconds()
    return median(seconds() for _ in range(n))


def in_a_process(name: str, rounds: int) -> Measured:
    """Return what a model took in a process of its own."""
    print(name, file=sys.stderr, flush=True)  # noqa: T201
    command = [sys.executable, "-m", SECTION, "--one", name, "--rounds", str(rounds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    measured: Measured = json.loads(done.stdout.splitlines()[-1])
    return measured


def row(name: str, case: Case, measured: Measured) -> list[object]:
    """Return a model's row of the table."""
    shape, step = case.shape, measured["step"]
    prediction = measured["prediction"]
    return [
        name,
        f"{shape.n_features} x {shape.n_times:,} at {shape.rate:g} Hz",
        "a region" if shape.volume is None else f"{shape.volume.n_voxels:,} voxels",
        f"{measured['parameters']:,}",
        "-" if step is None else case.batch,
        "-" if step is None else f"{step:.3f}",
        f"{1e3 * prediction:.2f}",
        f"{measured['peak']:.2f}",
        "yes" if prediction < TR else "**no**",
    ]


def report(names: Sequence[str], rounds: int) -> str:
    """Measure, and return the table and what it says, as Markdown."""
    measured = {name: in_a_process(name, rounds) for name in names}
    rows = [row(name, PAPER[name], each) for name, each in measured.items()]
    note = NOTE.format(
        rounds=rounds,
        predictions=PREDICTIONS * rounds,
        bare=median(each["bare"] for each in measured.values()),
    )
    command = f"python -m {SECTION} --rounds {rounds}"
    return "\n".join((provenance(command), note, markdown_table(HEADER, rows)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models", nargs="+", choices=PAPER, default=list(PAPER), metavar="NAME"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--one", choices=PAPER, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(PAPER[given.one], given.rounds)))  # noqa: T201
        return
    text = report(given.models, given.rounds)
    print(text)  # noqa: T201
    if given.write:
        put(SECTION, text)


if __name__ == "__main__":
    main()
