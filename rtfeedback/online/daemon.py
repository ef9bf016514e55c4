"""The daemon: one thread that pulls, predicts and publishes, and never falls silent."""

from __future__ import annotations

import sys
import time
from statistics import median
from typing import Any

from rtfeedback.chain import Chain
from rtfeedback.errors import ChannelError, StreamError
from rtfeedback.online import lsl
from rtfeedback.online.control import Control
from rtfeedback.online.feedback import FeedbackMaker
from rtfeedback.online.line import Line
from rtfeedback.online.publisher import Publisher
from rtfeedback.online.session import SessionFolder
from rtfeedback.online.settings import RunConfig, RunOptions, run_flags
from rtfeedback.online.trclock import CountedVolumes, TRClock
from rtfeedback.predictor import Predictor
from rtfeedback.signals import SCHEMA, Chunk, Feedback, Window

HEARTBEAT = 1.0  # s between status messages, whatever happens
PULL = 0.02  # s that a pull may wait, so that nothing else waits longer
REFUSED = 1.0  # s before a stream that was refused is looked at again


class Stopped(Exception):  # noqa: N818 (an order, not an error)
    """The run was told to end while it waited for a stream."""


class Daemon:
    """One run, from its streams to its messages.

    Parameters
    ----------
    predictor : Predictor
    options : RunOptions
    config : RunConfig

    Raises
    ------
    CheckpointError, PublishError, OutputError
        Before anything is opened: what would be refused later is refused now.
    """

    def __init__(self, predictor: Predictor, options: RunOptions, config: RunConfig) -> None:
        self.predictor, self.options, self.config = predictor, options, config
        spec = predictor.spec
        flags = run_flags(spec, config, options)
        self.tr = options.tr or spec.tr
        self.period = options.hop or self.tr
        self.publisher = Publisher(options.endpoint)
        try:
            self.folder = _folder(options, config)
            self.folder.lock(
                {"run": options, "config": config.model_dump(mode="json")},
                predictor.checkpoint.path,
            )
        except BaseException:
            self.publisher.close()
            raise
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
            status=self._status,
            last=lambda: self._last_message,
            mark=self._mark,
            stop=self.stop,
        )
        self._line: Line | None = None
        self._stream: lsl.LSLStream | None = None
        self._markers: lsl.LSLMarkers | None = None
        self._state = "starting"
        self._stopping = False
        self._last: Window | None = None
        self._last_message: dict[str, Any] | None = None
        self._heartbeat = self._received = self._stale = 0.0
        self._intervals: list[float] = []

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
            self._say(f"READY session={self.folder.path} publish={self.publisher.endpoint}")
            started = time.monotonic()
            while not self._stopping:
                if self.options.duration and time.monotonic() - started > self.options.duration:
                    break
                self._step()
        except Stopped:
            pass
        finally:
            self._close()

    # --- streams -------------------------------------------------------------------

    def _open(self) -> None:
        self._state = "waiting"
        wait, options = self.config.stream.wait, self.options
        self._say(f"waiting up to {wait:g} s for the stream '{options.stream}'")
        if options.markers:  # first, so that no marker of the EEG's first samples is lost
            self._markers = lsl.find_markers(options.markers, timeout=wait, idle=self._idle)
        stream = lsl.find_stream(options.stream, timeout=wait, idle=self._idle)
        chain = Chain(self.predictor.spec.chain, stream.info)
        labels = self.config.stream.volume_labels
        self._line = Line(
            chain,
            self.predictor.spec.window,
            TRClock(self.tr, labels) if options.markers else CountedVolumes(self.tr),
            hop=options.hop,
            gap=self.config.stream.gap,
        )
        self._take(stream)

    def _reopen(self) -> None:
        """Look for the lost streams until they are back, telling that all is stale."""
        try:
            if self.options.markers and self._markers is None:
                self._markers = lsl.find_markers(
                    self.options.markers, timeout=HEARTBEAT, idle=self._idle
                )
            stream = lsl.find_stream(self.options.stream, timeout=HEARTBEAT, idle=self._idle)
        except StreamError:
            return
        try:
            chain = Chain(self.predictor.spec.chain, stream.info)
        except ChannelError as error:
            stream.close()
            self._event("refused", reason=str(error))
            again = time.monotonic() + REFUSED
            while time.monotonic() < again:
                time.sleep(PULL)
                self._idle()
            return
        assert self._line is not None  # it was opened before it was lost
        self._line.reconnect(chain)
        self._take(stream)
        self._event("reconnect", source_id=stream.info.source_id)

    def _take(self, stream: lsl.LSLStream) -> None:
        self._stream = stream
        self._received = time.monotonic()
        self._intervals.clear()
        self._state = "running"
        info = stream.info
        self._log(f"stream={info.name} sfreq={info.sfreq:g} channels={len(info.channels)}")

    def _lose(self, error: StreamError) -> None:
        self._event("lost", reason=str(error))
        for inlet in (self._stream, self._markers):
            if inlet:
                inlet.close()
        self._stream = self._markers = None

    # --- the loop ------------------------------------------------------------------

    def _step(self) -> None:
        if self._stream is None:
            self._reopen()
            return
        try:
            chunk = self._stream.pull(PULL)
            self._take_markers()
        except lsl.StreamLost as error:
            self._lose(error)
            return
        if chunk is not None:
            self._predict(chunk)
        self._watch()

    def _take_markers(self) -> None:
        assert self._line is not None
        for marker in self._markers.pull() if self._markers else ():
            volume = self._line.mark(marker)
            if volume is not None:
                self._event("volume", volume=volume, onset=marker.stamp)

    def _predict(self, chunk: Chunk) -> None:
        assert self._line is not None
        timeline = self._line.timeline
        segment, lost = timeline.segment, timeline.lost
        self._intervals = [*self._intervals[-31:], chunk.received - self._received]
        self._received = chunk.received
        self._state = "running"
        for window in self._line.push(chunk):
            self._last = window
            began = time.perf_counter()
            prediction = self.predictor(window.data) if window.valid else None
            infer_ms = 1000 * (time.perf_counter() - began) if prediction else None
            self._publish(self.make.of_window(window, prediction, infer_ms))
        if timeline.segment > max(segment, 0):
            self._event("gap", segment=timeline.segment, lost=timeline.lost - lost)

    def _watch(self) -> None:
        """Tell what time alone brings: staleness, the heartbeat, questions."""
        now = time.monotonic()
        usual = median(self._intervals) if self._intervals else 0.0
        if now - self._received > max(self.config.stream.stale, 2 * usual):
            if self._state != "stale":
                self._state, self._stale = "stale", now
            if now >= self._stale:
                self._stale += self.period
                self._publish(self.make.stale(self._last, self._received))
        if now >= self._heartbeat:
            self._heartbeat = now + HEARTBEAT
            self._send("status", self._status())
        while (request := self.publisher.asked()) is not None:
            self.publisher.answer(self.control.answer(request))

    def _idle(self) -> None:
        if self._stopping:
            raise Stopped
        if self._line is None:
            self._received = time.monotonic()  # nothing is stale before it began
        self._watch()

    # --- telling -------------------------------------------------------------------

    def _publish(self, feedback: Feedback) -> None:
        self._last_message = feedback.message()
        self._send("feedback", self._last_message)
        value = "null" if feedback.value is None else f"{feedback.value:.3f}"
        self._log(
            f"seq={feedback.seq} volume={feedback.volume} value={value}"
            f" reason={feedback.reason} age_ms={feedback.age_ms or 0:.1f}"
            f" infer_ms={feedback.infer_ms or 0:.1f}"
        )

    def _status(self) -> dict[str, Any]:
        timeline = self._line.timeline if self._line else None
        return {
            "schema": SCHEMA,
            "session": self.folder.session,
            "run": self.folder.run,
            "state": self._state,
            "stream": self.options.stream,
            "seq": self.make.seq,
            "samples_received": timeline.received if timeline else 0,
            "samples_lost": timeline.lost if timeline else 0,
            "segments": timeline.segment + 1 if timeline else 0,
            "age_ms": 1000 * (time.monotonic() - self._received),
            "recording": "lost" if self.folder.lost else "ok",
            "flags": list(self.make.flags),
            "checkpoint": self.predictor.checkpoint.hash,
            "publish_time": lsl.clock(),
        }

    def _event(self, kind: str, **facts: Any) -> None:
        message = {
            "schema": SCHEMA,
            "session": self.folder.session,
            "run": self.folder.run,
            "event": kind,
            **facts,
            "publish_time": lsl.clock(),
        }
        self._send("event", message)
        self._log(" ".join([f"event={kind}", *(f"{k}={v}" for k, v in facts.items())]))

    def _mark(self, label: str) -> None:
        self._event("mark", label=label)

    def _send(self, topic: str, message: dict[str, Any]) -> None:
        self.publisher.send(topic, message)
        self.folder.message(topic, message)

    def _log(self, line: str) -> None:
        self.folder.log(f"{lsl.clock():.6f} {line}")

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201
        self._log(line)

    def _close(self) -> None:
        self._state = "stopped"
        self._send("status", self._status())
        timeline = self._line.timeline if self._line else None
        self._say(
            f"stopped after {self.make.seq} feedback messages;"
            f" {timeline.received if timeline else 0} samples received,"
            f" {timeline.lost if timeline else 0} lost"
        )
        for inlet in (self._stream, self._markers):
            if inlet:
                inlet.close()
        self.publisher.close()
        self.folder.close()


def _folder(options: RunOptions, config: RunConfig) -> SessionFolder:
    session = config.session
    return SessionFolder(
        options.out, subject=session.subject, session=session.session, run=session.run
    )
