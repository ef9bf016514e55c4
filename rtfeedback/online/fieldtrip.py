"""EEG and events out of a FieldTrip buffer, which many amplifiers' programs fill.

The buffer has no stamps, only a counter of samples, which the LSL clock is laid on; see
`fieldtrip_stream` for the rule. Samples that the buffer overwrote before they were read are a
jump of the stamps, an event lies on its sample exactly, and an amplifier that sends at
another rate than it states, or whose samples are lost before the buffer counts them, has
stamps that say so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from rtfeedback.channels import scale_to_volts
from rtfeedback.errors import StreamError
from rtfeedback.naming import name_channels, refuse_unnamed
from rtfeedback.online.fieldtrip_clock import CounterClock
from rtfeedback.online.fieldtrip_connection import SLICE, Connection, NotYet, Place, resolve
from rtfeedback.online.fieldtrip_stream import FieldTripEvents, FieldTripStream
from rtfeedback.online.source import Idle, conversion
from rtfeedback.signals import StreamInfo

SCHEME = "fieldtrip://"
PORT = 1972  # of the buffer, unless its address says otherwise
EVENTS = "events"
# The protocol's numbers for types of samples.
_TYPES = {1: "uint8", 2: "uint16", 3: "uint32", 5: "int8", 6: "int16", 7: "int32", 8: "int64"}
_TYPES |= {9: "float32", 10: "float64"}
# As these they are recorded; the others are float32 to the last bit.
_FORMATS = {"int32": "int32", "uint32": "double64", "int64": "int64", "float64": "double64"}
_CHANNELS = 4096  # that a header may state
_FORM = "fieldtrip://HOST[:PORT][?channels=Fp1,Cz,...&unit=uV&reference=FCz]"


@dataclass(frozen=True, slots=True)
class BufferAddress:
    """Where a buffer is, and what is said of it that it does not say itself.

    Attributes
    ----------
    host, port : str and int
    channels : tuple of str
        Labels, for a buffer that has none.
    unit, reference : str
        Of all channels; `""` where nothing is said.
    """

    host: str
    port: int = PORT
    channels: tuple[str, ...] = ()
    unit: str = ""
    reference: str = ""

    @classmethod
    def parse(cls, text: str) -> BufferAddress:
        """Read `fieldtrip://HOST[:PORT][?channels=Fp1,Cz,...&unit=uV&reference=FCz]`.

        Raises
        ------
        StreamError
            It is none.
        """
        try:
            url = urlsplit(text)
            said = dict(parse_qsl(url.query, strict_parsing=True)) if url.query else {}
            if url.scheme != "fieldtrip" or not url.hostname or url.path not in ("", "/"):
                raise ValueError("It names no host, or more than a host")
            if strange := said.keys() - {"channels", "unit", "reference"}:
                raise ValueError(f"{', '.join(sorted(strange))} is nothing to be said of it")
            host, port = url.hostname, url.port or PORT
        except ValueError as error:
            raise StreamError(
                f"'{text}' is not the address of a FieldTrip buffer",
                found=str(error),
                do=f"Write {_FORM}",
            ) from error
        scale_to_volts(said.get("unit", ""))
        labels = said.get("channels", "")
        return cls(
            host,
            port,
            tuple(label.strip() for label in labels.split(",")) if labels else (),
            said.get("unit", ""),
            said.get("reference", ""),
        )

    def __str__(self) -> str:
        return f"{SCHEME}{self.host}:{self.port}"


class FieldTripSource:
    """A FieldTrip buffer: its samples, and its events as markers.

    Parameters
    ----------
    address : BufferAddress
    clock : callable
        Returns the LSL clock, in seconds.
    """

    def __init__(self, address: BufferAddress, *, clock: Callable[[], float]) -> None:
        self.address, self.clock = address, clock
        self.name, self.markers_name = str(address), EVENTS
        self._base = CounterClock()

    def open_stream(
        self, *, timeout: float, idle: Idle, first: Callable[[], object] = lambda: None
    ) -> FieldTripStream:
        """Wait for the buffer and its header, and open it; see `source.Source`."""
        connection, header = self._open(timeout, idle, first)
        try:
            info, notes = self._describe(header)
        except StreamError:
            connection.close()
            raise
        self._base.begin(info.sfreq)
        return FieldTripStream(
            connection,
            info,
            int(header.nSamples),
            self._base,
            clock=self.clock,
            channel_format=_FORMATS.get(_TYPES[header.dataType], "float32"),
            notes=notes,
        )

    def open_markers(self, *, timeout: float, idle: Idle) -> FieldTripEvents:
        """Wait for the buffer's events; see `source.Source`."""
        connection, header = self._open(timeout, idle)
        return FieldTripEvents(EVENTS, connection, header.nEvents, self._base)

    def _open(
        self, timeout: float, idle: Idle, first: Callable[[], object] = lambda: None
    ) -> tuple[Connection, Any]:
        """Return a connection and the header, once there are both."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                connection = Connection(self._place, idle)
                try:
                    self._header(connection, deadline, idle)
                    first()
                    # The counters now: markers were opened meanwhile.
                    return connection, self._header(connection, deadline, idle)
                except BaseException:
                    connection.close()
                    raise
            except OSError as error:  # and not what `idle` or `first` may raise
                if time.monotonic() > deadline:
                    raise self._absent(error) from error
            idle()
            time.sleep(SLICE / 2)

    @cached_property
    def _place(self) -> Place:
        return resolve(self.address.host, self.address.port)

    def _header(self, connection: Connection, deadline: float, idle: Idle) -> Any:
        """Return the buffer's header, once a sender has put one there."""
        while True:
            idle()
            try:
                header = connection.ask(lambda client: client.getHeader(), SLICE)
            except NotYet:
                continue
            if header is not None:
                return header
            if time.monotonic() > deadline:
                raise ConnectionError("It answers, and no program has put a header into it")
            time.sleep(SLICE / 2)

    def _absent(self, error: OSError) -> StreamError:
        return StreamError(
            f"No FieldTrip buffer can be read at {self.name}",
            found=error.strerror or str(error),
            do="Start it, and the program that fills it, or correct the address",
        )

    def _describe(self, header: Any) -> tuple[StreamInfo, tuple[str, ...]]:
        """Return what the header says of the samples, and what was done to it."""
        sfreq, count = float(header.fSample), int(header.nChannels)
        usable = np.isfinite(sfreq) and sfreq > 0 and 0 < count <= _CHANNELS
        if not usable or header.dataType not in _TYPES:
            raise StreamError(
                f"The FieldTrip buffer at {self.name} holds nothing that can be read",
                found=f"{count} channels of data type {header.dataType} at {sfreq:g} Hz",
                do="Have the program that fills it write numbers, and their rate",
            )
        address = self.address
        names = name_channels(address.channels or header.labels, reference=address.reference)
        refuse_unnamed(self.name, count, names)
        info = StreamInfo(
            name=self.name,
            sfreq=sfreq,
            channels=names.channels,
            kinds=names.kinds,
            units=(address.unit,) * count,
            reference=names.reference,
        )
        return info, (*names.notes, *conversion(_TYPES[header.dataType]), *self._told())

    def _told(self) -> tuple[str, ...]:
        return (
            f"the unit is {self.address.unit}, as its address says"
            if self.address.unit
            else "a FieldTrip buffer states no unit: microvolts are assumed",
            "stamps are the clock's at the first samples, counted on at the measured rate",
        )
