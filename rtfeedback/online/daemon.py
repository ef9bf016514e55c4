"""The daemon: one thread that pulls, predicts and publishes, and never falls silent."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict
from math import inf
from typing import Any

from rtfeedback.chain import Chain
from rtfeedback.online import lsl
from rtfeedback.online.control import Control
from rtfeedback.online.feedback import FeedbackMaker
from rtfeedback.online.inputs import Inputs, markers_of
from rtfeedback.online.line import Line
from rtfeedback.online.plausibility import Plausibility
from rtfeedback.online.publisher import Publisher
from rtfeedback.online.session import SessionFolder
from rtfeedback.online.settings import RunConfig, RunOptions, run_flags
from rtfeedback.online.silence import Silence, next_tick
from rtfeedback.online.source import Source, StreamLost, StreamOver
from rtfeedback.online.status import scanner_facts, stream_facts
from rtfeedback.online.telling import Telling
from rtfeedback.online.trclock import CountedVolumes, TRClock
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Chunk, Feedback, StreamInfo, Window

HEARTBEAT = 1.0  # s between status messages, whatever happens
PULL = 0.02  # s that a pull may wait, so that nothing else waits longer


class Stopped(Exception):  # noqa: N818 (an order, not an error)
    """The run is over, and a stream was being waited for."""


class Daemon:
    """One run, from its streams to its messages.

    Parameters
    ----------
    predictor : Predictor
    options : RunOptions
    config : RunConfig
    source : Source, optional
        Where the streams are; LSL, by the names in the options, without.

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
    ) -> None:
        lsl.hush()
        self.predictor, self.options, self.config = predictor, options, config
        spec = predictor.spec
        flags = run_flags(spec, config, options)
        self.tr = options.tr or spec.tr
        self.period = options.hop or self.tr
        source = source or lsl.LSLSource(options.stream, options.markers)
        markers_name = markers_of(source) if options.markers else None
        with ExitStack() as undo:
            self.publisher = Publisher(options.endpoint)
            undo.callback(self.publisher.close)
            where = config.session.model_dump(exclude={"environment"})
            self.folder = SessionFolder(options.out, **where)
            undo.callback(self.folder.close)
            self.folder.lock(
                {"run": asdict(options), "config": config.model_dump(mode="json")},
                predictor.checkpoint.path,
            )
            undo.pop_all()
        self.tell = Telling(self.publisher, self.folder)
        self.make = FeedbackMaker(
            session=self.folder.session,
            run=self.folder.run,
            checkpoint=predictor.checkpoint.hash,
            rois=[target.name for target in spec.targets],
            flags=flags,
            period=self.period,
            clock=lsl.clock,
        )
        self.control = Control(
            status=lambda: self.tell.message(self._status()),
            last=lambda: self.tell.last,
            mark=lambda label: self.tell.event("mark", label=label),
            stop=self.stop,
        )
        self._plausibility = Plausibility(spec, self.tr)
        self.inputs = Inputs(
            source, self._make_chain, self.tell, self._idle, markers_name=markers_name
        )
        self._line: Line | None = None
        self._state = "starting"
        self._stopping, self._end = False, inf
        self._last: Window | None = None
        self._silence = Silence(config.stream.stale, self.period)
        self._heartbeat = time.monotonic()
        self._doubted: str | None = None
        self._ready = False

    def stop(self) -> None:
        """End the run soon, cleanly; safe in a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Run until stopped.

        Raises
        ------
        StreamError, ChannelError
            If a stream does not come, or is not what the checkpoint needs.
        """
        try:
            self.predictor.warm_up()
            self._open()
            self._ready = True
            self.tell.say(f"READY session={self.folder.path} publish={self.publisher.endpoint}")
            self._end = time.monotonic() + (self.options.duration or inf)
            while True:
                self._step()
        except Stopped:
            self._ready = True  # told to end, not refused: what there is stays
        finally:
            self._close()

    # --- streams -------------------------------------------------------------------

    def _open(self) -> None:
        self._state = "waiting"
        wait, options = self.config.stream.wait, self.options
        self.tell.say(f"waiting up to {wait:g} s for the stream '{self.inputs.source.name}'")
        chain = self.inputs.open(wait)
        labels = self.config.stream.volume_labels
        self._line = Line(
            chain,
            self.predictor.spec.window,
            TRClock(self.tr, labels) if options.markers else CountedVolumes(self.tr),
            hop=options.hop,
            gap=self.config.stream.gap,
            plausibility=self._plausibility,
        )
        self._silence.open(time.monotonic())

    def _recover(self) -> None:
        chain = self.inputs.recover()
        if chain is not None and self._line is not None:
            self._line.reconnect(chain)
            self._silence.open(time.monotonic())

    def _make_chain(self, info: StreamInfo) -> Chain:
        return Chain(self.predictor.spec.chain, info, tap=self._plausibility.tap)

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
        chunk = self.inputs.pull(PULL)
        pulled = time.monotonic()
        self._take_markers()
        if chunk is not None:
            self._predict(chunk)
        self._tell_silence(pulled)
        self._watch()

    def _take_markers(self) -> None:
        if self._line is None:
            return
        for marker in self.inputs.pull_markers():
            volume = self._line.mark(marker)
            if volume is not None:
                self.tell.event("volume", volume=volume.number, onset=volume.onset)
            self._tell_happenings()

    def _predict(self, chunk: Chunk) -> None:
        assert self._line is not None
        windows = self._line.push(chunk)
        if self._line.hears:
            self._silence.hear(time.monotonic())
            self._state = "running"
        for window in windows:
            self._tell_happenings()
            self._last = window
            self.tell.feedback(self._feedback_of(window))
            self._watch()
        self._tell_happenings()

    def _feedback_of(self, window: Window) -> Feedback:
        # What is late already would only make what comes after it late as well.
        if not window.valid or self.make.is_late(window):
            return self.make.of_window(window, None, None)
        began = time.perf_counter()
        prediction = self.predictor(window.data)
        return self.make.of_window(window, prediction, 1000 * (time.perf_counter() - began))

    def _tell_happenings(self) -> None:
        """Say what became of the streams, before any feedback that it bears on."""
        assert self._line is not None
        self._tell_gap()
        self._tell_doubt()
        for happening in self._line.happenings():
            self.tell.event(happening.kind, **happening.facts)
            if happening.kind == "tr" and not self.options.hop:
                self.make.period = self._silence.period = self._line.volumes.tr

    def _tell_doubt(self) -> None:
        doubt = self._plausibility.doubt
        if (doubt and doubt.reason) == self._doubted:
            return
        self._doubted = doubt.reason if doubt else None
        if doubt:
            self.tell.event("implausible", reason=doubt.reason, found=doubt.found, do=doubt.do)
        else:
            self.tell.event("plausible")

    def _tell_gap(self) -> None:
        """Say that a segment began, before anything that comes from it."""
        assert self._line is not None
        for began in self._line.timeline.begun:
            if began.segment or began.lost:
                self.tell.event("gap", **began._asdict())
        self._line.timeline.begun.clear()

    def _tell_silence(self, now: float) -> None:
        """Publish that all is stale, at once and then every period, while no EEG comes."""
        if self._line is None:
            return  # nothing is stale before it began
        if self._silence.tells(now, gone=not self.inputs.hears_eeg):
            self._state = "stale"
            reason = "refused" if self.inputs.refused else "stale"
            self.tell.feedback(self.make.stale(self._last, self._silence.heard, reason))

    def _watch(self) -> None:
        """Tell that the run goes on, and answer a question."""
        now = time.monotonic()
        if now >= self._heartbeat:
            self._heartbeat = next_tick(self._heartbeat, HEARTBEAT, now)
            self.tell.status(self._status())
        request = self.publisher.asked()  # one at a time, so that EEG is never kept waiting
        if request is not None:
            self.publisher.answer(self.control.answer(request))

    def _status(self) -> dict[str, Any]:
        heard = self._silence.heard
        return {
            "state": self._state,
            "stream": self.inputs.source.name,
            "seq": self.make.seq,
            **stream_facts(self._line, self._plausibility),
            **scanner_facts(self._line, self.inputs),
            "age_ms": None if heard is None else 1000 * (time.monotonic() - heard),
            "recording": "lost" if self.folder.lost else "ok",
            "flags": list(self.make.flags),
            "checkpoint": self.predictor.checkpoint.hash,
        }

    def _close(self) -> None:
        self._state = "stopped"
        status = self._status()
        self.tell.status(status)
        self.publisher.close()
        self.inputs.close()
        if self._ready:
            self.tell.say(
                f"stopped after {self.make.seq} feedback messages;"
                f" {status['samples_received']} samples received, {status['samples_lost']} lost"
            )
        self.folder.close()
        if not self._ready:
            self.folder.discard()
