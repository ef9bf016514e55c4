"""A run's EEG and marker streams: opened, lost, found again, or refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from math import inf, isfinite

from rtfeedback.chain import Chain
from rtfeedback.errors import RtfeedbackError, StreamError
from rtfeedback.online.source import Idle, Markers, Source, Stream, StreamLost, StreamOver
from rtfeedback.online.telling import Telling
from rtfeedback.signals import Chunk, Marker, StreamInfo

REFUSED = 1.0  # s before a stream that was refused is looked at again
MARKERS_FIRST = 1.0  # s that EEG which came back waits for markers that were lost with it
PAUSE = 0.02  # s between two calls of `idle` while nothing can be opened


class Inputs:
    """The streams of a run.

    Parameters
    ----------
    source : Source
    make_chain : callable
        Makes the chain for a stream, or refuses it.
    tell : Telling
    idle : callable
        Called while something is waited for.
    markers_name : str or None
        What messages call the marker stream; None where the run has none.

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
        idle: Idle,
        *,
        markers_name: str | None,
    ) -> None:
        self.source, self.markers_name, self.tell = source, markers_name, tell
        self._make_chain, self._idle = make_chain, idle
        self._stream: Stream | None = None
        self._markers: Markers | None = None
        self.refused = ""
        self._refused_markers = ""

    @property
    def hears_eeg(self) -> bool:
        """Whether the EEG stream is open."""
        return self._stream is not None

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
            self._markers = self.source.open_markers(timeout=wait, idle=self._idle)
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
            self._refused_markers = self._refuse(
                self.markers_name or "", error, told=self._refused_markers
            )
        return None

    def pull(self, timeout: float) -> Chunk | None:
        """Return the EEG that has come within `timeout` seconds.

        Raises
        ------
        StreamLost
            It has ended, which is told; it can be recovered.
        StreamOver
            It has come to its end for good.
        """
        if self._stream is None:
            return None
        try:
            return self._stream.pull(timeout)
        except StreamOver:
            raise
        except StreamLost as error:
            self.tell.event("lost", stream=self.source.name, reason=str(error))
            self._stream.close()
            self._stream = None
            raise

    def pull_markers(self) -> list[Marker]:
        """Return the markers that have come; that their stream has ended is told."""
        if self._markers is None:
            return []
        try:
            markers = self._markers.pull()
        except StreamLost as error:
            self.tell.event("lost", stream=self._markers.name, reason=str(error))
            self._markers.close()
            self._markers = None
            return []
        for marker in markers:
            if not isfinite(marker.stamp):  # a sender's error, which is no time
                self.tell.event("stray", onset=None, off=None)
        return [marker for marker in markers if isfinite(marker.stamp)]

    def close(self) -> None:
        """Leave the streams."""
        for inlet in (self._stream, self._markers):
            if inlet:
                inlet.close()

    # --- one stream ------------------------------------------------------------------

    def _take(self, stream: Stream) -> Chain:
        """Return the chain for a stream, which is closed if it is refused."""
        try:
            chain = self._make_chain(stream.info)
        except RtfeedbackError:
            stream.close()
            raise
        info = stream.info
        self._stream, self.refused = stream, ""
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
            self.refused = self._refuse(self.source.name, error, told=self.refused)
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
        self._markers = self.source.open_markers(timeout=timeout, idle=self._idle)
        self.tell.event("reconnect", stream=self._markers.name)

    def _refuse(self, name: str, error: RtfeedbackError, *, told: str) -> str:
        """Say why a stream is refused, once, and let some time go by."""
        reason = str(error)
        if reason != told:
            self.tell.event("refused", stream=name, reason=reason)
        again = time.monotonic() + REFUSED
        while time.monotonic() < again:
            time.sleep(PAUSE)
            self._idle()
        return reason


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
