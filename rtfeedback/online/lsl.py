"""Lab Streaming Layer: this process's session and clock, and finding streams by name.

Only this file, `inlets.py`, `outlets.py` and `offsets.py` import pylsl; what streams need of
it is to be had here. Knows nothing of segments, volumes or checkpoints.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pylsl
import pylsl.util

from rtfeedback.errors import StreamError
from rtfeedback.online.inlets import (
    BUFFER,
    SLICE,
    LSLMarkers,
    LSLStream,
    VisibleStream,
)
from rtfeedback.online.outlets import EEGOutlet, FeedbackOutlet, MarkerOutlet
from rtfeedback.online.source import Idle, StreamLost

__all__ = [
    "EEGOutlet",
    "FeedbackOutlet",
    "LSLMarkers",
    "LSLSource",
    "LSLStream",
    "MarkerOutlet",
    "StreamLost",
    "VisibleStream",
    "clock",
    "find_markers",
    "find_stream",
    "hush",
    "isolate",
    "session_config",
    "streams",
]

OpenT = TypeVar("OpenT", LSLStream, LSLMarkers)

# An outlet that closed keeps its ports for a minute. Once liblsl's 32 are used up it takes
# random ones, on which nobody asks: loopback multicast reaches only one outlet.
_PORTS = 256
_FORGET = 2.0  # s without an answer after which a stream counts as gone
_FATAL = -3  # liblsl's log level: what breaks off is said by us
_SETTLE = 1.0  # s that a stream not of type EEG is looked past: one of that type may answer
_RIVALRY = 3.0  # s that two streams of a name are watched: one may just have ended


def session_config(session: str) -> str:
    """Return a liblsl configuration for one isolated session on this machine.

    For another process, write it to a file and name that in the variable `LSLAPICFG`.

    Parameters
    ----------
    session : str
        Letters, digits, `-` and `_`; only processes of one session see each other.
    """
    if not re.fullmatch(r"[\w-]+", session, re.ASCII):
        raise ValueError(f"'{session}' cannot name an LSL session")
    # Loopback multicast reaches only one outlet, so the others are asked port by port
    # (KnownPeers) once MulticastMinRTT is over: 0.5 s unless it is shortened. The time
    # probes take 0.2 s in place of 0.65 s.
    return (
        f"[ports]\nPortRange = {_PORTS}\n"
        f"[lab]\nSessionID = {session}\nKnownPeers = {{127.0.0.1}}\n"
        "[multicast]\nResolveScope = machine\n"
        "[tuning]\nMulticastMinRTT = 0.1\nContinuousResolveInterval = 0.1\n"
        "TimeProbeInterval = 0.016\nTimeProbeMaxRTT = 0.064\n"
        f"[log]\nlevel = {_FATAL}\n"
    )


def isolate(session: str) -> None:
    """Let this process see only streams of `session` on this machine.

    Raises
    ------
    RuntimeError
        LSL was in use already: liblsl then ignores a configuration without a word.
    """
    pylsl.set_config_content(session_config(session))
    probe = pylsl.StreamOutlet(pylsl.StreamInfo("probe", "Probe", 1, 0, "int8", session))
    if probe.get_info().session_id() != session:
        raise RuntimeError("LSL was used before isolate()")


def hush() -> None:
    """Keep liblsl's log off stderr, unless the user has a configuration of their own.

    Call it before LSL is first used; later it does nothing.
    """
    places = (Path(), Path.home() / "lsl_api", Path("/etc/lsl_api"))
    if "LSLAPICFG" in os.environ or any((p / "lsl_api.cfg").exists() for p in places):
        return
    pylsl.set_config_content(f"[log]\nlevel = {_FATAL}\n")


def clock() -> float:
    """Return the LSL clock, in seconds."""
    return float(pylsl.local_clock())


def streams(wait: float = 1.0) -> list[VisibleStream]:
    """Return the streams that answer within `wait` seconds."""
    return [VisibleStream.of(info) for info in pylsl.resolve_streams(wait)]


class LSLSource:
    """An EEG stream and, where it is named, a marker stream of LSL.

    Parameters
    ----------
    name : str
    markers_name : str, optional
    """

    def __init__(self, name: str, markers_name: str | None = None) -> None:
        self.name, self.markers_name = name, markers_name

    def open_stream(
        self, *, timeout: float, idle: Idle, first: Callable[[], object] = lambda: None
    ) -> LSLStream:
        """Wait for the EEG stream, and open it; see `source.Source`."""
        return find_stream(self.name, timeout=timeout, idle=idle, first=first)

    def open_markers(self, *, timeout: float, idle: Idle) -> LSLMarkers:
        """Wait for the marker stream, and open it; see `source.Source`."""
        if self.markers_name is None:
            raise ValueError("no marker stream was named")
        return find_markers(self.markers_name, timeout=timeout, idle=idle)


def find_stream(
    name: str,
    *,
    timeout: float = 20.0,
    buffer: int = BUFFER,
    idle: Idle = lambda: None,
    first: Callable[[], object] = lambda: None,
) -> LSLStream:
    """Wait for the one EEG stream called `name`, and open it.

    Parameters
    ----------
    timeout : float
        Seconds to wait for it to appear.
    buffer : int
        Seconds of samples that may wait in liblsl.
    idle : callable
        Called at least every 50 ms while waiting.
    first : callable
        Called once the stream is found, before it is opened.

    Raises
    ------
    StreamError
        No stream or several of that name, one that names no channels or does not answer.
    """
    how = f"Start it (rtfeedback play FILE --stream {name}), or check the amplifier's program"
    search = _Search(name, "EEG stream", _eeg, how, idle, sure=_of_type_eeg)

    def opener(found: Any) -> LSLStream:
        first()
        return LSLStream(found, buffer=buffer, idle=idle)

    return search.open(timeout, opener)


def find_markers(name: str, *, timeout: float = 20.0, idle: Idle = lambda: None) -> LSLMarkers:
    """Wait for the one marker stream called `name`, and open it; see `find_stream`."""
    how = f"Start it (rtfeedback play FILE --markers {name}), or check the trigger's program"
    search = _Search(name, "marker stream", _markers, how, idle)
    return search.open(timeout, lambda found: LSLMarkers(found, idle=idle))


class _Search:
    """The wait for one stream of a name."""

    def __init__(
        self,
        name: str,
        what: str,
        among: Callable[[list[Any]], list[Any]],
        how: str,
        idle: Idle,
        *,
        sure: Callable[[Any], bool] = lambda info: True,
    ) -> None:
        self.name, self.what, self.among, self.how, self.idle = name, what, among, how, idle
        self.sure = sure
        self.resolver = pylsl.ContinuousResolver(forget_after=_FORGET)

    def open(self, timeout: float, opener: Callable[[Any], OpenT]) -> OpenT:
        """Wait for the stream, and return what `opener` makes of it."""
        deadline = time.monotonic() + timeout
        while True:
            found = self._wait(deadline)
            try:
                opened = opener(found)
            except pylsl.util.LostError:
                continue  # it ended as it was found; the deadline still holds
            # A rival, or the one of type EEG, may have answered later than the one opened.
            if {info.uid() for info in self._found()} <= {found.uid()}:
                return opened
            opened.close()

    def _wait(self, deadline: float) -> Any:
        rivals_since = seen = 0.0
        while True:
            self.idle()
            found, now = self._found(), time.monotonic()
            seen = (seen or now) if found else 0.0
            if len(found) == 1 and (now - seen >= _SETTLE or self.sure(found[0])):
                return found[0]
            rivals_since = (rivals_since or now) if len(found) > 1 else 0.0
            if rivals_since and now - rivals_since > _RIVALRY:
                raise self._ambiguous(found)
            if not found and now > deadline:
                raise self._missing()
            time.sleep(SLICE / 2)

    def _found(self) -> list[Any]:
        """Return the streams that fit, the newest of each source."""
        named = [info for info in self.resolver.results() if info.name() == self.name]
        newest: dict[str, Any] = {}
        for info in sorted(self.among(named), key=lambda info: float(info.created_at())):
            newest[info.source_id() or info.uid()] = info
        return list(newest.values())

    def _ambiguous(self, found: list[Any]) -> StreamError:
        return StreamError(
            f"There are {len(found)} {self.what}s called '{self.name}'",
            found="; ".join(str(VisibleStream.of(info)) for info in found),
            do="Stop or rename all but one",
        )

    def _missing(self) -> StreamError:
        seen = "; ".join(str(VisibleStream.of(info)) for info in self.resolver.results())
        return StreamError(
            f"No {self.what} called '{self.name}' is there",
            found=f"LSL shows {seen or 'no stream at all'}",
            do=self.how,
        )


def _eeg(infos: list[Any]) -> list[Any]:
    """Return the numeric streams with a rate; those of type EEG where there are any.

    Some headsets give one name to all their streams, of motion and light too.
    """
    numeric = [
        info
        for info in infos
        if info.nominal_srate() > 0 and info.channel_format() != pylsl.cf_string
    ]
    return [info for info in numeric if _of_type_eeg(info)] or numeric


def _of_type_eeg(info: Any) -> bool:
    return str(info.type()).lower() == "eeg"


def _markers(infos: list[Any]) -> list[Any]:
    return [info for info in infos if info.nominal_srate() == pylsl.IRREGULAR_RATE]
