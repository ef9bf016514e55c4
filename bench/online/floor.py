"""The floor: what no consumer of LSL that publishes over ZeroMQ can be quicker than.

python -m bench.online.floor --stream NAME --publish tcp://127.0.0.1:PORT --rate HZ \
    --chunk N --window S --hop S

One thread blocks in liblsl for exactly what is missing to the hop, has it written into
memory of its own, moves it into a ring whose windows are views, computes and sends. It
smooths no stamp, checks no channel, masks, records and answers nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pylsl
from pylsl import FOREVER
from pylsl.util import LostError

from bench.online.job import Float32, Job, Outbox, missing

FOUND = 60.0  # s that the stream may take to appear


class SlidingRing:
    """The newest samples as a C-contiguous (n_channels, n_times) view, without a copy.

    Sample j of channel c lies at `offset + c * n_times + j`: each push moves the offset,
    and what drops out of one channel's row becomes the newest of the row before it.
    """

    def __init__(self, n_channels: int, n_times: int) -> None:
        self._shape, self._size, self._offset = (n_channels, n_times), n_channels * n_times, 0
        self._floats = np.zeros(2 * self._size, np.float32)

    def push(self, samples: Float32) -> Float32:
        """Append samples, (n, n_channels); return the window."""
        n = len(samples)
        if self._offset + n > self._size:
            self._floats[: self._size] = self._window().reshape(-1)
            self._offset = 0
        self._offset += n
        window = self._window()
        window[:, -n:] = samples.T
        return window

    def _window(self) -> Float32:
        return self._floats[self._offset : self._offset + self._size].reshape(self._shape)


def open_inlet(stream: str) -> Any:
    """Wait for a stream by its name, and open it."""
    found = pylsl.resolve_byprop("name", stream, timeout=FOUND)
    if not found:
        raise SystemExit(f"no stream '{stream}' within {FOUND:g} s")
    inlet = pylsl.StreamInlet(found[0], recover=False)
    inlet.open_stream()
    return inlet


def run(job: Job) -> None:
    """Do the job until the stream ends."""
    with Outbox(job.publish) as outbox:
        inlet = open_inlet(job.stream)
        ring = SlidingRing(inlet.channel_count, job.n_times)
        with suppress(LostError):
            _turn(job, inlet, ring, outbox)


def _turn(job: Job, inlet: Any, ring: SlidingRing, outbox: Outbox) -> None:
    block = np.empty((job.n_hop, inlet.channel_count), np.float32)
    pushed, lost, last = 0, 0, None
    while True:
        # Without a least number of samples, liblsl waits for all of them.
        _, stamps = inlet.pull_chunk(FOREVER, job.n_hop, dest_obj=block, as_numpy=True)
        window = ring.push(block)
        pushed += job.n_hop
        lost += missing(stamps, last, job.rate)
        last = float(stamps[-1])
        if pushed >= job.n_times:
            outbox.send(window, last, lost)


if __name__ == "__main__":
    run(Job.parse())
