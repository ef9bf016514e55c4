"""One EEG stream and its markers: opened as a run would, listened to, and judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from pydantic import ValidationError

from rtfeedback.chain import Chain, ChainConfig, ChainSpec
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.doctor.amplitude import check_amplitude
from rtfeedback.doctor.finding import Finding, fail, found_by, ok, warn
from rtfeedback.doctor.listening import Heard, listen
from rtfeedback.doctor.offset import check_offset
from rtfeedback.doctor.plausible import check_plausibility
from rtfeedback.doctor.timing import check_timing
from rtfeedback.doctor.volumes import SETTLING, check_markers, shown_tr
from rtfeedback.online import lsl
from rtfeedback.online.settings import StreamConfig
from rtfeedback.online.source import Markers, Source, Stream
from rtfeedback.signals import Chunk, StreamInfo

LISTEN = 5.0  # s
PATIENCE = 4.0  # s that a stream is waited for; a run waits for longer


class StreamExamination:
    """What a run would hear of a source; iterating yields what is found.

    Parameters
    ----------
    source : Source
    spec : CheckpointSpec or None
        What the run's checkpoint needs; without it any EEG is judged by common sense.
    tr : float or None
        The TR that the run would expect, in seconds.
    config : StreamConfig
    seconds : float, optional
        How long to listen; without it 5 s, and longer where markers come, so that they
        show their TR.

    Attributes
    ----------
    info : StreamInfo or None
        What the stream says of itself, once it was opened.
    """

    def __init__(
        self,
        source: Source,
        spec: CheckpointSpec | None,
        tr: float | None,
        config: StreamConfig,
        seconds: float | None = None,
    ) -> None:
        self._source, self._spec, self._tr = source, spec, tr
        self._config, self._seconds = config, seconds
        self.info: StreamInfo | None = None
        self._stream: Stream | None = None
        self._markers: Markers | None = None
        self._chain: Chain | None = None
        self._fits = False  # the chain is the checkpoint's

    def __iter__(self) -> Iterator[Finding]:
        with ExitStack() as opened:
            yield from found_by("markers", lambda: self._open_markers(opened))
            yield from found_by("stream", lambda: self._open_stream(opened))
            if self._stream is None:
                return
            if self._spec:
                yield from found_by("channels", self._model_channels)
            if self._chain is None:
                yield from found_by("channels", self._any_channels)
            yield check_offset(self._stream.description)
            heard = self._listen(self._stream)
        yield from self._judge(heard, self._stream.info)
        if self._markers:
            if heard.markers_ended:
                found = f"{heard.markers_ended} while it was listened to"
                yield warn("markers", found, "Restart it; a run goes on, and waits for it")
            name, labels = self._markers.name, self._config.volume_labels
            yield from check_markers(heard.markers, name, self._tr, labels)

    # --- opening -----------------------------------------------------------------------

    def _open_markers(self, opened: ExitStack) -> Iterator[Finding]:
        if self._source.markers_name is None:
            return
        self._markers = self._source.open_markers(timeout=PATIENCE, idle=_nothing)
        opened.callback(self._markers.close)
        yield ok("markers", f"'{self._markers.name}' is there")

    def _open_stream(self, opened: ExitStack) -> Iterator[Finding]:
        stream = self._source.open_stream(timeout=PATIENCE, idle=_nothing)
        opened.callback(stream.close)
        self._stream, self.info = stream, stream.info
        info, kinds = stream.info, stream.info.kinds
        yield ok(
            "stream",
            f"'{info.name}': {kinds.count('eeg')} EEG of {len(kinds)} channels at"
            f" {info.sfreq:g} Hz, reference {info.reference or 'not stated'}",
        )
        for note in stream.notes:
            yield ok("reading", note)

    def _model_channels(self) -> Iterator[Finding]:
        assert self._spec
        assert self.info
        chain = self._spec.chain
        self._chain, self._fits = Chain(chain, self.info), True
        yield ok(
            "channels",
            f"All {len(chain.channels)} of the checkpoint's are there by name;"
            f" its reference: {chain.config.reference}",
        )
        for note in self._chain.notes:
            yield ok("channels", note)

    def _any_channels(self) -> Iterator[Finding]:
        """Make a chain for all EEG there is, so that its numbers can be judged."""
        assert self.info
        info = self.info
        eeg = [c for c, kind in zip(info.channels, info.kinds, strict=True) if kind == "eeg"]
        try:
            spec = ChainSpec(config=ChainConfig(), channels=tuple(eeg), sfreq=info.sfreq)
        except ValidationError as error:
            found = f"The EEG cannot be judged without a checkpoint: {error.errors()[0]['msg']}"
            yield warn("channels", found, "Name a checkpoint with --model")
            return
        self._chain = Chain(spec, info)
        if not self._spec:
            yield ok("channels", f"EEG: {', '.join(eeg)}")

    # --- listening ---------------------------------------------------------------------

    def _listen(self, stream: Stream) -> Heard:
        longest = SETTLING * self._tr if self._tr and self._seconds is None else 0.0
        seconds = self._seconds or LISTEN
        return listen(stream, self._markers, seconds, longest=longest, clock=lsl.clock)

    def _judge(self, heard: Heard, info: StreamInfo) -> Iterator[Finding]:
        if heard.ended:
            yield fail("stream", f"{heard.ended} while it was listened to", "Restart it")
        elif not heard.chunks:
            found = f"It is announced, and no sample came within {heard.seconds:.1f} s"
            yield fail("stream", found, "Start the acquisition in the amplifier's program")
        if not heard.chunks:
            return
        usable = self._chain.usable if self._chain else Chunk.usable
        yield from check_timing(
            heard, info.sfreq, usable, gap=self._config.gap, needs=self._until_whole()
        )
        if self._chain is None:
            return
        yield from check_amplitude(heard.samples, self._chain.spec, info)
        if self._fits and self._spec:
            tr = shown_tr(heard.markers, self._tr or self._spec.tr, self._config.volume_labels)
            yield from check_plausibility(heard, self._spec, info, tr, gap=self._config.gap)

    def _until_whole(self) -> float:
        """Return the seconds after a gap until a window is whole again."""
        if not (self._spec and self._chain and self._fits):
            return 0.0
        return self._chain.warm_up / self._chain.spec.sfreq + self._spec.window.length


def _nothing() -> None:
    """Wait, with nothing else to do."""
