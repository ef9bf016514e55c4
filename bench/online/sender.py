"""The sender: noise over LSL in an amplifier's pace, and when each sample was pushed.

python -m bench.online.sender --stream NAME --labels A,B,... --rate HZ --chunk N \
    --fill S --seconds S --pushes FILE

The windows' first seconds are sent ten times faster, with their true distance in time,
so that what is live begins with full windows. FILE, a .npy, holds for each sample the LSL
clock just before the call that pushed it.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.online.job import Float32, Float64
from rtfeedback.online.lsl import EEGOutlet, clock
from rtfeedback.signals import StreamInfo

SPEED = 10.0  # of the fill; more, and who is slow at 5 kHz is still behind when it counts
FILL_CHUNK = 0.05  # s of samples pushed at a time in it
NOISE = 7.0  # s after which the noise comes again: longer than a run remembers
MICROVOLTS = 20.0  # sd
CONSUMER = 90.0  # s that a consumer may take to come


class Pace(NamedTuple):
    """When which samples are pushed, and what their stamps are.

    Attributes
    ----------
    n_fill : int
        Samples that are sent faster.
    start : float
        LSL clock at which the first is sent.
    """

    rate: float
    n_fill: int
    start: float

    @property
    def live(self) -> float:
        """When samples begin to come as they would from an amplifier."""
        return self.start + self.n_fill / self.rate / SPEED

    def stamps(self, first: int, end: int) -> Float64:
        """Return the stamps of samples `first` to `end`."""
        return self.live + (np.arange(first, end) - self.n_fill) / self.rate

    def due(self, end: int) -> float:
        """Return when the chunk that ends before sample `end` is complete."""
        speed = SPEED if end <= self.n_fill else 1.0
        return self.live + (end - self.n_fill) / self.rate / speed


def send(
    outlet: EEGOutlet, pace: Pace, noise: Float32, *, chunk: int, seconds: float, pushes: Path
) -> None:
    """Push for so many live seconds; the time of each push is noted before it is done.

    Parameters
    ----------
    outlet : EEGOutlet
    pace : Pace
    noise : float32, shape (n_times, n_channels)
        What is sent, over and over.
    chunk : int
        Samples that are pushed at a time.
    seconds : float
    pushes : Path
        New .npy file for the LSL clock at each sample's push.
    """
    n_times = pace.n_fill + round(seconds * pace.rate)
    pushed = np.lib.format.open_memmap(pushes, "w+", np.float64, (n_times,))
    first = 0
    while first < n_times:
        filling = first < pace.n_fill
        size = round(FILL_CHUNK * pace.rate) if filling else chunk
        end = min(first + size, pace.n_fill if filling else n_times)
        at = first % (len(noise) - size)
        samples, stamps = noise[at : at + end - first], pace.stamps(first, end)
        time.sleep(max(0.0, pace.due(end) - clock()))
        pushed[first:end] = clock()
        outlet.push(samples, stamps)
        first = end


def make_noise(n_channels: int, rate: float) -> Float32:
    """Return white noise of an EEG's size in microvolts, (n_times, n_channels)."""
    shape = round(NOISE * rate), n_channels
    return np.random.default_rng(0).normal(0, MICROVOLTS, shape).astype(np.float32)


def main() -> None:
    """Wait for a consumer, say in JSON when the first sample is and when all is live, send."""
    parser = argparse.ArgumentParser()
    for name, kind in (("stream", str), ("labels", str), ("chunk", int), ("pushes", Path)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    for name in ("rate", "fill", "seconds"):
        parser.add_argument(f"--{name}", type=float, required=True)
    asked = parser.parse_args()
    labels = asked.labels.split(",")
    n = len(labels)
    info = StreamInfo("", asked.rate, tuple(labels), ("eeg",) * n, ("microvolts",) * n)
    noise = make_noise(n, asked.rate)
    outlet = EEGOutlet(info, asked.stream)
    gc.freeze()
    if not outlet.wait_for_consumers(CONSUMER):
        raise SystemExit(f"nobody received '{asked.stream}' within {CONSUMER:g} s")
    pace = Pace(asked.rate, round(asked.fill * asked.rate), clock() + 0.1)
    said = {"first": float(pace.stamps(0, 1)[0]), "live": pace.live}
    print(json.dumps(said), flush=True)  # noqa: T201
    send(
        *(outlet, pace, noise),
        chunk=asked.chunk, seconds=asked.seconds, pushes=asked.pushes,
    )  # fmt: skip
    time.sleep(1.0)  # or what liblsl still holds would be lost with the outlet


if __name__ == "__main__":
    main()
