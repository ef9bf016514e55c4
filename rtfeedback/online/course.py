"""The course of a run: EEG and markers in, feedback and events out; live or replayed.

It has no socket, no stream and no clock of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any, Protocol

from rtfeedback.chain import Chain
from rtfeedback.online.feedback import Clock, FeedbackMaker
from rtfeedback.online.line import Line
from rtfeedback.online.plausibility import Plausibility
from rtfeedback.online.settings import RunConfig, RunOptions, other_tr
from rtfeedback.online.trclock import TRClock
from rtfeedback.online.volumes import CountedVolumes
from rtfeedback.online.whole_volume import WholeVolume, is_due, whole_volume
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Chunk, Feedback, Marker, StreamInfo, Window


class Tell(Protocol):
    """Who is told what comes of a run."""

    def feedback(self, feedback: Feedback) -> None:
        """Take a feedback message."""

    def volume(self, volume: WholeVolume) -> None:
        """Take the volume that goes with the feedback message before it."""

    def event(self, kind: str, **facts: Any) -> None:
        """Take something that happened."""


class Course:
    """What is told of what is heard, in its order.

    Parameters
    ----------
    predictor : Predictor
    options : RunOptions
    config : RunConfig
    tell : Tell
    clock : Clock
    flags : sequence of str
        What limits the worth of the whole run; see `settings.run_flags`.
    session, run : str
        As every message names them.

    Attributes
    ----------
    line : Line or None
        None before EEG was opened.
    period : float
        Seconds after which a message is late, and in which silence is told: hop, else TR.
    """

    def __init__(
        self,
        predictor: Predictor,
        options: RunOptions,
        config: RunConfig,
        *,
        tell: Tell,
        clock: Clock,
        flags: Sequence[str],
        session: str,
        run: str,
    ) -> None:
        spec = predictor.spec
        self.predictor, self.options, self.config, self._tell = predictor, options, config, tell
        self.tr = options.tr or spec.tr
        self.plausibility = Plausibility(spec, self.tr)
        self.line: Line | None = None
        self.make = FeedbackMaker(
            session=session,
            run=run,
            checkpoint=predictor.checkpoint.hash,
            rois=[target.name for target in spec.targets],
            flags=flags,
            period=options.hop or self.tr,
            clock=clock,
        )
        self._last: Window | None = None
        self._doubted: str | None = None
        self._other_tr = other_tr(spec, self.tr)

    @property
    def period(self) -> float:
        """Return hop, else TR, in seconds."""
        return self.make.period

    def make_chain(self, info: StreamInfo) -> Chain:
        """Return the chain for a stream.

        Raises
        ------
        ChannelError
            If the stream is not what the checkpoint needs.
        """
        return Chain(self.predictor.spec.chain, info, tap=self.plausibility.tap)

    def open(self, chain: Chain) -> None:
        """Go on with a stream, by its chain: the first, or one in place of one that ended."""
        if self.line is not None:
            self.line.reconnect(chain)
            return
        labels = self.config.stream.volume_labels
        self.line = Line(
            chain,
            self.predictor.spec.window,
            TRClock(self.tr, labels) if self.options.markers else CountedVolumes(self.tr),
            hop=self.options.hop,
            gap=self.config.stream.gap,
            plausibility=self.plausibility,
        )

    def mark(self, marker: Marker) -> None:
        """Take a marker."""
        assert self.line is not None
        if not isfinite(marker.stamp):  # a sender's error, which is no time
            self._tell.event("stray", onset=None, off=None)
            return
        volume = self.line.mark(marker)
        if volume is not None:
            self._tell.event("volume", volume=volume.number, onset=volume.onset)
        self._tell_happenings()

    def push(self, chunk: Chunk) -> Iterator[Window]:
        """Take EEG, and tell what falls due in it.

        Yields
        ------
        Window
            Each that is due, just before it is answered.
        """
        assert self.line is not None
        for window in self.line.push(chunk):
            yield window
            self._tell_happenings()
            if self._other_tr and window.reason == "ok":
                window = replace(window, valid=False, reason="refused")
            self._last = window
            feedback = self.make.of_window(window, self.predictor)
            self._tell.feedback(feedback)
            self._tell_volume(feedback)
        self._tell_happenings()

    def stale(self, reason: str, received: float | None) -> None:
        """Tell that no EEG comes; see `FeedbackMaker.stale`."""
        self._tell.feedback(self.make.stale(self._last, received, reason))

    def _tell_volume(self, feedback: Feedback) -> None:
        """Tell the volume of a message that has gone out, where one is asked for and due."""
        wanted, spec = self.config.volume, self.predictor.spec.volume
        if not wanted.publish or not is_due(feedback, wanted.every, self.period):
            return
        voxels = self.predictor.volume()
        assert spec is not None and voxels is not None  # noqa: PT018 (`run_flags` refused it)
        self._tell.volume(whole_volume(feedback, voxels, spec))

    def _tell_happenings(self) -> None:
        """Say what became of the streams, before any feedback that it bears on."""
        assert self.line is not None
        self._tell_gap(self.line)
        self._tell_doubt()
        for happening in self.line.happenings():
            self._tell.event(happening.kind, **happening.facts)
            if happening.kind == "tr":
                self._check_tr(self.line.volumes.tr)
                if not self.options.hop:
                    self.make.period = self.line.volumes.tr

    def _check_tr(self, tr: float) -> None:
        """Refuse a scanner whose TR is not the one that the model is bound to."""
        was, self._other_tr = self._other_tr, other_tr(self.predictor.spec, tr)
        if self._other_tr and not was:
            self._tell.event("refused", stream="markers", reason=self._other_tr)

    def _tell_gap(self, line: Line) -> None:
        """Say that a segment began, before anything that comes from it."""
        for began in line.timeline.begun:
            if began.segment or began.lost:
                self._tell.event("gap", **began._asdict())
        line.timeline.begun.clear()

    def _tell_doubt(self) -> None:
        doubt = self.plausibility.doubt
        if (doubt and doubt.reason) == self._doubted:
            return
        self._doubted = doubt.reason if doubt else None
        if doubt:
            self._tell.event("implausible", reason=doubt.reason, found=doubt.found, do=doubt.do)
        else:
            self._tell.event("plausible")
