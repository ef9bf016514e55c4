"""One contender at one job: a sender, the contender, and this process that listens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zmq

from bench.online.job import Float64
from bench.online.processes import cpu_seconds, machine_seconds, peak_megabytes
from bench.online.shapes import Shape
from offline.rehearsal import two_free_ports, write_lsl_config
from rtfeedback.online.lsl import clock

ROOT = Path(__file__).resolve().parents[2]
STREAM = "BenchEEG"
SETTLE = 1.5  # s after the fill that are not measured
BEYOND = 2.0  # s more than the window that are filled
SETTLING = 8.0  # s more for the real chain: filters settle, units are believed
PATIENCE = 120.0  # s that a contender may take until it receives the stream

Command = Callable[[str, str, Path], list[str]]
"""Stream, endpoint and an empty folder in, command line out."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one trial showed, over its measured seconds.

    Attributes
    ----------
    latency : float64, shape (n_messages,)
        Seconds from the push of the window's newest sample to the receipt of the value.
    functions : float64
        Seconds that the contender says its function took.
    functions_cpu : float
        The same in CPU seconds per second; 0 where it says nothing.
    cpu : float
        Seconds per second, of the contender's whole process tree.
    other : float
        What all else kept busy meanwhile, sender and listener included, in cores.
    peak : float
        Resident memory in MB.
    lost : int
        Samples that did not reach the contender.
    missed : int
        Values that were due and not received.
    invalid : int
        Messages that held no value.
    """

    latency: Float64
    functions: Float64
    functions_cpu: float
    cpu: float
    other: float
    peak: float
    lost: int
    missed: int
    invalid: int


class Message(NamedTuple):
    """A message as it was received, by the LSL clock."""

    received: float
    content: dict[str, Any]


def run_trial(
    command: Command, shape: Shape, labels: Sequence[str], seconds: float, folder: Path
) -> Measured:
    """Run a contender for so many measured seconds.

    Parameters
    ----------
    command : callable
        Makes the contender's command line.
    shape : Shape
    labels : sequence of str
        Names of the stream's channels.
    seconds : float
    folder : Path
        New folder for what the processes write.

    Raises
    ------
    RuntimeError
        If the sender or the contender ends before it is told to.
    """
    folder.mkdir(parents=True)
    endpoint = f"tcp://127.0.0.1:{two_free_ports()}"
    config = write_lsl_config(folder / "lsl_api.cfg", f"bench-{uuid.uuid4().hex[:12]}")
    environment = {
        **os.environ,
        "LSLAPICFG": str(config),
        "PYTHONPATH": str(ROOT),
        "OPENBLAS_NUM_THREADS": "1",  # more would spin
    }
    argv, pushes = command(STREAM, endpoint, folder / "run"), folder / "pushes.npy"
    with ExitStack() as stack:
        listener = stack.enter_context(_Listener(endpoint))
        run = stack.enter_context(_Process(argv, folder / "run", environment))
        sender = _sender(shape, labels, seconds, pushes)
        send = stack.enter_context(_Process(sender, folder / "sender", environment))
        start = json.loads(_first_line(send, run))
        listener.listen(until=start["live"] + SETTLE)
        listener.messages.clear()
        before = _Cost.of(run.pid)
        listener.listen(until=before.clock + seconds)
        after, peak = _Cost.of(run.pid), peak_megabytes(run.pid)
        run.check()
        send.check()
    heard = _Heard(listener.messages, np.load(pushes), start["first"], shape)
    return heard.measured(before, after, peak)


def _sender(shape: Shape, labels: Sequence[str], seconds: float, pushes: Path) -> list[str]:
    fill = shape.window + BEYOND + (0 if shape.trivial else SETTLING)
    return [
        *(sys.executable, "-P", "-m", "bench.online.sender", "--stream", STREAM),
        *("--labels", ",".join(labels), "--rate", str(shape.rate), "--chunk", str(shape.chunk)),
        *("--fill", str(fill), "--seconds", str(SETTLE + seconds + 1.0)),
        *("--pushes", str(pushes)),
    ]


class _Heard:
    """The messages of the measured seconds, beside what was pushed."""

    def __init__(
        self, messages: Sequence[Message], pushes: Float64, first: float, shape: Shape
    ) -> None:
        self._messages, self._shape, self._pushes = messages, shape, pushes
        self._values = [m for m in messages if m.content.get("valid", True)]
        # Of each value's newest sample, by its stamp.
        stamps = np.array([m.content["lsl_time"] for m in self._values])
        self._index = np.rint((stamps - first) * shape.rate).astype(np.int64)

    def measured(self, before: _Cost, after: _Cost, peak: float) -> Measured:
        elapsed, cpu = after.clock - before.clock, after.cpu - before.cpu
        contents = [m.content for m in self._values]
        functions = [c.get("compute_ms", c.get("infer_ms")) or 0.0 for c in contents]
        functions_cpu = sum(c.get("compute_cpu_ms", 0.0) for c in contents)
        return Measured(
            latency=np.array([m.received for m in self._values]) - self._pushes[self._index],
            functions=np.array(functions) / 1000,
            functions_cpu=functions_cpu / 1000 / elapsed,
            cpu=cpu / elapsed,
            other=(after.machine - before.machine - cpu) / elapsed,
            peak=peak,
            lost=self._lost(),
            missed=self._missed(elapsed),
            invalid=len(self._messages) - len(self._values),
        )

    def _lost(self) -> int:
        """Return how many samples were lost from the first value to the last.

        A contender either says it, or numbers the samples that it has received.
        """
        if not self._values:
            return 0
        first, last = self._values[0].content, self._values[-1].content
        if "sample" in last:
            sent = int(self._index[-1] - self._index[0])
            return sent - int(last["sample"] - first["sample"])
        return int(last["lost"] - first["lost"])

    def _missed(self, elapsed: float) -> int:
        """Return how many values are missing: between those that came, or at the ends."""
        hops = np.rint(np.diff(self._index) / (self._shape.hop * self._shape.rate))
        between = int(np.maximum(hops - 1, 0).sum())
        due = round(elapsed / self._shape.hop) - 1  # one may fall on either end
        return max(between, due - len(self._messages))


class _Cost(NamedTuple):
    """What was computed up to now."""

    clock: float
    cpu: float
    machine: float

    @classmethod
    def of(cls, pid: int) -> _Cost:
        return cls(clock(), cpu_seconds(pid), machine_seconds())


class _Listener:
    """Receives feedback, and notes when; what it says is read by `messages`."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.subscribe("feedback")
        self._socket.connect(endpoint)
        self.messages: list[Message] = []

    def __enter__(self) -> _Listener:
        return self

    def __exit__(self, *exception: object) -> None:
        self._context.destroy(linger=0)

    def listen(self, *, until: float) -> None:
        """Receive until the LSL clock shows a time."""
        while (left := until - clock()) > 0:
            if self._socket.poll(ceil(1000 * left)):
                _, body = self._socket.recv_multipart()
                received = clock()
                self.messages.append(Message(received, json.loads(body)))


class _Process:
    """A command in a process group of its own, which is killed on the way out."""

    def __init__(self, argv: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        self._argv = argv
        self.out, self._err = log.with_suffix(".out"), log.with_suffix(".err")
        with self.out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                argv, stdout=out, stderr=err, env=environment, cwd=ROOT, start_new_session=True
            )
        self.pid = self._process.pid

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(ProcessLookupError):  # it has ended, and left nobody
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def check(self) -> None:
        """Raise if it has ended."""
        if self._process.poll() is not None:
            said = self._err.read_text(errors="replace").strip()[-800:]
            code = self._process.returncode
            raise RuntimeError(f"{self._argv} ended with {code}: {said}")


def _first_line(of: _Process, *others: _Process) -> str:
    """Wait for the first whole line of what a process says."""
    deadline = time.monotonic() + PATIENCE
    while "\n" not in (text := of.out.read_text()):
        for process in (*others, of):
            process.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing in {of.out} within {PATIENCE:g} s")
        time.sleep(0.05)
    return text
