"""An hour of EEG with nobody watching: what is lost, what grows, and what replay says.

    nohup .venv/bin/python -m bench.soak --out build/soak --write > build/soak.log 2>&1 &

A sender pushes noise over LSL in an amplifier's pace, `rtfeedback run` predicts from it with
a model on the real chain, and this process hears what is published. Every 10 s it notes what
the run's memory is; after the last sample it ends the run, and has it replayed. What came of
it lies in OUT/result.md, printed as well; OUT/memory.csv and what each program said lie
beside it. `--seconds 3600 --channels 64 --rate 1000 --hop 0.25` are the defaults. Where the
code is being worked on, soak a copy of the repository: replay computes by what is there then.

It ends with 1 where a sample was lost, replay is not identical, or a program failed.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from bench import soaked
from bench.checkpoint import labels_of, write
from bench.online.processes import cpu_seconds, machine_seconds
from bench.programs import Program, Programs, resident_megabytes, until
from bench.soaked import Figures, Heard, Look
from bench.tables import markdown_table, provenance, put
from offline.rehearsal import two_free_ports
from rtfeedback.checkpoint import load_checkpoint
from rtfeedback.client import FeedbackClient
from rtfeedback.models import EEGNetConfig
from rtfeedback.signals import Float64

STREAM = "SoakEEG"
CHUNK = 0.01  # s of samples pushed at a time
EACH = 10.0  # s between two looks at the run's memory
LAST = 0.3  # s that the last samples may be under way; less than makes EEG stale
ENDING = 60.0  # s that a run may take to end
TOPICS = ("feedback", "status", "event")
BEGINNING = 120.0  # s that all may take to be under way


def soak(out: Path, checkpoint: Path, *, seconds: float, hop: float) -> tuple[Figures, bool]:
    """Run for so many seconds, and return the figures and whether all is well.

    Parameters
    ----------
    out : Path
        Folder for what the programs write.
    checkpoint : Path
        What the run predicts by; the stream has its channels and rate.
    seconds, hop : float

    Raises
    ------
    RuntimeError, TimeoutError
        A program failed.
    """
    chain = load_checkpoint(checkpoint).spec.chain
    programs, heard = Programs(out), Heard()
    endpoint, pushes = f"tcp://127.0.0.1:{two_free_ports()}", out / "pushes.npy"
    with ExitStack() as stack:
        client = stack.enter_context(FeedbackClient(endpoint, TOPICS))
        run = stack.enter_context(
            programs.started(
                *("run", "rtfeedback", "run", "--stream", STREAM, "--model", checkpoint),
                *("--hop", hop, "--tr", max(2.0, 2 * hop), "--publish", endpoint),
                *("--out", out / "sessions", "--device", "cpu"),
            )
        )
        send = stack.enter_context(
            programs.started(
                *("sender", "bench.online.sender", "--stream", STREAM),
                *("--labels", ",".join(chain.channels), "--rate", chain.sfreq),
                *("--chunk", round(CHUNK * chain.sfreq), "--fill", 0, "--seconds", seconds),
                *("--pushes", pushes),
            )
        )
        until(lambda: "\n" in programs.said("sender") or _failed(run), "the start", BEGINNING)
        first = json.loads(programs.said("sender"))["first"]
        whole = 8 * round(seconds * chain.sfreq)  # bytes
        until(lambda: pushes.stat().st_size > whole, "the sender's first push")
        pushed = np.load(pushes, mmap_mode="r")
        _watch(client, run, send, pushed, heard, out / "memory.csv")
        _end(client, run, heard)
    (session,) = out.glob("sessions/*/*/run-*")
    replayed, line = _replay(programs, session)
    status = heard.of("status")[-1]
    figures = [
        ("stream", f"{len(chain.channels)} channels, {chain.sfreq:g} Hz, {seconds:g} s"),
        ("samples sent", f"{len(pushed)}"),
        ("samples received", f"{status['samples_received']}"),
        ("samples lost", f"{status['samples_lost']}"),
        *soaked.messages(heard),
        ("messages missed by the client", f"{client.missed}"),
        *soaked.latency(heard.latency(pushed, first, chain.sfreq)),
        *soaked.costs(heard),
        *soaked.record(session),
        ("replay", line),
    ]
    all_came = status["samples_lost"] == 0 and status["samples_received"] == len(pushed)
    return figures, replayed and all_came and not client.missed


def _watch(
    client: FeedbackClient,
    run: Program,
    send: Program,
    pushed: Float64,
    heard: Heard,
    file: Path,
) -> None:
    """Listen, and look at the run now and then, until all was sent."""
    due = began = time.monotonic()
    with file.open("w", newline="", encoding="utf-8") as text:
        rows = csv.writer(text)
        rows.writerow(Look._fields)
        while not pushed[-1]:
            _listen(client, heard, 0.1)
            for name, program in (("run", run), ("sender", send)):
                if _failed(program):
                    raise RuntimeError(f"the {name} ended with {program.returncode}")
            if (now := time.monotonic()) >= due:
                due = max(due + EACH, now)
                heard.looks.append(_look(run.pid, now - began))
                rows.writerow(f"{number:.3f}" for number in heard.looks[-1])
                text.flush()
                _say_how_it_goes(heard)
        last = time.monotonic() + LAST
        while (left := last - time.monotonic()) > 0:
            _listen(client, heard, left)


def _look(pid: int, at: float) -> Look:
    return Look(at, resident_megabytes(pid), cpu_seconds(pid), machine_seconds())


def _say_how_it_goes(heard: Heard) -> None:
    look, status = heard.looks[-1], (heard.of("status") or [{}])[-1]
    _say(
        f"{look.at:6.0f} s: {look.megabytes:.1f} MB, {status.get('samples_received')} samples"
        f" received, {status.get('samples_lost')} lost"
    )


def _listen(client: FeedbackClient, heard: Heard, seconds: float) -> None:
    while (message := client.receive(seconds)) is not None:
        seconds = 0.0
        heard.received.append((message.pop("receive_time"), message))


def _end(client: FeedbackClient, run: Program, heard: Heard) -> None:
    """End the run, and hear all that it still says."""
    run.send_signal(signal.SIGTERM)

    def over() -> bool:
        _listen(client, heard, 0.1)
        return heard.stopped and run.poll() is not None

    until(over, "the run's end", ENDING)
    if run.returncode:
        raise RuntimeError(f"the run ended with {run.returncode}")


def _failed(program: Program) -> bool:
    return program.poll() is not None


def _replay(programs: Programs, session: Path) -> tuple[bool, str]:
    """Return whether the run is computed again, and what replay said."""
    since = time.monotonic()
    with programs.started("replay", "rtfeedback", "replay", session, "--device", "cpu") as it:
        same = it.wait() == 0
    said = (programs.said("replay") + programs.complained("replay")).splitlines()
    return same, f"{'; '.join(said[:6])} ({time.monotonic() - since:.0f} s)"


def _report(figures: Figures, checkpoint: Path, hop: float) -> str:
    command = shlex.join(["python", "-m", "bench.soak", *sys.argv[1:]])
    spec = load_checkpoint(checkpoint).spec
    what = (
        f"`rtfeedback run` with {spec.model.name} on its chain, hop {hop:g} s, beside a sender"
        " over LSL and a client over ZeroMQ; latency is from the push of the window's newest"
        " sample to the receipt of the value.\n"
    )
    table = markdown_table(("what", "figure"), figures)
    return f"{provenance(command)}\n{what}\n{table}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def main() -> None:
    """Read the command line, soak, and say what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1000.0, help="Hz")
    parser.add_argument("--hop", type=float, default=0.25, help="s")
    parser.add_argument("--model", type=Path, help="a checkpoint in place of an EEGNet")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="a new folder")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or its programs would go on
    try:
        asked.out.mkdir(parents=True)
    except FileExistsError:
        parser.error(f"{asked.out} is there already: name another folder with --out")
    checkpoint = asked.model or asked.out / "eegnet"
    if asked.model is None:
        labels = labels_of(asked.channels)
        write(checkpoint, EEGNetConfig(), labels=labels, rate=asked.rate)
    try:
        figures, well = soak(asked.out, checkpoint, seconds=asked.seconds, hop=asked.hop)
    except (RuntimeError, TimeoutError) as error:
        (asked.out / "result.md").write_text(f"It failed: {error}\n", encoding="utf-8")
        raise
    report = _report(figures, checkpoint, asked.hop)
    (asked.out / "result.md").write_text(report, encoding="utf-8")
    print(report)  # noqa: T201
    if asked.write:
        put("bench.soak", report)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
