"""The daemon: one thread that pulls, predicts and publishes, and never falls silent.

Two more write and sync the record, and one answers questions while this one waits.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from rtfeedback.errors import OutputError
from rtfeedback.online import lsl
from rtfeedback.online.control import Control
from rtfeedback.online.course import Course
from rtfeedback.online.inputs import Inputs, markers_of
from rtfeedback.online.publisher import Publisher
from rtfeedback.online.session import SessionFolder
from rtfeedback.online.settings import RunConfig, RunOptions, run_flags
from rtfeedback.online.silence import Silence
from rtfeedback.online.source import Source, StreamLost, StreamOver
from rtfeedback.online.status import scanner_facts, stream_facts
from rtfeedback.online.telling import Telling
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Chunk

HEARTBEAT = 1.0  # s between status messages, whatever happens
EARLY = 0.125  # s that one may come before, so that none comes late
PULL = 0.25  # s that a pull may wait, so that nothing else waits longer
PULL_MARKED = 0.1  # s, where a marker may come at any time, and what it makes due


class Stopped(Exception):  # noqa: N818 (an order, not an error)
    """The run is over, and a stream was being waited for."""


class LiveClock:
    """What time it is now; see `feedback.Clock`."""

    def lsl(self) -> float:
        """Return the LSL clock, in seconds."""
        return lsl.clock()

    def age_ms(self, received: float) -> float:
        """Return how many milliseconds ago something was received."""
        return 1000 * (time.monotonic() - received)


@dataclass(frozen=True, slots=True)
class Startup:
    """How long the program's imports took, and when (monotonic clock) they were done."""

    imports: float
    since: float

    def __str__(self) -> str:
        return f"imports_s={self.imports:.2f} ready_s={time.monotonic() - self.since:.2f}"


class Daemon:
    """One run, from its streams to its messages.

    Parameters
    ----------
    predictor : Predictor
    options : RunOptions
    config : RunConfig
    source : Source, optional
        Where the streams are; LSL, by the names in the options, without.
    startup : Startup, optional
        What the program did before; nothing, without.

    Raises
    ------
    CheckpointError, PublishError, OutputError, StreamError
        Before anything is opened: what would be refused later is refused now.
    """

    def __init__(
        self,
        predictor: Predictor,
        options: RunOptions,
        config: RunConfig,
        source: Source | None = None,
        startup: Startup | None = None,
    ) -> None:
        lsl.hush()
        self.predictor, self.options, self.config = predictor, options, config
        self._startup = startup or Startup(imports=0.0, since=time.monotonic())
        flags = run_flags(predictor.spec, config, options)
        source = source or lsl.LSLSource(options.stream, options.markers)
        markers_name = markers_of(source) if options.markers else None
        self._open_outputs(source)
        named = {"session": self.folder.session, "run": self.folder.run}
        self.course = Course(
            predictor, options, config, tell=self.tell, clock=LiveClock(), flags=flags, **named
        )
        self.control = Control(
            status=lambda: self.tell.message(self._status()),
            last=lambda: self.tell.last.message() if self.tell.last else None,
            mark=self._mark,
            stop=self.stop,
        )
        self.inputs = Inputs(
            source,
            self.course.make_chain,
            self.tell,
            self.folder.record,
            self._idle,
            markers_name=markers_name,
            meanwhile=self.publisher.listen(self.control.answer),
        )
        self._state = "starting"
        self._stopping, self._end = False, inf
        self._silence = Silence(config.stream.stale, self.course.period)
        self._patience = PULL_MARKED if options.markers else PULL
        self._heartbeat = time.monotonic()
        self._ready = False

    def _open_outputs(self, source: Source) -> None:
        """Take the port, make the folder and offer the outlet, or nothing of them."""
        where = self.config.session.model_dump(exclude={"environment"})
        checkpoint = self.predictor.checkpoint
        options = {
            "run": asdict(self.options),
            "config": self.config.model_dump(mode="json"),
            "checkpoint": checkpoint.hash,
        }
        with ExitStack() as undo:
            self.publisher = Publisher(self.options.endpoint)
            undo.callback(self.publisher.close)
            frames = self.config.volume.publish and self.config.volume.record
            self.folder = SessionFolder(self.options.out, **where, frames=frames)
            undo.callback(self.folder.close)
            self.folder.lock(options, checkpoint.path, self.predictor.device)
            undo.pop_all()
        rois = [target.name for target in self.predictor.spec.targets]
        about = {
            "session": self.folder.session,
            "run": self.folder.run,
            "checkpoint": checkpoint.hash,
            "eeg": source.name,
        }
        name = self.config.stream.outlet
        self._outlet = lsl.FeedbackOutlet(name, rois, about) if name else None
        self.tell = Telling(self.publisher, self.folder, rois, self._outlet)

    def stop(self) -> None:
        """End the run soon, cleanly; safe in a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Run until stopped.

        Raises
        ------
        StreamError, ChannelError
            If a stream does not come, or is not what the checkpoint needs.
        OutputError
            At the end, if the run could not be recorded to the end.
        """
        try:
            self.predictor.warm_up()
            self._open()
            self._ready = True
            self.tell.say(
                f"READY session={self.folder.path} publish={self.publisher.endpoint}"
                f" device={self.predictor.device.type}"
                f" outlet={self.config.stream.outlet or 'none'} {self._startup}"
            )
            self._end = time.monotonic() + (self.options.duration or inf)
            while True:
                self._step()
        except Stopped:
            self._ready = True  # told to end, not refused: what there is stays
            rest = self.inputs.rest()
            if rest is not None:
                self._answer(rest)
        finally:
            self._close()
        if lost := self.folder.record.lost:
            raise OutputError(
                f"The record of {self.folder.path} is not whole",
                found=f"{lost}. The feedback itself went on to the end",
                do="Choose another disk with --out, or free some space",
            )

    # --- streams -------------------------------------------------------------------

    def _open(self) -> None:
        self._state = "waiting"
        wait, markers = self.config.stream.wait, self.inputs.markers_name
        beside = f", and for its markers '{markers}'" if markers else ""
        self.tell.say(
            f"waiting up to {wait:g} s for the stream '{self.inputs.source.name}'{beside}"
        )
        self.course.open(self.inputs.open(wait))
        self._silence.open(time.monotonic())

    def _recover(self) -> None:
        chain = self.inputs.recover()
        if chain is not None and self.course.line is not None:
            self.course.open(chain)
            self._silence.open(time.monotonic())

    # --- the loop ------------------------------------------------------------------

    def _step(self) -> None:
        """Take what has come; where a stream is lost, until it is back."""
        try:
            if self.inputs.complete:
                self._idle()
            else:
                self._recover()
        except StreamOver:
            raise Stopped from None
        except StreamLost:
            pass  # it was told, and is recovered in the next step

    def _idle(self) -> None:
        """Take what has come, unless the run is over."""
        if self._stopping or time.monotonic() > self._end:
            raise Stopped
        line = self.course.line
        patience = min(self._patience, self._silence.left(time.monotonic()))
        chunk = self.inputs.pull(patience, line.wanted() if line else 1)
        pulled = time.monotonic()
        if line is not None:
            for marker in self.inputs.pull_markers():
                self.course.mark(marker)
        if chunk is not None:
            self._answer(chunk)
        self._tell_silence(pulled)
        self._watch()
        self.tell.keep(pulled)

    def _answer(self, chunk: Chunk) -> None:
        assert self.course.line is not None
        self.inputs.record(chunk)
        for n, _ in enumerate(self.course.push(chunk)):
            if n:  # the first is answered at once; nothing else waits for all of them
                self._watch()
        if self.course.line.hears:
            self._silence.hear(self.inputs.heard or time.monotonic())
            if not self._silence.stale:  # or these were held back since before it was
                self._state = "running"

    def _tell_silence(self, now: float) -> None:
        """Publish that all is stale, at once and then every period, while no EEG comes."""
        line = self.course.line
        if line is None:
            return  # nothing is stale before it began
        if line.hears and self.inputs.heard is not None:  # they are as those before, it seems
            self._silence.hear(self.inputs.heard)
        self._silence.period = self.course.period
        if self._silence.tells(now, gone=not self.inputs.hears_eeg):
            self._state = "stale"
            reason = "refused" if self.inputs.refused else "stale"
            self.course.stale(reason, self._silence.heard)

    def _watch(self) -> None:
        """Tell that the run goes on."""
        now = time.monotonic()
        if now >= self._heartbeat - EARLY:
            self._heartbeat, status = now + HEARTBEAT, self._status()
            self.tell.tell_of_record()  # before any status that says so
            self.tell.status(status)

    def _status(self) -> dict[str, Any]:
        heard = self._silence.heard
        return {
            "state": self._state,
            "stream": self.inputs.source.name,
            "seq": self.course.make.seq,
            **stream_facts(self.course),
            **scanner_facts(self.course.line, self.inputs),
            "age_ms": None if heard is None else 1000 * (time.monotonic() - heard),
            "recording": self.tell.recording,
            "flags": list(self.course.make.flags),
            "checkpoint": self.predictor.checkpoint.hash,
        }

    def _mark(self, label: str) -> None:
        if self._state == "stopped":  # it would be published, and not recorded
            raise Stopped("the run is over")
        self.tell.event("mark", label=label)

    def _close(self) -> None:
        self._state = "stopped"
        status = self._status()
        self.tell.status(status)
        self.inputs.close()
        if self._outlet:
            self._outlet.close()
        if self._ready:
            self.tell.say(
                f"stopped after {self.course.make.seq} feedback messages;"
                f" {status['samples_received']} samples received, {status['samples_lost']} lost"
            )
        self.folder.close()
        if not self._ready:
            self.folder.discard()
        elif self.folder.record.lost:  # at the very end, perhaps: who listens has to know
            self.tell.tell_of_record()
            self.tell.status(self._status())
        self.publisher.close()
