"""What a checkpoint's chain and model cost by themselves: no LSL, no socket, no daemon.

python -m bench.online.arithmetic CHECKPOINT --rate HZ --block N --hop S --seconds S

Blocks go through `Chain.push` at the stream's pace, and once a hop the ring's window
through the `Predictor`, so that caches are as cold and clocks as low as they are in a run.
Prints one JSON: `seconds`, of the block at which a hop falls due and of its prediction;
`cpu`, CPU seconds of the two per second of stream.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from bench.online.sender import make_noise
from rtfeedback.chain import Chain
from rtfeedback.predictor import Predictor
from rtfeedback.ring import RingBuffer
from rtfeedback.signals import StreamInfo

SETTLE = 2.0  # s that are not measured


class Bare:
    """A chain, a ring and a model, and what the first and the last of them take."""

    def __init__(self, checkpoint: Path, rate: float) -> None:
        self.predictor = Predictor.load(checkpoint, "cpu")
        names = self.predictor.spec.chain.channels
        kinds, units = ("eeg",) * len(names), ("microvolts",) * len(names)
        self.chain = Chain(self.predictor.spec.chain, StreamInfo("", rate, names, kinds, units))
        self.ring = RingBuffer(*self.predictor.shape)
        self.noise = make_noise(len(names), rate)
        self._next = 0

    def fill(self, block: int) -> None:
        """Settle the filters and fill the ring."""
        self.predictor.warm_up()
        settling = self.chain.warm_up
        while not self.ring.full:
            features, index = self.chain.push(self._take(block))
            self.ring.push(features[index >= settling])

    def step(self, block: int, *, due: bool) -> tuple[float, float]:
        """Pass a block through, and predict where a hop is due; return wall and CPU s."""
        samples = self._take(block)
        wall, cpu = time.perf_counter(), time.process_time()
        features, _ = self.chain.push(samples)
        wall_chain, cpu_chain = time.perf_counter() - wall, time.process_time() - cpu
        self.ring.push(features)
        if not due:
            return wall_chain, cpu_chain
        window = self.ring.window()
        wall, cpu = time.perf_counter(), time.process_time()
        self.predictor(window)
        wall_model, cpu_model = time.perf_counter() - wall, time.process_time() - cpu
        return wall_chain + wall_model, cpu_chain + cpu_model

    def _take(self, block: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        at = self._next % (len(self.noise) - block)
        self._next += block
        return self.noise[at : at + block].copy()  # as it would be: just written


def measure(
    bare: Bare, *, rate: float, block: int, hop: float, seconds: float
) -> dict[str, object]:
    """Run for so many seconds, at the stream's pace; return what is printed."""
    bare.fill(block)
    spent, took = 0.0, []
    start, done = time.perf_counter(), 0
    while (elapsed := (done + block) / rate) < SETTLE + seconds:
        time.sleep(max(0.0, start + elapsed - time.perf_counter()))
        due = int(elapsed / hop + 1e-6) > int(done / rate / hop + 1e-6)
        wall, cpu = bare.step(block, due=due)
        done += block
        if elapsed > SETTLE:
            spent += cpu
            took += [wall] if due else []
    return {"seconds": took, "cpu": spent / seconds}


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--block", type=int, required=True)
    for name in ("rate", "hop", "seconds"):
        parser.add_argument(f"--{name}", type=float, required=True)
    asked = parser.parse_args()
    bare = Bare(asked.checkpoint, asked.rate)
    result = measure(
        bare, rate=asked.rate, block=asked.block, hop=asked.hop, seconds=asked.seconds
    )
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
