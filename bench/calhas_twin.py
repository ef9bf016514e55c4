"""`calhas` against a plain torch twin of it, and against the original where that is at hand.

    python -m bench.calhas_twin [--rounds N] [--threads N] [--write]
    BENCH_TF_PYTHON=.../bin/python python -m bench.calhas_twin ...

The shapes are the paper's: spectra of 64 x 134 x 10 to volumes of 64 x 64 x 30, four windows a
step. Each contender is a process of its own, which waits while it is not its turn; turns go
round within one run. Ours keeps its memory from step to step, as `train` has it; `ours, given
back` does not, and `twin, kept` does. BENCH_TF_PYTHON names a Python 3.8 to 3.10 with
`eeg-to-fmri==0.0.9` and `numpy<1.24`. `--write` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.processes import peak_gib
from bench.tables import markdown_table, provenance, put

SECTION = "bench.calhas_twin"
ROOT = Path(__file__).resolve().parents[1]
BATCH = 4
STEPS, PREDICTIONS = 2, 10  # of a turn
ORIGINAL = "BENCH_TF_PYTHON"
KEPT = "--keep-memory"
OF_SPECTRA = "ours, of spectra"
RATE, LATENCY = 3 * 1.4, 20.0  # windows/s and ms: the bars, by what the original once did
HEADER = (
    "contender", "parameters", "training windows/s", "x the twin", "prediction ms", "p90 ms",
    "x the twin", "peak GiB",
)  # fmt: skip
NOTE = """Batches of {batch}, {threads} threads, {rounds} interleaved rounds of {steps} steps
and {predictions} single predictions, after one round that is not counted; medians over all of
them, peaks of resident memory. *ours* makes the spectra from {samples} samples of 64 channels
itself, *ours, of spectra* is given them; the *twin*, a straightforward torch port
(`bench/rivals/calhas_twin.py`), and the *original*, eeg-to-fmri 0.0.9 on TensorFlow 2.9 with
its own training step and its decoder under `tf.function`, are given spectra. Memory is *kept*
from step to step by `keep_memory`, as `train` does, or *given back* to the system, as
processes do that say nothing.
"""
NOT_RUN = f"The original was not run: {ORIGINAL} names no Python that has it."


@dataclass
class Contender:
    """A process that trains and predicts when it is told to, and what that took."""

    name: str
    process: subprocess.Popen[str]
    parameters: int = 0
    train: list[float] = field(default_factory=list)
    predict: list[float] = field(default_factory=list)
    peak: float = 0.0

    def wait_until_ready(self) -> None:
        """Read what it says of itself first."""
        self.parameters = json.loads(self._line())["parameters"]

    def take_turn(self, *, counted: bool) -> None:
        """Let it take its steps and predictions."""
        train, predict = self._ask("train", STEPS), self._ask("predict", PREDICTIONS)
        if counted:
            self.train += train
            self.predict += predict
        self.peak = peak_gib(self.process.pid)

    def _ask(self, what: str, n: int) -> list[float]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what} {n}\n")
        self.process.stdin.flush()
        took: list[float] = json.loads(self._line())
        return took

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} has ended; what it said stands above")
        return line

    @property
    def rate(self) -> float:
        """Training windows per second."""
        return BATCH / median(self.train)

    @property
    def latency(self) -> float:
        """Milliseconds of a prediction, the median."""
        return 1e3 * median(self.predict)


@contextmanager
def started(name: str, python: str, module: str, *arguments: str) -> Iterator[Contender]:
    """Start a contender; it ends on the way out."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [python, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    try:
        contender = Contender(name, process)
        contender.wait_until_ready()
        yield contender
    finally:
        process.kill()
        process.communicate()


def table(contenders: Sequence[Contender]) -> str:
    """Return the table; one of them is the `twin`."""
    twin = next(each for each in contenders if each.name == "twin")
    rows = []
    for each in contenders:
        p90 = 1e3 * sorted(each.predict)[int(0.9 * len(each.predict))]
        rows.append(
            [
                each.name,
                f"{each.parameters:,}",
                f"{each.rate:.2f}",
                f"{each.rate / twin.rate:.2f}",
                f"{each.latency:.1f}",
                f"{p90:.1f}",
                f"{each.latency / twin.latency:.2f}",
                f"{each.peak:.2f}",
            ]
        )
    return markdown_table(HEADER, rows)


def bars(contenders: Sequence[Contender]) -> str:
    """Return what is to be reached, and whether ours does, line by line."""
    by_name = {each.name: each for each in contenders}
    ours, twin = by_name["ours"], by_name["twin"]
    rate, latency = ours.rate / twin.rate, ours.latency / twin.latency
    lines = [
        _bar(ours.rate >= RATE, f"{ours.rate:.2f} training windows/s, {RATE:.1f} at least"),
        _bar(
            ours.latency <= LATENCY, f"{ours.latency:.1f} ms a prediction, {LATENCY:g} at most"
        ),
        _bar(rate >= 1, f"{rate:.2f} x the twin's training windows/s"),
        _bar(latency <= 1, f"{latency:.2f} x its prediction"),
    ]
    if original := by_name.get("original"):
        rate, latency = ours.rate / original.rate, ours.latency / original.latency
        alike = by_name[OF_SPECTRA].latency / original.latency
        lines += [
            _bar(rate >= 3, f"{rate:.2f} x the original's training windows/s, 3 at least"),
            _bar(
                alike <= 1,
                f"{alike:.2f} x its prediction of spectra, 1 at most"
                f" ({latency:.2f} x from samples, which it does not take)",
            ),
        ]
    else:
        lines.append(f"- {NOT_RUN}")
    return "\n".join(lines) + "\n"


def _bar(holds: bool, words: str) -> str:
    return f"- {'pass' if holds else '**FAIL**'}: {words}"


def report(rounds: int, threads: int) -> str:
    """Measure, and return the table and what it says, as Markdown."""
    original, given = os.environ.get(ORIGINAL), ("--threads", str(threads))
    ours, python = "bench.rivals.calhas", sys.executable
    with ExitStack() as stack:
        contenders = [
            stack.enter_context(started(name, python, ours, *arguments, *given))
            for name, arguments in (
                ("ours", ("ours", KEPT)),
                (OF_SPECTRA, ("ours-of-spectra", KEPT)),
                ("ours, given back", ("ours",)),
                ("twin", ("twin",)),
                ("twin, kept", ("twin", KEPT)),
            )
        ]
        if original:
            module = "bench.rivals.calhas_tf"
            contenders.append(
                stack.enter_context(started("original", original, module, *given))
            )
        for i in range(rounds + 1):
            for contender in contenders:
                contender.take_turn(counted=i > 0)
    prefix = f"{ORIGINAL}=... " if original else ""
    command = f"{prefix}python -m {SECTION} --rounds {rounds} --threads {threads}"
    note = NOTE.format(
        batch=BATCH,
        threads=threads,
        rounds=rounds,
        steps=STEPS,
        predictions=PREDICTIONS,
        samples=5400,
    )
    return "\n".join((provenance(command), note, table(contenders), bars(contenders)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    given = parser.parse_args()
    text = report(given.rounds, given.threads)
    print(text)  # noqa: T201
    if given.write:
        put(SECTION, text)


if __name__ == "__main__":
    main()
