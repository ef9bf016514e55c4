"""What a window costs by its length: fetched from the ring, and per update of the line.

python -m bench.window_cost [--rounds N] [--updates N] [--write]

In one process, without LSL and without a model. `--write` puts the tables into
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np

from bench.checkpoint import labels_of, write
from bench.tables import markdown_table, provenance, put
from rtfeedback.chain import Chain
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.models import AnyModelConfig, EEGNetConfig, RidgeConfig
from rtfeedback.online.line import Line
from rtfeedback.online.plausibility import Plausibility
from rtfeedback.online.volumes import CountedVolumes
from rtfeedback.ring import RingBuffer
from rtfeedback.signals import Chunk, Float32, StreamInfo
from rtfeedback.windows import WindowSpec

FETCH = 20e-6  # s
RATIO = 1.1  # of the cost at the long window to that at the short one
SHORT, LONG = 10.0, 60.0  # s
RINGS = ((64, 1000, 10), (64, 1000, 60), (128, 5000, 10), (128, 5000, 30), (128, 5000, 60))
N_CHANNELS, RATE, HOP = 64, 1000.0, 0.25
MICROVOLTS = 20.0  # sd
POP = 1000.0  # uV: an artefact in one channel, every other second
TR = 1000.0  # s: no volumes between the hops


class Feed:
    """A line with a window of one length, and the endless noise that goes through it."""

    def __init__(self, spec: CheckpointSpec, length: float, *, pops: bool) -> None:
        n = len(spec.chain.channels)
        info = StreamInfo("", RATE, spec.chain.channels, ("eeg",) * n, ("microvolts",) * n)
        window = WindowSpec(length=length)
        spec = spec.model_copy(update={"window": window})
        plausibility = Plausibility(spec, TR)
        chain = Chain(spec.chain, info, tap=plausibility.tap)
        self.line = Line(chain, window, CountedVolumes(TR), hop=HOP, plausibility=plausibility)
        self._noise = _noise(n, pops=pops)
        self._sent = 0
        for _ in range(round((length + 15.0) / HOP)):
            self.update()

    def update(self) -> float:
        """Push what comes in a hop; return the seconds until its window was there."""
        n = round(HOP * RATE)
        at = self._sent % (len(self._noise) - n)
        stamps = 1000.0 + np.arange(self._sent, self._sent + n) / RATE
        chunk = Chunk(self._noise[at : at + n].copy(), stamps, 0.0)
        self._sent += n
        began = time.perf_counter()
        for window in self.line.push(chunk):
            window.data[0, -1]
        return time.perf_counter() - began


def _noise(n_channels: int, *, pops: bool) -> Float32:
    """Return seven seconds of it: longer than what a line takes for sent again."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, MICROVOLTS, (round(7 * RATE), n_channels)).astype(np.float32)
    if pops:
        for i, start in enumerate(range(0, len(x), round(2 * RATE))):
            x[start : start + 50, i] += POP
    return x


def line_costs(
    specs: dict[str, CheckpointSpec], rounds: int, updates: int
) -> Iterator[tuple[str, str, list[float], list[float]]]:
    """Yield chain, EEG, and each round's median seconds at the short and the long window."""
    for (name, spec), pops in product(specs.items(), (False, True)):
        short, long = (Feed(spec, length, pops=pops) for length in (SHORT, LONG))
        costs: tuple[list[float], list[float]] = [], []
        for _ in range(rounds):
            pairs = [(short.update(), long.update()) for _ in range(updates)]
            for each, seconds in zip(costs, zip(*pairs, strict=True), strict=True):
                each.append(median(seconds))
        yield name, "an artefact every 2 s" if pops else "clean", *costs


def ring_costs(
    rounds: int, updates: int
) -> Iterator[tuple[str, Sequence[float], Sequence[float]]]:
    """Yield a ring's shape, and the seconds of each push and of each fetch after it."""
    for n_channels, rate, length in RINGS:
        ring = RingBuffer(n_channels, length * rate)
        chunk = np.ones((rate // 100, n_channels), np.float32)
        pushes, fetches = [], []
        for _ in range(rounds * updates):
            began = time.perf_counter()
            ring.push(chunk)
            pushed = time.perf_counter()
            ring.window()
            fetches.append(time.perf_counter() - pushed)
            pushes.append(pushed - began)
        yield f"{n_channels} x {length} s x {rate} Hz", pushes, fetches


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=100, help="of each in a round")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    text = report(
        ring_costs(asked.rounds, asked.updates),
        line_costs(_specs(), asked.rounds, asked.updates),
        shlex.join(["python", "-m", "bench.window_cost", *sys.argv[1:]]),
    )
    print(text)  # noqa: T201
    if asked.write:
        put("bench.window_cost", text)


def _specs() -> dict[str, CheckpointSpec]:
    labels = labels_of(N_CHANNELS)
    with tempfile.TemporaryDirectory() as folder:
        models: dict[str, AnyModelConfig] = {"samples": EEGNetConfig(), "tokens": RidgeConfig()}
        return {
            name: write(Path(folder) / name, config, labels=labels, rate=RATE)
            for name, config in models.items()
        }


def report(
    rings: Iterator[tuple[str, Sequence[float], Sequence[float]]],
    lines: Iterator[tuple[str, str, list[float], list[float]]],
    command: str,
) -> str:
    """Return both tables and whether the bars are met."""
    verdicts, ring_rows, line_rows = [], [], []
    for shape, pushes, fetches in rings:
        fetch, p99 = np.median(fetches), np.percentile(fetches, 99)
        ring_rows.append([shape, *(f"{1e6 * s:.1f}" for s in (np.median(pushes), fetch, p99))])
        said = f"fetch of {shape}: {1e6 * fetch:.1f} us, under {1e6 * FETCH:.0f} us"
        verdicts.append(_verdict(bool(fetch < FETCH), said))
    for chain, eeg, short, long in lines:
        ratio = median(b / a for a, b in zip(short, long, strict=True))
        row = [chain, eeg, *(f"{1e6 * median(each):.0f}" for each in (short, long))]
        line_rows.append([*row, f"{ratio:.2f}"])
        said = f"{chain}, {eeg}: {ratio:.2f} x at {LONG:g} s, at most {RATIO} x"
        verdicts.append(_verdict(ratio <= RATIO, said))
    ring_header = ("window", "push 10 ms, us", "fetch p50 us", "fetch p99 us")
    line_header = ("chain", "EEG", f"{SHORT:g} s window, us", f"{LONG:g} s window, us", "ratio")
    return "\n".join(
        [
            provenance(command),
            "The newest window out of the ring, after each push:\n",
            markdown_table(ring_header, ring_rows),
            f"`Line.push` of {HOP:g} s of EEG ({N_CHANNELS} channels, {RATE:g} Hz; chain,"
            " masks, plausibility, ring, the artefact rule), until its window is there;"
            " medians over rounds in which both lengths take turns at each update:\n",
            markdown_table(line_header, line_rows),
            *verdicts,
        ]
    )


def _verdict(met: bool, said: str) -> str:
    return f"- {'pass' if met else '**FAIL**'}: {said}"


if __name__ == "__main__":
    main()
