"""A recording streamed over LSL as an amplifier would, or would on a bad day."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from types import FrameType

from offline.eeg.recordings import read_recording
from offline.faults import Fault, Plan, harm
from offline.player import Player, PlayReport
from offline.progress import console
from rtfeedback.errors import RtfeedbackError
from rtfeedback.online.lsl import hush

LINGER = 5.0  # s that a receiver has to take the last samples and leave


def say(text: str) -> None:
    """Print a line on stderr."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def play(
    path: Path,
    *,
    stream: str,
    markers: str | None = None,
    speed: float = 1.0,
    chunk: int | None = None,
    loop: bool = False,
    faults: Sequence[Fault] = (),
    seed: int = 0,
    linger: float = LINGER,
    stop: threading.Event | None = None,
    report: Callable[[str], None] = say,
) -> PlayReport:
    """Stream a recording over LSL, from its first sample on, once someone receives it.

    Sample k is stamped start + k / rate, whatever the speed: so stamps run ahead of the
    clock at speeds above 1. A marker goes out before the chunk that holds its sample.
    Faults change that, and what they do is reported as it happens.

    Parameters
    ----------
    stream, markers : str
        Names of the EEG stream and, if wanted, of the marker stream.
    speed : float
        Seconds of recording sent per second.
    chunk : int
        Samples sent at a time; 40 ms worth if not given.
    loop : bool
        Start over at the end, with stamps going on, until interrupted.
    faults : sequence of Fault
        What goes wrong, in each round of a loop.
    seed : int
        Of the faults: the same one harms a recording in the same way.
    linger : float
        Seconds that the receivers have to take the last samples and leave; who lags
        by more loses what waits, as LSL drops it when a stream ends.
    stop : threading.Event
        Ends playing when set, as SIGINT and SIGTERM do.
    report : callable
        Takes what is to be said, a line at a time.

    Raises
    ------
    RtfeedbackError
        The recording cannot be read, the speed or chunk makes no sense, or the recording
        does not have what a fault asks for.
    """
    if not (isfinite(speed) and speed > 0) or (chunk is not None and chunk < 1):
        raise RtfeedbackError(
            "The speed must be above 0, and a chunk at least one sample",
            found=f"Speed {speed}, chunk {chunk}",
        )
    asking = [fault.name for fault in faults if fault.of_markers]
    if asking and markers is None:
        raise RtfeedbackError(
            f"The fault {asking[0]} needs markers to be sent", do="Name them with --markers"
        )
    plan = harm(Plan.of(read_recording(path), chunk), faults, seed)
    return play_plan(
        plan,
        stream=stream,
        markers=markers,
        speed=speed,
        loop=loop,
        linger=linger,
        stop=stop,
        report=report,
    )


def play_plan(
    plan: Plan,
    *,
    stream: str,
    markers: str | None = None,
    speed: float = 1.0,
    loop: bool = False,
    linger: float = LINGER,
    stop: threading.Event | None = None,
    report: Callable[[str], None] = say,
) -> PlayReport:
    """Carry out a plan over LSL, once someone receives it; see `play`."""
    hush()
    with (
        _interruptible(stop or threading.Event()) as stopped,
        Player(plan, stream, markers, stopped, report) as player,
    ):
        report(f"'{stream}' is up and waits for a receiver: rtfeedback run --stream {stream}")
        player.wait()
        sent = player.play(speed=speed, loop=loop)
        report(f"{sent}; waiting up to {linger:g} s for the receiver to leave")
        player.drain(linger)
    return sent


@contextmanager
def _interruptible(stop: threading.Event) -> Iterator[threading.Event]:
    """Let SIGINT and SIGTERM set `stop`; a second one acts as it would have."""
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may take signals
        return

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        restore()
