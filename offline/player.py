"""The one who carries out a plan over LSL, paced by the monotonic clock."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from math import ceil
from types import TracebackType

from rich.progress import Progress

from offline.faults.plan import Close, EEGLife, Life, Open, Plan, Say, SendEEG, SendMarker, Step
from offline.progress import console
from rtfeedback.online.lsl import EEGOutlet, MarkerOutlet, clock

_HANDSHAKE = 0.5  # s for what is under way when playing is interrupted
_TICK = 0.1  # s between two looks at the receivers while waiting for them


@dataclass(frozen=True)
class PlayReport:
    """What was sent.

    Attributes
    ----------
    samples, markers : int
    duration : float
        Seconds of recording that were gone through.
    elapsed : float
        Seconds that it took, from the first chunk to the last.
    start : float
        Stamp of the first sample, on the LSL clock in seconds.
    complete : bool
        False where it was interrupted.
    """

    samples: int
    markers: int
    duration: float
    elapsed: float
    start: float
    complete: bool

    def __str__(self) -> str:
        how = "played" if self.complete else "interrupted after"
        return (
            f"{how} {self.samples} samples and {self.markers} markers:"
            f" {self.duration:.1f} s of recording in {self.elapsed:.1f} s"
        )


class Player:
    """A plan and its outlets, which are open from the start; `with` closes them.

    Parameters
    ----------
    plan : Plan
    stream, markers : str
        Names of the EEG stream and, if wanted, of the marker stream.
    stop : threading.Event
        Ends playing when set.
    report : callable
        Takes what is to be said, a line at a time.
    """

    def __init__(
        self,
        plan: Plan,
        stream: str,
        markers: str | None,
        stop: threading.Event,
        report: Callable[[str], None],
    ) -> None:
        self.plan, self.stream, self.marker_name = plan, stream, markers
        self.stop, self.report = stop, report
        self.id = uuid.uuid4().hex
        self.eeg: EEGOutlet | None = None
        self.markers: MarkerOutlet | None = None
        self.stamps = plan.stamps
        self.samples = self.marked = 0
        self.reached = 0.0  # s of recording
        self._open(plan.lives[0])
        self._open(plan.marker_lives[0])

    def __enter__(self) -> Player:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for outlet in (self.eeg, self.markers):
            if outlet:
                outlet.close()

    def wait(self) -> None:
        """Wait until someone receives the EEG: what is sent before is lost."""
        while self.eeg and not self.stop.is_set() and not self.eeg.wait_for_consumers(_TICK):
            pass

    def play(self, *, speed: float, loop: bool) -> PlayReport:
        """Do what is planned, step by step; late ones at once, none left out."""
        plan, rate = self.plan, speed * self.plan.pace
        steps = plan.steps()
        start, began, waited = clock(), time.monotonic(), 0.0
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("playing", total=None if loop else plan.duration)
            for turn in count() if loop else range(1):
                waited += self._begin() if turn else 0.0
                for step in steps:
                    at = turn * plan.duration + step.at
                    due = began + waited + at / rate
                    if self.stop.wait(max(0.0, due - time.monotonic())):
                        break
                    waited += self._do(step, turn, start + turn * plan.period)
                    bar.update(task, completed=at)
                if self.stop.is_set():
                    break
        elapsed, complete = time.monotonic() - began, not self.stop.is_set()
        return PlayReport(self.samples, self.marked, self.reached, elapsed, start, complete)

    def _begin(self) -> float:
        """Begin another round with what the stream offered in the first."""
        first, last = self.plan.lives[0], self.life
        if (first.info, first.columns, first.scale) == (last.info, last.columns, last.scale):
            return 0.0
        self._close(last)
        return self._reopen(replace(first, waits=last.waits))

    def _do(self, step: Step, turn: int, origin: float) -> float:
        """Do a step; return the seconds that it took to wait for a receiver."""
        match step:
            case Say(at=at, text=text):
                total = turn * self.plan.duration + at
                self.report(f"{total:.3f} s (stamp {origin + at:.6f}): {text}")
            case SendEEG(rows=rows):
                self._send(rows, turn, origin)
            case SendMarker(marker=marker) if self.markers:
                self.markers.push(marker.label, origin + marker.stamp)
                self.marked += 1
            case Close(life=life):
                self._close(life)
            case Open(life=life):
                return self._reopen(life)
        return 0.0

    def _send(self, rows: slice, turn: int, origin: float) -> None:
        assert self.eeg is not None  # a plan sends nothing while the outlet is closed
        plan = self.plan
        self.eeg.push(self.life.wire(plan.samples[rows]), origin + self.stamps[rows])
        self.samples += rows.stop - rows.start
        last = (int(plan.index[rows.stop - 1]) + 1) / plan.recording.info.sfreq
        self.reached = turn * plan.duration + last

    def _reopen(self, life: Life) -> float:
        since = time.monotonic()
        self._open(life)
        if life.waits and isinstance(life, EEGLife):
            self.wait()
        return time.monotonic() - since

    def _open(self, life: Life) -> None:
        if isinstance(life, EEGLife):
            self.life = life
            # A receiver that lags at a high speed may lag by the whole recording.
            buffer = max(360, ceil(self.plan.duration))
            source = f"{self.id}-eeg-{life.source}"
            self.eeg = EEGOutlet(life.info, self.stream, buffer=buffer, source_id=source)
        elif self.marker_name:
            source = f"{self.id}-markers-{life.source}"
            self.markers = MarkerOutlet(self.marker_name, source_id=source)

    def _close(self, life: Life) -> None:
        if isinstance(life, EEGLife):
            if self.eeg:
                self.eeg.close()
            self.eeg = None
        else:
            if self.markers:
                self.markers.close()
            self.markers = None

    def drain(self, linger: float) -> None:
        """Keep the outlets open until the receivers have left, at most `linger` seconds."""
        if self.stop.is_set():
            linger = min(linger, _HANDSHAKE)
        deadline = time.monotonic() + linger
        while self.eeg and self.eeg.consumed and time.monotonic() < deadline:
            time.sleep(_TICK)
