"""The daemon: one thread that pulls, predicts and publishes, and never falls silent."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict
from math import inf
from typing import Any

from rtfeedback.chain import Chain
from rtfeedback.errors import RtfeedbackError, StreamError
from rtfeedback.online import lsl
from rtfeedback.online.control import Control
from rtfeedback.online.feedback import FeedbackMaker
from rtfeedback.online.line import Line
from rtfeedback.online.publisher import Publisher
from rtfeedback.online.session import SessionFolder
from rtfeedback.online.settings import RunConfig, RunOptions, run_flags
from rtfeedback.online.silence import Silence, next_tick
from rtfeedback.online.telling import Telling
from rtfeedback.online.trclock import CountedVolumes, TRClock
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Chunk, Window

HEARTBEAT = 1.0  # s between status messages, whatever happens
PULL = 0.02  # s that a pull may wait, so that nothing else waits longer
REFUSED = 1.0  # s before a stream that was refused is looked at again


class Stopped(Exception):  # noqa: N818 (an order, not an error)
    """The run is over, and a stream was being waited for."""


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
        lsl.hush()
        self.predictor, self.options, self.config = predictor, options, config
        spec = predictor.spec
        flags = run_flags(spec, config, options)
        self.tr = options.tr or spec.tr
        self.period = options.hop or self.tr
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
        self._line: Line | None = None
        self._stream: lsl.LSLStream | None = None
        self._markers: lsl.LSLMarkers | None = None
        self._state = "starting"
        self._stopping, self._end = False, inf
        self._last: Window | None = None
        self._silence = Silence(config.stream.stale, self.period)
        self._heartbeat = time.monotonic()
        self._told = (-1, 0)  # the segment, and the samples lost by then
        self._refused = ""
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
        self.tell.say(f"waiting up to {wait:g} s for the stream '{options.stream}'")
        if options.markers:  # first, so that no marker of the EEG's first samples is lost
            self._markers = lsl.find_markers(options.markers, timeout=wait, idle=self._idle)
        stream = lsl.find_stream(options.stream, timeout=wait, idle=self._idle)
        labels = self.config.stream.volume_labels
        self._line = Line(
            self._chain(stream),
            self.predictor.spec.window,
            TRClock(self.tr, labels) if options.markers else CountedVolumes(self.tr),
            hop=options.hop,
            gap=self.config.stream.gap,
        )
        self._take(stream)

    def _chain(self, stream: lsl.LSLStream) -> Chain:
        """Return the chain for a stream, which is closed if it is refused."""
        try:
            return Chain(self.predictor.spec.chain, stream.info)
        except RtfeedbackError:
            stream.close()
            raise

    def _take(self, stream: lsl.LSLStream) -> None:
        self._stream, self._refused = stream, ""
        self._silence.open(time.monotonic())
        info = stream.info
        self.tell.log(f"stream={info.name} sfreq={info.sfreq:g} channels={len(info.channels)}")

    def _reopen_stream(self) -> None:
        """Wait for the lost EEG, telling that all is stale; a strange one is refused."""
        assert self._line is not None  # it was opened before it was lost
        try:
            stream = lsl.find_stream(self.options.stream, timeout=inf, idle=self._idle)
            self._line.reconnect(self._chain(stream))
        except RtfeedbackError as error:
            self._refuse(self.options.stream, error)
            return
        self._take(stream)
        self.tell.event("reconnect", stream=stream.info.name, source_id=stream.info.source_id)

    def _reopen_markers(self, name: str) -> None:
        """Wait for the lost markers while the EEG goes on."""
        try:
            self._markers = lsl.find_markers(name, timeout=inf, idle=self._idle)
        except lsl.StreamLost:
            raise  # the EEG's, while the markers were waited for
        except StreamError as error:
            self._refuse(name, error)
            return
        self.tell.event("reconnect", stream=name)

    def _refuse(self, name: str, error: RtfeedbackError) -> None:
        if str(error) != self._refused:  # once, not each time that it is looked at
            self._refused = str(error)
            self.tell.event("refused", stream=name, reason=str(error))
        again = time.monotonic() + REFUSED
        while time.monotonic() < again:
            time.sleep(PULL)
            self._idle()

    def _lose_stream(self, error: lsl.StreamLost) -> None:
        assert self._stream is not None
        self.tell.event("lost", stream=self.options.stream, reason=str(error))
        self._stream.close()
        self._stream = None

    # --- the loop ------------------------------------------------------------------

    def _step(self) -> None:
        """Take what has come; where a stream is lost, until it is back."""
        try:
            if self._stream is None:
                self._reopen_stream()
            elif self.options.markers and self._markers is None:
                self._reopen_markers(self.options.markers)
            else:
                self._idle()
        except lsl.StreamLost as error:
            self._lose_stream(error)

    def _idle(self) -> None:
        """Take what has come, unless the run is over."""
        if self._stopping or time.monotonic() > self._end:
            raise Stopped
        chunk = self._stream.pull(PULL) if self._stream else None
        pulled = time.monotonic()
        self._take_markers()
        if chunk is not None:
            self._predict(chunk)
        self._tell_silence(pulled)
        self._watch()

    def _take_markers(self) -> None:
        if self._markers is None or self._line is None:
            return
        try:
            markers = self._markers.pull()
        except lsl.StreamLost as error:
            self.tell.event("lost", stream=self._markers.name, reason=str(error))
            self._markers.close()
            self._markers = None
            return
        for marker in markers:
            volume = self._line.mark(marker)
            if volume is not None:
                self.tell.event("volume", volume=volume, onset=marker.stamp)

    def _predict(self, chunk: Chunk) -> None:
        assert self._line is not None
        windows = self._line.push(chunk)
        if self._line.hears:
            self._silence.hear(chunk.received)
            self._state = "running"
        for window in windows:
            self._tell_gap()
            self._last = window
            began = time.perf_counter()
            prediction = self.predictor(window.data) if window.valid else None
            infer_ms = 1000 * (time.perf_counter() - began) if prediction else None
            self.tell.feedback(self.make.of_window(window, prediction, infer_ms))
            self._watch()
        self._tell_gap()

    def _tell_gap(self) -> None:
        """Say that a segment began, before anything that comes from it."""
        assert self._line is not None
        timeline, (segment, lost) = self._line.timeline, self._told
        if timeline.segment > segment:
            self._told = timeline.segment, timeline.lost
            if segment >= 0:
                self.tell.event("gap", segment=timeline.segment, lost=timeline.lost - lost)

    def _tell_silence(self, now: float) -> None:
        """Publish that all is stale, at once and then every period, while no EEG comes."""
        if self._line is None:
            return  # nothing is stale before it began
        if self._silence.tells(now, gone=self._stream is None):
            self._state = "stale"
            self.tell.feedback(self.make.stale(self._last, self._silence.heard))

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
        timeline = self._line.timeline if self._line else None
        volumes = self._line.volumes if self._line else None
        clock = volumes if isinstance(volumes, TRClock) else None
        heard = self._silence.heard
        return {
            "state": self._state,
            "stream": self.options.stream,
            "seq": self.make.seq,
            "markers": self._marker_state(),
            "samples_received": timeline.received if timeline else 0,
            "samples_lost": timeline.lost if timeline else 0,
            "segments": timeline.segment + 1 if timeline else 0,
            "volumes_doubled": clock.doubled if clock else 0,
            "volumes_missing": clock.missing if clock else 0,
            "age_ms": None if heard is None else 1000 * (time.monotonic() - heard),
            "recording": "lost" if self.folder.lost else "ok",
            "flags": list(self.make.flags),
            "checkpoint": self.predictor.checkpoint.hash,
        }

    def _marker_state(self) -> str | None:
        if self.options.markers is None:
            return None
        return "lost" if self._line and self._markers is None else "ok"

    def _close(self) -> None:
        self._state = "stopped"
        status = self._status()
        self.tell.status(status)
        self.publisher.close()
        for inlet in (self._stream, self._markers):
            if inlet:
                inlet.close()
        if self._ready:
            self.tell.say(
                f"stopped after {self.make.seq} feedback messages;"
                f" {status['samples_received']} samples received, {status['samples_lost']} lost"
            )
        self.folder.close()
        if not self._ready:
            self.folder.discard()
