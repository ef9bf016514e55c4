"""Runs that are killed at random moments, and what is then on the disk.

    python -m bench.kills --n 50 --seed 0 [--write]

`rtfeedback play` streams noise with volume markers over LSL, `rtfeedback run` predicts from
it, a client hears what is published, and at a random moment the run gets SIGKILL. Then all
that is on the disk has to be computed again by replay, each message's EEG has to be there,
and what the client received or was told of has to be there but for the last second.

A line is printed for each kill; it ends with 1 where one failed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.checkpoint import SIZE, labels_of
from bench.checkpoint import write as write_checkpoint
from bench.programs import PATIENCE, Programs, kill
from bench.tables import markdown_table, provenance, put
from offline.rehearsal import two_free_ports
from rtfeedback.client import FeedbackClient
from rtfeedback.models import RidgeConfig
from rtfeedback.online.description import compose, compose_markers
from rtfeedback.online.recorder import Recorder
from rtfeedback.predictor import Predictor
from rtfeedback.replay.archive import Archive
from rtfeedback.replay.replay import replay
from rtfeedback.replay.report import is_same
from rtfeedback.signals import Chunk, StreamInfo

Message = dict[str, Any]

CHANNELS, RATE, TR, HOP = 8, 250.0, 1.0, 0.25
WINDOW = 4.0  # s
SECONDS = 60.0  # of the recording, which is played over and over
SPEED = 8.0
LAST = 1.0  # s before a kill of which nothing need be on the disk
LONGEST = 4.0  # s from the first message to the kill, at most
STREAM, MARKERS = "KillsEEG", "KillsMarkers"
TOPICS = ("feedback", "status", "event")


@dataclass(frozen=True, slots=True)
class Killed:
    """What was left of a run.

    Attributes
    ----------
    after : float
        Seconds from the first message that was received to the kill.
    messages : int
        Feedback messages on the disk.
    identical : int
        Those that are computed again.
    samples : int
        Of EEG on the disk.
    beyond : float or None
        Seconds of EEG on the disk after the last message's newest sample.
    lost : int
        Feedback messages that the client had received, and that are not on the disk.
    lost_for : float
        Seconds that the oldest of these, or of the samples that were told of and are not
        on the disk, had been out for when the run was killed.
    pause : float
        Longest time without a message, in seconds: of a machine that is busy with something
        else, or of the run.
    wrong : tuple of str
        What should not be.
    """

    after: float
    messages: int
    identical: int
    samples: int
    beyond: float | None
    lost: int
    lost_for: float
    pause: float
    wrong: tuple[str, ...]

    def __str__(self) -> str:
        beyond = "none" if self.beyond is None else f"{self.beyond:.3f} s"
        return (
            f"killed {self.after:.3f} s after the first message: {self.identical} of"
            f" {self.messages} messages identical; EEG after the last: {beyond};"
            f" received and not on the disk: {self.lost} ({1000 * self.lost_for:.1f} ms old);"
            f" longest pause: {self.pause:.3f} s;"
            f" {'; '.join(self.wrong) or 'ok'}"
        )


def kill_runs(folder: Path, moments: Sequence[float]) -> Iterator[Killed]:
    """Yield what is left of runs that are killed so many seconds after their first message.

    Parameters
    ----------
    folder : Path
        For all that is written.
    moments : sequence of float
        In seconds.

    Raises
    ------
    RuntimeError, TimeoutError
        A run does not begin.
    """
    programs, checkpoint = Programs(folder), folder / "checkpoint"
    labels = labels_of(CHANNELS)
    config = RidgeConfig(length=WINDOW)
    write_checkpoint(checkpoint, config, labels=labels, rate=RATE, tr=TR)
    recording = make_recording(folder / "recording", labels)
    predictor = Predictor.load(checkpoint, "cpu")
    with programs.started(
        *("play", "rtfeedback", "play", recording, "--stream", STREAM, "--markers", MARKERS),
        *("--speed", SPEED, "--loop"),
    ):
        for k, moment in enumerate(moments):
            out = folder / f"kill-{k}"
            received, at = _kill_one(programs, checkpoint, out, moment)
            yield examine(next(out.glob("*/*/run-*")), predictor, received, at)


def make_recording(folder: Path, labels: Sequence[str]) -> Path:
    """Write noise with a marker each TR as XDF, and return the file."""
    folder.mkdir()
    n_times = round(SECONDS * RATE)
    noise = np.random.default_rng(0).normal(0, SIZE, (n_times, len(labels)))
    stamps = np.arange(n_times) / RATE
    info = StreamInfo(
        "noise", RATE, tuple(labels), ("eeg",) * len(labels), ("microvolts",) * len(labels)
    )
    recorder = Recorder(folder, "noise")
    eeg, markers = recorder.stream(compose(info)), recorder.stream(compose_markers("markers"))
    recorder.samples(eeg, stamps, noise.astype(np.float32))
    onsets = np.arange(0.0, SECONDS, TR).tolist()
    recorder.markers(markers, onsets, ["R128"] * len(onsets))
    recorder.close()
    if recorder.lost:
        raise RuntimeError(recorder.lost)
    return folder / "noise.xdf"


def _kill_one(
    programs: Programs, checkpoint: Path, out: Path, moment: float
) -> tuple[list[Message], float]:
    """Start a run and kill it; return what was received, and when it was killed."""
    endpoint = f"tcp://127.0.0.1:{two_free_ports()}"
    received: list[Message] = []
    with ExitStack() as stack:
        client = stack.enter_context(FeedbackClient(endpoint, TOPICS))
        run = stack.enter_context(
            programs.started(
                *(out.name, "rtfeedback", "run", "--stream", STREAM, "--markers", MARKERS),
                *("--model", checkpoint, "--hop", HOP, "--publish", endpoint),
                *("--out", out, "--device", "cpu"),
            )
        )
        end, first = time.monotonic() + PATIENCE, True
        while (left := end - time.monotonic()) > 0:
            message = client.receive(min(0.1, left))
            received += [message] if message else []
            if first and message and message["topic"] == "feedback":
                end, first = message["receive_time"] + moment, False
            if run.poll() is not None:
                raise RuntimeError(programs.complained(out.name))
        killed = time.monotonic()
        kill(run)
        while (message := client.receive(0.05)) is not None:
            received.append(message)
    if not any(m["topic"] == "feedback" for m in received):
        raise TimeoutError(f"no message within {PATIENCE:g} s")
    return received, killed


def _first(received: Sequence[Message]) -> float:
    return float(next(m["receive_time"] for m in received if m["topic"] == "feedback"))


def examine(
    session: Path, predictor: Predictor, received: Sequence[Message], killed: float
) -> Killed:
    """Return what is left of a run, and what is wrong with it.

    Parameters
    ----------
    session : Path
    predictor : Predictor
    received : sequence of dict
        What a client received.
    killed : float
        When the run was killed, by the clock of `receive_time`.
    """
    archive = Archive(session)
    stamps = [x.stamps for x in archive.received() if isinstance(x, Chunk)]
    eeg = np.concatenate(stamps) if stamps else np.empty(0)
    told = [m for m in archive.messages if m["topic"] == "feedback"]
    comparison = replay(archive, predictor)
    lost, lost_for = _lost(received, told, len(eeg), killed)
    last = next((m["sample"] for m in reversed(told) if m["sample"] is not None), None)
    wrong = {
        "its values are not computed again": bool(told) and not is_same(archive, comparison),
        "EEG of a message is missing": not all(_is_there(m, eeg) for m in told),
        "more than the last second is missing": lost_for > LAST,
        "the record says that it is whole": archive.closed,
    }
    return Killed(
        after=killed - _first(received),
        messages=len(told),
        identical=comparison.identical,
        samples=len(eeg),
        beyond=None if last is None else (len(eeg) - 1 - last) / predictor.spec.chain.sfreq,
        lost=lost,
        lost_for=lost_for,
        pause=_longest_pause(received, killed),
        wrong=tuple(what for what, is_so in wrong.items() if is_so),
    )


def _is_there(message: Message, eeg: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bool:
    sample = message["sample"]
    return sample is None or (sample < len(eeg) and eeg[sample] == message["lsl_time"])


def _lost(
    received: Sequence[Message], told: Sequence[Message], samples: int, killed: float
) -> tuple[int, float]:
    """Return how many messages are not on the disk, and since when anything is not."""
    kept = {message["seq"] for message in told}
    lost = [m for m in received if m["topic"] == "feedback" and m["seq"] not in kept]
    since = [message["publish_time"] for message in lost]
    since += [
        message["publish_time"]
        for message in received
        if message["topic"] == "status" and message["samples_received"] > samples
    ]
    return len(lost), killed - min(since, default=killed)


def _longest_pause(received: Sequence[Message], killed: float) -> float:
    heard = [m["receive_time"] for m in received if m["topic"] == "feedback"]
    return float(np.diff([*heard, max(killed, heard[-1])]).max())


def _report(kills: Sequence[Killed]) -> str:
    command = shlex.join(["python", "-m", "bench.kills", *sys.argv[1:]])
    beyond = [each.beyond for each in kills if each.beyond is not None]
    messages = [each.messages for each in kills]
    figures = [
        ("kills", f"{len(kills)}"),
        ("all messages identical and their EEG there", f"{sum(not k.wrong for k in kills)}"),
        ("messages on the disk", f"{min(messages)} to {max(messages)}, {sum(messages)} in all"),
        ("of them computed again", f"{sum(each.identical for each in kills)}"),
        ("EEG after the last message", f"{median(beyond):.3f} s, {max(beyond):.3f} s at most"),
        ("received and not on the disk", f"{sum(each.lost for each in kills)} messages"),
        ("they were out for, at most", f"{1000 * max(k.lost_for for k in kills):.1f} ms"),
        ("longest pause between messages", f"{max(each.pause for each in kills):.3f} s"),
    ]
    return (
        f"{provenance(command)}\nRuns of {CHANNELS} channels at {RATE:g} Hz, played at speed"
        f" {SPEED:g}, hop {HOP:g} s and TR {TR:g} s of EEG, each killed (SIGKILL) up to"
        f" {LONGEST:g} s after its first message. EEG goes by {SPEED:g} times faster.\n\n"
        f"{markdown_table(('what', 'figure'), figures)}"
    )


def main() -> None:
    """Read the command line, kill, and say what was left."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=50, help="runs to be killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    asked = parser.parse_args()
    kills = []
    with tempfile.TemporaryDirectory() as folder:
        for each in kill_runs(Path(folder), moments(asked.n, asked.seed)):
            kills.append(each)
            print(f"{len(kills)}: {each}", flush=True)  # noqa: T201
    report = _report(kills)
    print(report)  # noqa: T201
    if asked.write:
        put("bench.kills", report)
    sys.exit(1 if any(each.wrong for each in kills) else 0)


def moments(n: int, seed: int) -> list[float]:
    """Return random moments, in seconds after a run's first message."""
    return np.random.default_rng(seed).uniform(0.02, LONGEST, n).tolist()  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
