"""The job as the floor and the rivals are given it; needs only numpy and pyzmq.

Each runs in an environment of its own, so nothing of rtfeedback is imported here.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """Keep the last `window` seconds of a stream; publish their mean power at each hop.

    Attributes
    ----------
    stream, publish : str
        Name of the LSL stream, and the endpoint.
    rate : float
        Hertz.
    chunk : int
        Samples that come at a time.
    window, hop : float
        Seconds.
    """

    stream: str
    publish: str
    rate: float
    chunk: int
    window: float
    hop: float

    @classmethod
    def parse(cls, arguments: list[str] | None = None) -> Job:
        """Read a job from the command line."""
        parser = argparse.ArgumentParser()
        for name, kind in (("stream", str), ("publish", str), ("chunk", int)):
            parser.add_argument(f"--{name}", type=kind, required=True)
        for name in ("rate", "window", "hop"):
            parser.add_argument(f"--{name}", type=float, required=True)
        return cls(**vars(parser.parse_args(arguments)))

    def arguments(self) -> list[str]:
        """Return what `parse` reads this job from."""
        return [part for k, v in vars(self).items() for part in (f"--{k}", str(v))]

    @property
    def n_times(self) -> int:
        """Samples in a window."""
        return round(self.window * self.rate)

    @property
    def n_hop(self) -> int:
        """Samples from one window to the next."""
        return round(self.hop * self.rate)


class Outbox:
    """Publishes a window's mean power, as two frames: topic and JSON."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.bind(endpoint)
        self._seq = 0

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *exception: object) -> None:
        self._context.destroy(linger=0)

    def send(self, window: Float32, lsl_time: float, lost: int) -> None:
        """Compute and publish.

        Parameters
        ----------
        window : float32, shape (n_channels, n_times)
        lsl_time : float
            Stamp of its newest sample.
        lost : int
            Samples that are known to be missing so far.
        """
        began, cpu = time.perf_counter(), time.thread_time()
        powers = mean_power(window)
        message: dict[str, Any] = {
            "seq": self._seq,
            "lsl_time": lsl_time,
            "powers": powers.tolist(),
            "compute_ms": 1000 * (time.perf_counter() - began),
            "compute_cpu_ms": 1000 * (time.thread_time() - cpu),
            "lost": lost,
        }
        self._socket.send_multipart([b"feedback", json.dumps(message).encode()])
        self._seq += 1


def mean_power(window: Float32) -> Float32:
    """Return the mean square of each channel of a window, (n_channels, n_times).

    The quickest way for the memory as it is, in the numpy that is there.
    """
    if window.flags.c_contiguous and hasattr(np, "vecdot"):
        energy = np.vecdot(window, window)
    else:
        energy = np.einsum("ct,ct->c", window, window)
    power: Float32 = energy / window.shape[1]
    return power


def missing(stamps: Float64, last: float | None, rate: float) -> int:
    """Return how many samples are missing between these stamps and after the last one."""
    intervals = np.diff(stamps, prepend=stamps[0] - 1 / rate if last is None else last)
    return int(np.maximum(np.rint(intervals * rate) - 1, 0).sum())
