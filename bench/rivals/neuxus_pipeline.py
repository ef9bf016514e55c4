"""NeuXus at the job: LSL in, epochs of the window's length at each hop, and our last node.

python -m bench.rivals.neuxus_pipeline ..., as bench.online.job reads it

Run by its own `run`, which takes a pipeline as a script and never sleeps. It listens for
the escape key, through a library that needs a display: here nobody presses it.
"""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import numpy as np

from bench.rivals import pylsl_names

pylsl_names.restore()


class _Keyboard:
    """The listener of a keyboard that there is not."""

    def __init__(self, **_: object) -> None:
        self._never = threading.Event()

    def __enter__(self) -> _Keyboard:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def join(self) -> None:
        self._never.wait()


_keyboard = SimpleNamespace(Listener=_Keyboard, Key=SimpleNamespace(esc=None))
sys.modules["pynput"] = SimpleNamespace(keyboard=_keyboard)  # type: ignore[assignment]
setattr(np, "object", object)  # noqa: B010 (numpy no longer has it)

from neuxus.chunks import Port  # noqa: E402
from neuxus.node import Node  # noqa: E402
from neuxus.nodes.epoching import TimeBasedEpoching  # noqa: E402
from neuxus.nodes.io import LslReceive  # noqa: E402
from neuxus.pipeline import run  # noqa: E402

from bench.online.job import Job, Outbox, missing  # noqa: E402

SCRIPT = "from bench.rivals.neuxus_pipeline import pipeline\nnodes = pipeline()\n"
FOUND = 60.0  # s that the stream may take to appear
MOST = 65536  # samples in a pull, so that a backlog is caught up with


class Publish(Node):  # type: ignore[misc]
    """The pipeline's last node."""

    def __init__(self, epochs: Port, job: Job) -> None:
        Node.__init__(self, epochs, False)
        self._job, self._outbox = job, Outbox(job.publish)
        self._last: float | None = None
        self._lost = 0

    def update(self) -> None:
        """Publish each epoch."""
        for epoch in self.input:
            stamps = epoch.index.to_numpy(np.float64)
            fresh = stamps[stamps > self._last] if self._last else stamps[-1:]
            self._lost += missing(fresh, self._last, self._job.rate)
            self._last = float(stamps[-1])
            window = epoch.to_numpy(np.float32).T
            self._outbox.send(window, self._last, self._lost)


def pipeline() -> tuple[Node, ...]:
    """Return the nodes of the job; NeuXus runs those that someone refers to."""
    job = Job.parse()
    receive = LslReceive(
        "name", job.stream, "signal", sync="special", max_samples=MOST, timeout=FOUND
    )
    epochs = TimeBasedEpoching(receive.output, job.window, job.hop)
    return receive, epochs, Publish(epochs.output, job)


if __name__ == "__main__":
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(SCRIPT)
        script.flush()
        run(script.name)
