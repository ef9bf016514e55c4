"""timeflux at the job: LSL in, a window by samples, and a node of ours that publishes.

python -m bench.rivals.timeflux_graph ..., as bench.online.job reads it

All in one graph, so that nothing passes through its broker, at the rate at which chunks
come. Of its windows, the one that is not closed by the sample after it.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from bench.rivals import pylsl_names

pylsl_names.restore()

from pylsl import local_clock  # noqa: E402
from timeflux.core.logging import init_listener  # noqa: E402
from timeflux.core.manager import Manager  # noqa: E402
from timeflux.core.node import Node  # noqa: E402

from bench.online.job import Job, Outbox, missing  # noqa: E402

MOST = 65536  # samples in a poll, so that a backlog is caught up with


class Publish(Node):  # type: ignore[misc]
    """The graph's last node."""

    def __init__(self, arguments: list[str]) -> None:
        self._job = Job.parse(arguments)
        self._outbox = Outbox(self._job.publish)
        self._epoch = time.time() - local_clock()
        self._last: float | None = None
        self._lost = 0

    def update(self) -> None:
        """Publish the window, if one is complete."""
        if not self.i.ready():
            return
        stamps = _seconds(self.i.data) - self._epoch
        fresh = stamps[stamps > self._last] if self._last else stamps[-1:]
        self._lost += missing(fresh, self._last, self._job.rate)
        self._last = float(stamps[-1])
        self._outbox.send(self.i.data.to_numpy().T, self._last, self._lost)


def _seconds(frame: Any) -> Any:
    return frame.index.to_numpy().astype("datetime64[ns]").astype(np.int64) / 1e9


def main() -> None:
    """Do the job until killed."""
    job, nodes = Job.parse(), "timeflux.nodes"
    window = {"length": job.n_times, "step": job.n_hop, "index": "sample"}
    receive = {"value": job.stream, "max_samples": MOST}
    graph = {
        "id": "job",
        "rate": job.rate / job.chunk,
        "nodes": [
            {"id": "in", "module": f"{nodes}.lsl", "class": "Receive", "params": receive},
            {"id": "window", "module": f"{nodes}.window", "class": "Window", "params": window},
            {"id": "out", "module": "bench.rivals.timeflux_graph", "class": "Publish",
             "params": {"arguments": sys.argv[1:]}},
        ],
        "edges": [{"source": "in", "target": "window"}, {"source": "window", "target": "out"}],
    }  # fmt: skip
    init_listener("WARNING")
    Manager({"graphs": [graph]}).run()


if __name__ == "__main__":
    main()
