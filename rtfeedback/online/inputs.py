"""A run's EEG and marker streams: opened, lost, found again, or refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from math import inf

from rtfeedback.chain import Chain
from rtfeedback.errors import RtfeedbackError, StreamError
from rtfeedback.online.gather import Gathering
from rtfeedback.online.recorder import Recorder
from rtfeedback.online.source import Idle, Markers, Source, Stream, StreamLost, StreamOver
from rtfeedback.online.telling import Telling
from rtfeedback.signals import Chunk, Marker, StreamInfo

REFUSED = 1.0  # s before a stream that was refused is looked at again
MARKERS_FIRST = 1.0  # s that EEG which came back waits for markers that were lost with it
MOMENT = 1e-3  # s that is left, between two looks for a stream, to whoever waits for one
PAUSE = 0.02  # s between two calls of `idle` while nothing can be opened


class Inputs:
    """The streams of a run, and what of them is recorded.

    Parameters
    ----------
    source : Source
    make_chain : callable
        Makes the chain for a stream, or refuses it.
    tell : Telling
    record : Recorder
    idle : callable
        Called while something is waited for.
    markers_name : str or None
        What messages call the marker stream; None where the run has none.
    meanwhile : context manager, optional
        Entered whenever EEG is waited for, and for a moment where there is no stream.

    Attributes
    ----------
    refused : str
        Why the EEG that is there was refused; empty where it was not.
    """

    def __init__(
        self,
        source: Source,
        make_chain: Callable[[StreamInfo], Chain],
        tell: Telling,
        record: Recorder,
        idle: Idle,
        *,
        markers_name: str | None,
        meanwhile: AbstractContextManager[object] | None = None,
    ) -> None:
        self.source, self.markers_name, self.tell = source, markers_name, tell
        self._make_chain, self._idle, self._record = make_chain, idle, record
        self._meanwhile = meanwhile or nullcontext()
        self._stream: Gathering | None = None
        self._markers: Markers | None = None
        self._stream_id = self._markers_id = 0  # in the recording
        self.refused = ""
        self._refused_markers = ""

    @property
    def hears_eeg(self) -> bool:
        """Whether the EEG stream is open."""
        return self._stream is not None

    @property
    def heard(self) -> float | None:
        """When samples last came, by the monotonic clock; None where the stream is new."""
        return self._stream.heard if self._stream else None

    @property
    def hears_markers(self) -> bool:
        """Whether the marker stream is open."""
        return self._markers is not None

    @property
    def complete(self) -> bool:
        """Whether all that the run asked for is open."""
        return self.hears_eeg and (self.hears_markers or not self.markers_name)

    def open(self, wait: float) -> Chain:
        """Open what the run asked for, and return the chain.

        Raises
        ------
        StreamError, ChannelError
            If a stream does not come, or is not what the checkpoint needs.
        """
        if self.markers_name:  # first, so that no marker of the first EEG is lost
            self._take_markers(self.source.open_markers(timeout=wait, idle=self._idle))
        return self._take(self.source.open_stream(timeout=wait, idle=self._idle))

    def recover(self) -> Chain | None:
        """Wait for what was lost; return the chain where that is EEG that is accepted.

        Raises
        ------
        StreamLost
            The EEG has ended while the markers were waited for.
        """
        if not self.hears_eeg:
            return self._recover_eeg()
        try:
            self._open_markers(inf)
            self._refused_markers = ""
        except StreamLost:
            raise  # the EEG's, while the markers were waited for
        except StreamError as error:
            told, self._refused_markers = self._refused_markers, str(error)
            self._refuse(self.markers_name or "", self._refused_markers, told=told)
        return None

    def pull(self, timeout: float, wanted: int) -> Chunk | None:
        """Return the EEG that has come within `timeout` seconds; see `Gathering.pull`.

        Raises
        ------
        StreamLost
            It has ended, which is told; it can be recovered.
        StreamOver
            It has come to its end for good.
        """
        if self._stream is None:
            with self._meanwhile:
                time.sleep(MOMENT)
            return None
        try:
            return self._stream.pull(timeout, wanted)
        except StreamOver:
            raise
        except StreamLost as error:
            self.tell.event("lost", stream=self.source.name, reason=str(error))
            self._record.end_stream(self._stream_id)
            self._stream.stream.close()
            self._stream = None
            raise

    def rest(self) -> Chunk | None:
        """Return the EEG that has come and was held back, if there is any."""
        return self._stream.rest() if self._stream else None

    def record(self, chunk: Chunk) -> None:
        """Record EEG: just before it is used, so that the order of the file is that of use."""
        samples = chunk.samples if chunk.wire is None else chunk.wire
        self._record.samples(self._stream_id, chunk.stamps, samples)

    def pull_markers(self) -> list[Marker]:
        """Return the markers that have come; that their stream has ended is told."""
        if self._markers is None:
            return []
        try:
            markers = self._markers.pull()
        except StreamLost as error:
            self.tell.event("lost", stream=self._markers.name, reason=str(error))
            self._record.end_stream(self._markers_id)
            self._markers.close()
            self._markers = None
            return []
        if markers:
            rows = [marker.wire or (marker.label,) for marker in markers]
            self._record.markers(self._markers_id, [m.stamp for m in markers], rows)
        return markers

    def close(self) -> None:
        """Leave the streams."""
        if self._stream:
            self._stream.stream.close()
        if self._markers:
            self._markers.close()

    # --- one stream ------------------------------------------------------------------

    def _take(self, stream: Stream) -> Chain:
        """Return the chain for a stream, which is closed if it is refused."""
        try:
            chain = self._make_chain(stream.info)
        except RtfeedbackError:
            stream.close()
            raise
        info = stream.info
        self._stream, self.refused = Gathering(stream, self._meanwhile), ""
        self._stream_id = self._record.stream(stream.description)
        self.tell.log(f"stream={info.name} sfreq={info.sfreq:g} channels={len(info.channels)}")
        for note in (*stream.notes, *chain.notes):
            self.tell.log(f"note={note}")
        return chain

    def _recover_eeg(self) -> Chain | None:
        try:
            stream = self.source.open_stream(
                timeout=inf, idle=self._idle, first=self._markers_first
            )
            chain = self._take(stream)
        except StreamOver:
            raise
        except RtfeedbackError as error:
            told, self.refused = self.refused, str(error)
            self._refuse(self.source.name, self.refused, told=told)
            return None
        info = stream.info
        self.tell.event("reconnect", stream=info.name, source_id=info.source_id)
        return chain

    def _markers_first(self) -> None:
        """Open markers that were lost with the EEG before it, so that none is missed."""
        if self.markers_name and not self.hears_markers:
            with suppress(StreamError):  # they may come back later
                self._open_markers(MARKERS_FIRST)

    def _open_markers(self, timeout: float) -> None:
        markers = self.source.open_markers(timeout=timeout, idle=self._idle)
        self._take_markers(markers)
        self.tell.event("reconnect", stream=markers.name)

    def _take_markers(self, markers: Markers) -> None:
        self._markers = markers
        self._markers_id = self._record.stream(markers.description)

    def _refuse(self, name: str, reason: str, *, told: str) -> None:
        """Say why a stream is refused, once, and let some time go by."""
        if reason != told:
            self.tell.event("refused", stream=name, reason=reason)
        again = time.monotonic() + REFUSED
        while time.monotonic() < again:
            time.sleep(PAUSE)
            self._idle()


def markers_of(source: Source) -> str:
    """Return what a source's marker stream is called.

    Raises
    ------
    StreamError
        It has none.
    """
    if source.markers_name is None:
        raise StreamError(
            f"'{source.name}' has no markers to count volumes by",
            do="Give --tr in place of --markers: volumes are then counted on the EEG's stamps",
        )
    return source.markers_name
