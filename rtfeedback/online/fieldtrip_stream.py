"""The open samples and events of a FieldTrip buffer, by its counters.

Knows the connection, and not how it was found.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rtfeedback.online.description import compose, compose_markers
from rtfeedback.online.fieldtrip_clock import CounterClock
from rtfeedback.online.fieldtrip_connection import Connection, NotYet
from rtfeedback.online.receipt import STALL, Receipt
from rtfeedback.online.source import StreamLost
from rtfeedback.signals import Chunk, Marker, StreamInfo, label_of
from rtfeedback.xdf.chunks import DTYPES

_PULL = 1.0  # s of samples taken in one pull at most, so that none takes long
_EVENTS = 100  # events taken in one pull at most
_WAIT = 20  # ms that the server may wait for samples before it answers
_TICK = 0.005  # s between two questions where the server answers at once
_NEVER = 2**32 - 1  # a number of events that is never reached
# s by which a counter may fall behind the clock from one answer to the next. A sender that
# pauses does not count, and what it left out would be sewn together without a seam.
_UNCOUNTED = 0.5


class FieldTripStream:
    """The samples that come into a buffer from now on.

    Parameters
    ----------
    connection : Connection
    info : StreamInfo
    n_samples : int
        The buffer's counter as it is opened.
    base : CounterClock
        Is told of all that comes.
    clock : callable
        Returns the LSL clock, in seconds.
    channel_format : str
        As which its samples are recorded, by LSL's name.
    notes : tuple of str
        What was done to read it.
    """

    def __init__(
        self,
        connection: Connection,
        info: StreamInfo,
        n_samples: int,
        base: CounterClock,
        *,
        clock: Callable[[], float],
        channel_format: str,
        notes: tuple[str, ...],
    ) -> None:
        self.info, self.notes = info, notes
        self.description = compose(info, channel_format)
        self._wide = None if channel_format == "float32" else DTYPES[channel_format]
        self._connection, self._base, self._clock = connection, base, clock
        self._rows = max(1, round(info.sfreq * _PULL))
        self._next = self._newest = n_samples
        self._due: tuple[int, int] | None = None  # first and last sample being asked for
        self._judged = n_samples  # the counter when it was last compared with the clock,
        self._judged_at = time.monotonic()
        self._receipt = Receipt(self._judged_at)

    def pull(self, timeout: float, wanted: int = 1) -> Chunk | None:
        """Wait for samples, and return those there are, up to 1 s of them.

        They come as the buffer's server answers, be they fewer than are wanted.

        Raises
        ------
        StreamLost
            The server ended, is silent, was started again, or its sender paused.
        """
        deadline = time.monotonic() + timeout
        try:
            samples = self._samples(deadline)
        except NotYet:
            samples = None
        except ConnectionError as error:
            raise _lost(self.info.name, error) from error
        waiting = self._newest > self._next
        received = self._receipt.date(time.monotonic(), waited=timeout, waiting=waiting)
        if samples is None:
            return None
        counters = np.arange(self._next - len(samples), self._next)
        stamps = self._base.stamp(counters)
        with np.errstate(over="ignore"):  # a float64 beyond float32 is infinite
            converted = np.array(samples, np.float32, order="C")
        wire = None if self._wide is None else np.array(samples, self._wide, order="C")
        return Chunk(converted, stamps, received, wire)

    def close(self) -> None:
        """Leave the stream; a closed one cannot be pulled."""
        self._connection.close()

    def _samples(self, deadline: float) -> Any:
        """Return the samples that come next, shape (n_times, n_channels), or None."""
        while self._due is None:
            if self._count(deadline):
                self._due = self._next, min(self._newest, self._next + self._rows) - 1
            elif time.monotonic() >= deadline:
                raise NotYet
            else:
                time.sleep(min(_TICK, max(0.0, deadline - time.monotonic())))
        first, last = self._due
        samples = self._connection.ask(
            lambda client: client.getData(self._due), deadline - time.monotonic()
        )
        self._due = None
        if samples is None:  # they were overwritten: go on with what comes from now on
            self._next = self._newest
            return None
        if samples.shape != (last + 1 - first, len(self.info.channels)):
            raise ConnectionError(
                f"It gave {samples.shape[0]} samples of {samples.shape[1]} channels where"
                f" {last + 1 - first} of {len(self.info.channels)} were asked for"
            )
        self._next = last + 1
        return samples

    def _count(self, deadline: float) -> bool:
        """Ask for the counter, and return whether there are samples to be read."""
        if self._base.anchored and self._newest > self._next:
            return True
        newest, _ = self._connection.ask(
            lambda client: client.wait(self._next, _NEVER, _WAIT), deadline - time.monotonic()
        )
        if newest < self._newest:
            raise ConnectionError("Its counter went back: it was started again")
        # An answer that lay here while this process was stopped tells no time.
        if self._connection.took < STALL and newest > self._newest:
            self._keep_time(newest)
        self._newest = newest
        return self._base.anchored and newest > self._next

    def _keep_time(self, newest: int) -> None:
        """Tell the clock of a counter, and refuse one that stood still while time went on."""
        now = time.monotonic()
        if self._base.anchored:
            uncounted = now - self._judged_at - (newest - self._judged) / self.info.sfreq
            if uncounted > _UNCOUNTED:
                raise ConnectionError(
                    f"Its counter stood still for {uncounted:.1f} s: what its sender left out"
                    " is not known"
                )
        self._base.hear(newest, self._clock())
        self._judged, self._judged_at = newest, now


class FieldTripEvents:
    """The events that come into a buffer from now on, as markers.

    A label is the event's value or, where that is empty, its type. An event is held back
    until the first samples have come, which say where it lies on the clock.
    """

    def __init__(
        self, name: str, connection: Connection, n_events: int, base: CounterClock
    ) -> None:
        self.name, self.description = name, compose_markers(name)
        self._connection, self._base = connection, base
        self._next = n_events
        self._due: tuple[int, int] | None = None
        self._held: list[Any] = []

    def pull(self) -> list[Marker]:
        """Return the events that have come, without waiting.

        Raises
        ------
        StreamLost
        """
        try:
            self._held += self._events()
        except NotYet:
            pass
        except ConnectionError as error:
            raise _lost(self.name, error) from error
        if not self._base.anchored:
            return []
        events, self._held = self._held, []
        stamps = self._base.stamp(
            np.array([event.sample for event in events], np.int64)
        ).tolist()
        return [Marker(t, _label(event)) for t, event in zip(stamps, events, strict=True)]

    def close(self) -> None:
        """Leave the events; closed ones cannot be pulled."""
        self._connection.close()

    def _events(self) -> list[Any]:
        if self._due is None:
            _, newest = self._connection.ask(lambda client: client.poll(), 0.0)
            if newest < self._next:
                raise ConnectionError("Its counter went back: it was started again")
            if newest == self._next:
                return []
            self._due = self._next, min(newest, self._next + _EVENTS) - 1
        events: list[Any] = self._connection.ask(
            lambda client: client.getEvents(self._due), 0.0
        )
        # Events that were overwritten meanwhile are gone; a missing volume is the TR
        # clock's to find.
        self._next, self._due = self._due[1] + 1, None
        return events


def _lost(name: str, error: ConnectionError) -> StreamLost:
    return StreamLost(
        f"The FieldTrip buffer's '{name}' is lost",
        found=str(error),
        do="Restart it, and the program that fills it; a run waits for it",
    )


def _label(event: Any) -> str:
    return _text(event.value) or _text(event.type)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0")
    return " ".join(label_of(number) for number in np.ravel(value))
