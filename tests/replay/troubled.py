"""A source of EEG and markers to which all that can happen does happen, as it is told to."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from rtfeedback.online.description import compose, compose_markers
from rtfeedback.online.source import Idle, StreamLost, StreamOver
from rtfeedback.signals import Chunk, Float32, Float64, Marker, StreamInfo
from tests.lab import CHANNELS, RATE, TR, noise, stream_info

START = 4000.0  # stamp of the first sample
LATE = 1000.0  # s that a late chunk has waited


@dataclass
class Life:
    """One outlet of the stream, from when it is opened until it ends.

    Attributes
    ----------
    chunks : sequence of int
        Samples in each chunk, over and over.
    late : set of int
        Chunks that have waited for long when they are pulled.
    """

    info: StreamInfo
    samples: Float32
    stamps: Float64
    chunks: Sequence[int] = (25,)
    late: frozenset[int] = frozenset()

    def pulls(self) -> Iterator[Chunk]:
        """Yield the chunks."""
        first, k = 0, 0
        while first < len(self.stamps):
            end = first + self.chunks[k % len(self.chunks)]
            age = LATE if k in self.late else 0.0
            samples, stamps = self.samples[first:end], self.stamps[first:end]
            yield Chunk(samples, stamps, time.monotonic() - age)
            first, k = end, k + 1


@dataclass
class Troubled:
    """A source whose stream ends and comes back, and whose markers come when they come.

    Attributes
    ----------
    lives : list of Life
    markers : list of (float, Marker)
        Each with the stamp that the EEG has reached when it arrives.
    markers_end : float
        Stamp at which the marker stream ends, and is there again at once.
    """

    lives: list[Life]
    markers: list[tuple[float, Marker]] = field(default_factory=list)
    markers_end: float = math.inf
    name: str = "troubled"
    markers_name: str | None = "markers"
    reached: float = -math.inf

    def __post_init__(self) -> None:
        self.ahead = list(self.lives)
        self.waiting = sorted(self.markers, key=lambda pair: pair[0])

    def open_stream(
        self, *, timeout: float, idle: Idle, first: Callable[[], object] = lambda: None
    ) -> _Stream:
        if not self.ahead:
            raise StreamOver("all lives are over")
        idle()
        first()
        return _Stream(self, self.ahead.pop(0))

    def open_markers(self, *, timeout: float, idle: Idle) -> _Markers:
        idle()
        return _Markers(self)


class _Stream:
    notes: tuple[str, ...] = ()

    def __init__(self, source: Troubled, life: Life) -> None:
        self.info, self.description = life.info, compose(life.info)
        self._source, self._pulls = source, life.pulls()

    def pull(self, timeout: float, wanted: int = 1) -> Chunk | None:
        chunk = next(self._pulls, None)
        if chunk is None:
            raise StreamLost("a life is over") if self._source.ahead else StreamOver("over")
        finite = chunk.stamps[np.isfinite(chunk.stamps)]
        self._source.reached = max([self._source.reached, *finite[-1:].tolist()])
        return chunk

    def close(self) -> None:
        pass


class _Markers:
    name, description = "markers", compose_markers("markers")

    def __init__(self, source: Troubled) -> None:
        self._source = source

    def pull(self) -> list[Marker]:
        source = self._source
        if source.reached >= source.markers_end:
            source.markers_end = math.inf
            raise StreamLost("the markers have ended")
        come = [pair for pair in source.waiting if pair[0] <= source.reached]
        del source.waiting[: len(come)]
        return [marker for _, marker in come]

    def close(self) -> None:
        pass


# --- what may happen ------------------------------------------------------------------


def clean(seconds: float, *, seed: int = 0, start: float = START) -> Life:
    """Return undisturbed EEG."""
    samples = noise(seconds, seed)
    return Life(stream_info(), samples, start + np.arange(len(samples)) / RATE)


def marked(seconds: float, *, tr: float = TR, first: float = 0.4) -> list[tuple[float, Marker]]:
    """Return a marker each TR, which comes just before its sample does."""
    onsets = (START + np.arange(first, seconds, tr)).tolist()
    return [(onset, Marker(onset, "R128")) for onset in onsets]


def without(life: Life, *spans: tuple[int, int]) -> Life:
    """Leave out samples; what follows keeps its stamps."""
    kept = np.ones(len(life.stamps), bool)
    for first, end in spans:
        kept[first:end] = False
    return Life(life.info, life.samples[kept], life.stamps[kept], life.chunks, life.late)


def not_numbers(life: Life, *spans: tuple[int, int]) -> Life:
    """Make one channel, or all of them in turn, no numbers."""
    samples = life.samples.copy()
    for k, (first, end) in enumerate(spans):
        samples[first:end, k % len(CHANNELS) if k else slice(None)] = np.nan
    return Life(life.info, samples, life.stamps, life.chunks, life.late)


def bursts(life: Life, *spans: tuple[int, int]) -> Life:
    """Make a channel twenty times as large for a while."""
    samples = life.samples.copy()
    for k, (first, end) in enumerate(spans):
        samples[first:end, k % len(CHANNELS)] *= 20
    return Life(life.info, samples, life.stamps, life.chunks, life.late)


def jittered(life: Life, sd: float, rng: np.random.Generator) -> Life:
    """Move each stamp by a little, in seconds."""
    stamps = life.stamps + rng.normal(0, sd, len(life.stamps))
    return Life(life.info, life.samples, stamps, life.chunks, life.late)


def stepped(life: Life, at: int, seconds: float) -> Life:
    """Let the stamps jump, ahead or back."""
    stamps = life.stamps.copy()
    stamps[at:] += seconds
    return Life(life.info, life.samples, stamps, life.chunks, life.late)


def cut(life: Life, *chunks: int) -> Life:
    """Send it in chunks of these sizes, over and over."""
    return Life(life.info, life.samples, life.stamps, chunks, life.late)


def shuffled(life: Life, rng: np.random.Generator) -> Life:
    """Send the channels in another order, with one that is no EEG among them."""
    order = rng.permutation(len(CHANNELS))
    names = [CHANNELS[i] for i in order]
    at = int(rng.integers(len(names) + 1))
    info = stream_info([*names[:at], "EOG", *names[at:]])
    other = rng.normal(0, 50, (len(life.samples), 1)).astype(np.float32)
    columns = life.samples[:, order]
    samples = np.hstack([columns[:, :at], other, columns[:, at:]])
    return Life(info, np.ascontiguousarray(samples), life.stamps, life.chunks, life.late)
