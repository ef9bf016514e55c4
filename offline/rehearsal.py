"""A held-out run streamed to the daemon as in the lab: three processes, LSL and ZeroMQ."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zmq

from rtfeedback.client import FeedbackClient
from rtfeedback.errors import StreamError
from rtfeedback.online.lsl import session_config
from rtfeedback.predictor import Predictor
from rtfeedback.replay.archive import Archive
from rtfeedback.replay.replay import replay

STILL = 20.0  # s without a further sample after which a rehearsal is given up
ENDING = 15.0  # s that a process may take to end once it was asked to


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came out of one streaming.

    Attributes
    ----------
    feedback : list of dict
        The `feedback` messages as the client received them, in order.
    received, lost : int
        Samples that the daemon received, and that it knows to be missing.
    replayed : int
        Messages that are the same when the run's record is computed again.
    """

    feedback: list[dict[str, Any]]
    received: int
    lost: int
    replayed: int


class Lane:
    """One checkpoint's daemon, its player and its client, on streams and ports of their own.

    Parameters
    ----------
    folder : Path
        New folder for what the processes print and record.
    recording : Path
        The EEG to be played, with its markers.
    checkpoint : Path
    lsl_config : Path
        Configuration of an LSL session that the processes share with no others.
    speed : float
    hop : float, optional
    """

    def __init__(
        self,
        folder: Path,
        recording: Path,
        checkpoint: Path,
        *,
        lsl_config: Path,
        speed: float,
        hop: float | None = None,
    ) -> None:
        self.folder, self.recording, self.checkpoint = folder, recording, checkpoint
        self.speed, self.hop = speed, hop
        self.endpoint = f"tcp://127.0.0.1:{two_free_ports()}"
        self._environment = {**os.environ, "LSLAPICFG": str(lsl_config.resolve())}
        self._status: dict[str, Any] = {}

    @contextmanager
    def started(self) -> Iterator[None]:
        """Run the three processes; end those that are left on the way out."""
        self.folder.mkdir(parents=True)
        name = f"EEG-{self.folder.name}"
        marker_name = f"Markers-{self.folder.name}"
        hop = ["--hop", f"{self.hop:g}"] if self.hop else []
        with ExitStack() as stack:
            self._client = stack.enter_context(FeedbackClient(self.endpoint, ("status",)))
            self.listen = stack.enter_context(self._process("listen", self.endpoint, "--json"))
            self.run = stack.enter_context(
                self._process(
                    *("run", "--stream", name, "--markers", marker_name),
                    *("--model", str(self.checkpoint), "--publish", self.endpoint),
                    *("--out", str(self.folder / "sessions"), "--device", "cpu", *hop),
                )
            )
            self.play = stack.enter_context(
                self._process(
                    *("play", str(self.recording), "--stream", name),
                    *("--markers", marker_name, "--speed", f"{self.speed:g}"),
                )
            )
            yield

    def received(self) -> int:
        """Return how many samples the daemon has received so far."""
        while (status := self._client.receive(0.0)) is not None:
            self._status = status
        return int(self._status.get("samples_received", 0))

    def check(self) -> None:
        """Raise if the daemon or the player has failed.

        Raises
        ------
        StreamError
            With what it said.
        """
        for name, process in (("run", self.run), ("play", self.play)):
            if process.poll() not in (None, 0):
                raise StreamError(
                    f"'rtfeedback {name}' ended with exit code {process.returncode}",
                    found=(self.folder / f"{name}.err").read_text().strip()[-500:],
                    do=f"What it printed is in {self.folder}",
                )

    def finish(self) -> Rehearsal:
        """Stop the daemon and return what the client received."""
        self._ask({"cmd": "stop"})
        self._end(self.run, "run")
        self._hear_the_end()
        for process in (self.play, self.listen):
            process.terminate()
            self._end(process, "play" if process is self.play else "listen")
        lines = (self.folder / "listen.out").read_text().splitlines()
        messages = [json.loads(line) for line in lines]
        last = [message for message in messages if message["topic"] == "status"][-1]
        return Rehearsal(
            feedback=[message for message in messages if message["topic"] == "feedback"],
            received=last["samples_received"],
            lost=last["samples_lost"],
            replayed=self._replay(),
        )

    def _replay(self) -> int:
        """Compute the run again; return how many messages are the same."""
        (session,) = self.folder.glob("sessions/*/*/run-*")
        archive = Archive(session)
        return replay(archive, Predictor.load(archive.checkpoint, "cpu")).identical

    @contextmanager
    def _process(self, command: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        # -P: a file in the working folder must not stand in for one of our modules.
        argv = [sys.executable, "-P", "-m", "rtfeedback", command, *arguments]
        with self._file(command, "out") as out, self._file(command, "err") as err:
            process = subprocess.Popen(argv, stdout=out, stderr=err, env=self._environment)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def _file(self, command: str, kind: str) -> IO[bytes]:
        return (self.folder / f"{command}.{kind}").open("wb")

    def _ask(self, request: dict[str, Any]) -> None:
        host, port = self.endpoint.rsplit(":", 1)
        with zmq.Context() as context, context.socket(zmq.REQ) as asker:
            asker.setsockopt(zmq.LINGER, 0)
            asker.connect(f"{host}:{int(port) + 1}")
            asker.send_json(request)
            if not asker.poll(int(ENDING * 1000)):
                raise StreamError(
                    "The daemon does not answer", do=f"What it printed is in {self.folder}"
                )
            asker.recv()

    def _hear_the_end(self) -> None:
        """Wait until `listen` has printed the last that the daemon said."""
        deadline = time.monotonic() + ENDING
        while '"state": "stopped"' not in (self.folder / "listen.out").read_text():
            if time.monotonic() > deadline:
                return  # what it did not print counts as missing
            time.sleep(0.05)

    def _end(self, process: subprocess.Popen[bytes], name: str) -> None:
        try:
            process.wait(ENDING)
        except subprocess.TimeoutExpired as error:
            raise StreamError(
                f"'rtfeedback {name}' did not end", do=f"What it printed is in {self.folder}"
            ) from error


def rehearse(
    lanes: Sequence[Lane], enough: int, progress: Callable[[int], None]
) -> list[Rehearsal]:
    """Stream side by side until each daemon has received enough samples.

    Parameters
    ----------
    lanes : sequence of Lane
    enough : int
        Samples after which a lane is done.
    progress : callable
        Takes the number of samples that the slowest lane has received.

    Raises
    ------
    StreamError
        If a process fails, or no further sample comes.
    """
    with ExitStack() as stack:
        for lane in lanes:
            stack.enter_context(lane.started())
        last, since = -1, time.monotonic()
        while (done := min(lane.received() for lane in lanes)) < enough:
            progress(done)
            for lane in lanes:
                lane.check()
            if done > last:
                last, since = done, time.monotonic()
            elif time.monotonic() - since > STILL + (30 if done == 0 else 0):
                return [lane.finish() for lane in lanes]  # what is missing counts as lost
            time.sleep(0.05)
        progress(enough)
        return [lane.finish() for lane in lanes]


def write_lsl_config(path: Path, session: str) -> Path:
    """Write the configuration of an LSL session of one's own."""
    path.write_text(session_config(session), encoding="utf-8")
    return path


def two_free_ports() -> int:
    """Return a loopback port that is free together with the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
