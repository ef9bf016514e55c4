"""All checks in their order, each by the code that a run would refuse by."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rtfeedback.doctor.finding import Finding, fail, found_by, ok
from rtfeedback.doctor.inference import (
    check_flags,
    check_inference,
    check_volume,
    describe_model,
)
from rtfeedback.doctor.machine import (
    SAMPLE_BYTES,
    check_disk,
    check_ports,
    describe_versions,
)
from rtfeedback.doctor.stream import StreamExamination
from rtfeedback.doctor.visible import choose, describe_visible, look_around
from rtfeedback.online import lsl
from rtfeedback.online.settings import RunConfig, RunOptions
from rtfeedback.online.source import Source
from rtfeedback.predictor import Predictor
from rtfeedback.signals import StreamInfo


class Examination:
    """What a run with these options would meet; iterating yields what is found.

    Nothing is left behind: what is opened, bound or written is let go of again.

    Parameters
    ----------
    options : RunOptions
        As of the run; an empty `stream` is the only one of type EEG.
    config : RunConfig
    load : callable or None
        Returns the run's predictor; None where there is no checkpoint.
    source : callable, optional
        Returns what feeds the run where it is not LSL.
    seconds : float, optional
        How long to listen; see `StreamExamination`.
    """

    def __init__(
        self,
        options: RunOptions,
        config: RunConfig,
        *,
        load: Callable[[], Predictor] | None,
        source: Callable[[], Source] | None = None,
        seconds: float | None = None,
    ) -> None:
        lsl.hush()
        self.options, self.config, self._load = options, config, load
        self._make_source, self._seconds = source, seconds
        self._source: Source | None = None
        self._predictor: Predictor | None = None
        self._info: StreamInfo | None = None

    def __iter__(self) -> Iterator[Finding]:
        checks: dict[str, Callable[[], Iterator[Finding]]] = {
            "versions": self._versions,
            "model": self._model,
            "flags": self._flags,
            "inference": self._inference,
            "ports": self._ports,
            "streams": self._visible,
            "stream": self._stream,
            "disk": self._disk,
        }
        for subject, check in checks.items():
            yield from found_by(subject, check)

    def _versions(self) -> Iterator[Finding]:
        yield describe_versions()

    def _model(self) -> Iterator[Finding]:
        if self._load is None:
            do = "Name one with --model, or first: rtfeedback train"
            yield fail("model", "None is named, and none lies below ./checkpoints", do)
            return
        self._predictor = self._load()
        yield describe_model(self._predictor)

    def _flags(self) -> Iterator[Finding]:
        if self._predictor:
            yield check_flags(self._predictor.spec, self.config, self.options)

    def _inference(self) -> Iterator[Finding]:
        if self._predictor:
            period = self.options.hop or self.options.tr or self._predictor.spec.tr
            yield check_inference(self._predictor, period, str(self._predictor.device))
            if self.config.volume.publish and self._predictor.spec.volume:
                tr = self.options.tr or self._predictor.spec.tr
                yield check_volume(self._predictor, tr * self.config.volume.every)

    def _ports(self) -> Iterator[Finding]:
        yield check_ports(self.options.endpoint)

    def _visible(self) -> Iterator[Finding]:
        """List LSL's streams, and choose the one to listen to; or take another source."""
        if self._make_source is not None:
            self._source = self._make_source()
            yield from self._other_markers(self._source.markers_name)
            return
        seen = look_around()
        name = self.options.stream
        yield from describe_visible(seen, named=bool(name))
        if not name:
            name, finding = choose(seen)
            yield from finding
        if name:
            self._source = lsl.LSLSource(name, self.options.markers)

    def _other_markers(self, own: str | None) -> Iterator[Finding]:
        """Say that the markers which were named are not read, where a source has its own."""
        named = self.options.markers
        if named and named != own:
            read = f"its own, '{own}', are read" if own else "it has none, and none are read"
            yield ok("markers", f"'{named}' is not looked for beside the source: {read}")

    def _stream(self) -> Iterator[Finding]:
        if self._source is None:
            return
        spec = self._predictor.spec if self._predictor else None
        tr = self.options.tr or (spec.tr if spec else None)
        examined = StreamExamination(self._source, spec, tr, self.config.stream, self._seconds)
        yield from examined
        self._info = examined.info

    def _disk(self) -> Iterator[Finding]:
        info = self._info
        yield check_disk(
            self.options.out,
            self.config,
            checkpoint=self._predictor.checkpoint.path if self._predictor else None,
            bytes_per_s=len(info.channels) * info.sfreq * SAMPLE_BYTES if info else None,
        )
