"""What is going to be sent, and when: a recording as arrays that faults may change.

Knows no LSL: a plan can be made, harmed and looked at without a stream. Times are
seconds of the recording, from its first sample on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from math import ceil, inf
from operator import attrgetter
from typing import TypeVar

import numpy as np

from offline.eeg.recordings import Recording
from rtfeedback.errors import RtfeedbackError
from rtfeedback.signals import Bool, Float32, Float64, Int64, StreamInfo

CHUNK = 0.04  # s of samples sent at a time, as amplifiers do at 25 Hz
# Of a sample, so that k / rate belongs to sample k in floating point too.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Life:
    """One life of an outlet, from when it opens until it closes.

    Attributes
    ----------
    source : int
        Lives of the same number have the same source id.
    opens, closes : float
    waits : bool
        Whether nothing goes on before someone receives it again.
    """

    source: int = 0
    opens: float = -inf
    closes: float = inf
    waits: bool = False


LifeT = TypeVar("LifeT", bound=Life)


@dataclass(frozen=True, slots=True)
class EEGLife(Life):
    """One life of the EEG outlet, and what it offers meanwhile.

    Attributes
    ----------
    info : StreamInfo
        What the stream says of itself.
    columns : tuple of int
        Which of the recording's channels are sent, in their order.
    scale : float
        What the recording's values are multiplied with.
    """

    info: StreamInfo = field(kw_only=True)
    columns: tuple[int, ...] = ()
    scale: float = 1.0

    def wire(self, samples: Float32) -> Float32:
        """Return samples of the recording as this life sends them."""
        if self.columns != tuple(range(samples.shape[1])):
            samples = samples.take(self.columns, axis=1)
        return samples if self.scale == 1 else samples * np.float32(self.scale)


@dataclass(frozen=True, slots=True)
class PlannedMarker:
    """A marker: where it is in the recording, how it is stamped, when it is sent."""

    time: float
    label: str
    stamp: float
    sent: float


@dataclass(frozen=True, slots=True)
class Note:
    """What a fault did, and when."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is sent of a recording.

    Attributes
    ----------
    recording : Recording
        As it is in the file.
    samples : float32, shape (n_times, n_channels)
        In the recording's units and order of channels.
    index : int64, shape (n_times,)
        Which samples of the recording they are, ascending.
    clock : float64, shape (n_times,)
        The sender's clock at each sample.
    scatter : float64, shape (n_times,)
        By how much each is stamped off that clock.
    sent : float64, shape (n_times,)
        When each is sent. Samples that are sent at one time are one chunk.
    markers : tuple of PlannedMarker
    lives : tuple of EEGLife
    marker_lives : tuple of Life
    period : float
        What the stamps go on by when the recording is sent again.
    pace : float
        Seconds of the recording that a sender's second holds.
    chunk : float
        Seconds of samples sent at a time.
    notes : tuple of Note
    """

    recording: Recording
    samples: Float32
    index: Int64
    clock: Float64
    scatter: Float64
    sent: Float64
    markers: tuple[PlannedMarker, ...]
    lives: tuple[EEGLife, ...]
    marker_lives: tuple[Life, ...]
    period: float
    pace: float
    chunk: float
    notes: tuple[Note, ...] = ()

    @classmethod
    def of(cls, recording: Recording, size: int | None = None) -> Plan:
        """Return the plan of a good day: all of it, in order, in chunks of one size.

        Parameters
        ----------
        recording : Recording
        size : int, optional
            Samples sent at a time; 40 ms worth without.
        """
        info, n = recording.info, len(recording.samples)
        rate, index = info.sfreq, np.arange(n)
        size = size or max(1, round(CHUNK * rate))
        plan = cls(
            recording=recording,
            samples=recording.samples,
            index=index,
            clock=index / rate,
            scatter=np.zeros(n),
            sent=np.minimum((index // size + 1) * size, n) / rate,
            markers=(),
            lives=(EEGLife(info=info, columns=tuple(range(len(info.channels)))),),
            marker_lives=(Life(),),
            period=n / rate,
            pace=1.0,
            chunk=size / rate,
        )
        return replace(
            plan,
            markers=tuple(
                PlannedMarker(m.stamp, m.label, m.stamp, plan.sending(m.stamp))
                for m in recording.markers
            ),
        )

    @property
    def times(self) -> Float64:
        """Where each sample is in the recording, in seconds."""
        return self.index / self.recording.info.sfreq

    @property
    def stamps(self) -> Float64:
        """How each sample is stamped, in seconds from the first."""
        return self.clock + self.scatter

    @property
    def duration(self) -> float:
        """Seconds of the recording."""
        return len(self.recording.samples) / self.recording.info.sfreq

    def sending(self, time: float) -> float:
        """Return when the chunk that holds a time is sent on a good day."""
        rate, n = self.recording.info.sfreq, len(self.recording.samples)
        size = round(self.chunk * rate)
        index = min(max(int(time * rate + _ROUNDING), 0), n - 1)
        return min((index // size + 1) * size, n) / rate

    def span(self, at: float, seconds: float) -> slice:
        """Return the rows of the samples from a time on, for so many seconds."""
        rate = self.recording.info.sfreq
        bounds = ceil(at * rate - _ROUNDING), ceil((at + seconds) * rate - _ROUNDING)
        first, last = np.searchsorted(self.index, bounds).tolist()
        return slice(first, last)

    def keep(self, kept: Bool) -> Plan:
        """Return the plan with only some of its samples."""
        if not kept.any():
            raise RtfeedbackError("The faults leave nothing of the recording to be sent")
        return replace(
            self,
            samples=self.samples[kept],
            index=self.index[kept],
            clock=self.clock[kept],
            scatter=self.scatter[kept],
            sent=self.sent[kept],
        )

    def note(self, at: float, text: str) -> Plan:
        """Return the plan with a note of what a fault did."""
        return replace(self, notes=(*self.notes, Note(at, text)))

    def steps(self) -> list[Step]:
        """Return what is to be done, in order: notes before markers before samples."""
        groups = (self._said(), self._marker_steps(), self._eeg_steps())
        return sorted(chain(*groups), key=attrgetter("at"))

    def _said(self) -> Iterator[Step]:
        for note in self.notes:
            yield Say(note.at, note.text)

    def _marker_steps(self) -> Iterator[Step]:
        markers = sorted(self.markers, key=attrgetter("sent"))
        sent = [marker.sent for marker in markers]
        for life, following in _with_next(self.marker_lives):
            first, last = bisect_left(sent, life.opens), bisect_left(sent, life.closes)
            for marker in markers[first:last]:
                yield SendMarker(marker.sent, marker)
            yield from _turn(life, following)

    def _eeg_steps(self) -> Iterator[Step]:
        opens = [self.span(life.opens, 0).start for life in self.lives[1:]]
        bounds = pairwise([0, *opens, len(self.index)])
        for (life, following), (first, last) in zip(
            _with_next(self.lives), bounds, strict=True
        ):
            sent = np.clip(self.sent[first:last], life.opens, life.closes)
            edges = np.flatnonzero(np.diff(sent)) + 1
            for a, b in pairwise([0, *edges.tolist(), len(sent)]):
                if a < b:
                    yield SendEEG(float(sent[a]), slice(first + a, first + b))
            yield from _turn(life, following)


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is done at a time."""

    at: float


@dataclass(frozen=True, slots=True)
class Say(Step):
    """Say what a fault does."""

    text: str


@dataclass(frozen=True, slots=True)
class SendEEG(Step):
    """Send these rows of the samples as one chunk."""

    rows: slice


@dataclass(frozen=True, slots=True)
class SendMarker(Step):
    """Send a marker."""

    marker: PlannedMarker


@dataclass(frozen=True, slots=True)
class Close(Step):
    """Close the outlet that is in this life."""

    life: Life


@dataclass(frozen=True, slots=True)
class Open(Step):
    """Open an outlet's next life."""

    life: Life


def _turn(life: Life, following: Life | None) -> Iterator[Step]:
    if following is not None:
        yield Close(life.closes, life)
        yield Open(following.opens, following)


def _with_next(lives: Sequence[LifeT]) -> Iterator[tuple[LifeT, LifeT | None]]:
    return zip(lives, [*lives[1:], None], strict=True)
