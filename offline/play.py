"""A recording streamed over LSL as an amplifier would, paced by the monotonic clock."""

from __future__ import annotations

import signal
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path
from types import FrameType, TracebackType

import numpy as np
from rich.progress import Progress

from offline.progress import console
from offline.recordings import Recording, read_recording
from rtfeedback.errors import RtfeedbackError
from rtfeedback.online.lsl import EEGOutlet, MarkerOutlet, clock, hush

CHUNK = 0.04  # s of samples sent at a time, as amplifiers do at 25 Hz
LINGER = 5.0  # s that a receiver has to take the last samples and leave
_HANDSHAKE = 0.5  # s for what is under way when playing is interrupted
_TICK = 0.1  # s between two looks at the receivers while waiting for them


@dataclass(frozen=True)
class PlayReport:
    """What was sent.

    Attributes
    ----------
    samples, markers : int
    duration : float
        Seconds of recording sent.
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
    linger: float = LINGER,
    stop: threading.Event | None = None,
    report: Callable[[str], None] = say,
) -> PlayReport:
    """Stream a recording over LSL, from its first sample on, once someone receives it.

    Sample k is stamped start + k / rate, whatever the speed: so stamps run ahead of the
    clock at speeds above 1. A marker goes out before the chunk that holds its sample.

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
        The recording cannot be read, or the speed or chunk makes no sense.
    """
    if not (isfinite(speed) and speed > 0) or (chunk is not None and chunk < 1):
        raise RtfeedbackError(
            "The speed must be above 0, and a chunk at least one sample",
            found=f"Speed {speed}, chunk {chunk}",
        )
    recording = read_recording(path)
    size = chunk or max(1, round(CHUNK * recording.info.sfreq))
    hush()
    with (
        _interruptible(stop or threading.Event()) as stopped,
        _Player(recording, stream, markers, stopped) as player,
    ):
        report(f"'{stream}' is up and waits for a receiver: rtfeedback run --stream {stream}")
        player.wait()
        sent = player.play(speed=speed, size=size, loop=loop)
        report(f"{sent}; waiting up to {linger:g} s for the receiver to leave")
        player.drain(linger)
    return sent


class _Player:
    """A recording and its outlets; `with` closes them."""

    def __init__(
        self, recording: Recording, stream: str, markers: str | None, stop: threading.Event
    ) -> None:
        self.recording, self.stop = recording, stop
        duration = len(recording.samples) / recording.info.sfreq
        # A receiver that lags at a high speed may lag by the whole recording.
        self.eeg = EEGOutlet(recording.info, stream, buffer=max(360, ceil(duration)))
        self.markers = MarkerOutlet(markers) if markers else None
        # 1e-6 of a sample, so that k / rate belongs to sample k in floating point too.
        self.marked_at = [m.stamp * recording.info.sfreq + 1e-6 for m in recording.markers]

    def __enter__(self) -> _Player:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.eeg.close()
        if self.markers:
            self.markers.close()

    def wait(self) -> None:
        """Wait until someone receives the EEG: what is sent before is lost."""
        while not self.stop.is_set() and not self.eeg.wait_for_consumers(_TICK):
            pass

    def play(self, *, speed: float, size: int, loop: bool) -> PlayReport:
        """Send the recording chunk by chunk; late ones at once, none left out."""
        rate, n_times = self.recording.info.sfreq, len(self.recording.samples)
        start, began = clock(), time.monotonic()
        samples = marked = 0
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("playing", total=None if loop else n_times)
            for first, last in _chunks(n_times, size, loop):
                due = began + (samples + last - first) / (rate * speed)
                if self.stop.wait(max(0.0, due - time.monotonic())):
                    break
                marked += self._mark(first, last, start + (samples - first) / rate)
                stamps = start + np.arange(samples, samples + last - first) / rate
                self.eeg.push(self.recording.samples[first:last], stamps)
                samples += last - first
                bar.update(task, completed=samples)
        elapsed, complete = time.monotonic() - began, not self.stop.is_set()
        return PlayReport(samples, marked, samples / rate, elapsed, start, complete)

    def _mark(self, first: int, last: int, origin: float) -> int:
        """Send the markers of samples `first` to `last`; return how many."""
        if self.markers is None:
            return 0
        # Markers before the first sample go with it, those after the last with that.
        low = 0 if first == 0 else bisect_left(self.marked_at, first)
        whole = last == len(self.recording.samples)
        high = None if whole else bisect_left(self.marked_at, last)
        due = self.recording.markers[low:high]
        for marker in due:
            self.markers.push(marker.label, origin + marker.stamp)
        return len(due)

    def drain(self, linger: float) -> None:
        """Keep the outlets open until the receivers have left, at most `linger` seconds."""
        if self.stop.is_set():
            linger = min(linger, _HANDSHAKE)
        deadline = time.monotonic() + linger
        while self.eeg.consumed and time.monotonic() < deadline:
            time.sleep(_TICK)


def _chunks(n_times: int, size: int, loop: bool) -> Iterator[tuple[int, int]]:
    """Yield first and last-plus-one sample of each chunk, over and over if `loop`."""
    while True:
        for first in range(0, n_times, size):
            yield first, min(first + size, n_times)
        if not loop:
            return


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
