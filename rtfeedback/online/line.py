"""The line: chunks and markers in, due windows out. It has no socket and no clock."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np

from rtfeedback.chain import Chain
from rtfeedback.online.timeline import GAP, Piece, Timeline
from rtfeedback.online.trclock import CountedVolumes, TRClock
from rtfeedback.ring import RingBuffer
from rtfeedback.signals import Bool, Chunk, Float32, Float64, Int64, Marker, Window
from rtfeedback.windows import Due, WindowSpec, due_of_marker, reached

# A due window, the place of its newest sample in a block of outputs, and whether that
# sample really is the nearest: the nearest may never have come, or have gone by.
_Found = tuple[Due, int, bool]

CLOCK_SET = 3600.0  # s: a jump ahead by more is no gap in the EEG, as is any jump back


class Line:
    """Timeline, chain and ring in their order, and the windows that fall due.

    Parameters
    ----------
    chain : Chain
        Made for the stream.
    spec : WindowSpec
    volumes : TRClock or CountedVolumes
        Whether volumes are marked, or counted on the stream's stamps.
    hop : float, optional
        Seconds between windows that belong to no volume.
    gap : float
        A jump of the stamps by more than this, in seconds, begins a segment.

    Attributes
    ----------
    hears : bool
        Whether the last chunk held any EEG: samples that are not numbers are none.
    """

    def __init__(
        self,
        chain: Chain,
        spec: WindowSpec,
        volumes: TRClock | CountedVolumes,
        *,
        hop: float | None = None,
        gap: float = GAP,
    ) -> None:
        self.chain, self.spec, self.volumes, self.hop = chain, spec, volumes, hop
        self.rate = chain.spec.rate
        self.timeline = Timeline(chain.spec.sfreq, gap)
        self.ring = RingBuffer(chain.spec.n_features, spec.n_times(self.rate))
        self._due: list[Due] = []
        self._first_stamp: float | None = None
        self._hops = 0
        self._last_stamp = 0.0
        self.hears = False
        self._begin = _Beginning(np.inf)

    def mark(self, marker: Marker) -> int | None:
        """Take a marker; return the number of the volume that it begins, if it does."""
        if not isinstance(self.volumes, TRClock):
            return None
        marked = self.volumes.push(marker)
        if marked is None:
            return None
        self._add_volume(*marked)
        return marked[0]

    def reconnect(self, chain: Chain) -> None:
        """Go on with another outlet of the same stream, as a new segment."""
        self.chain = chain
        self.timeline.break_here()

    def push(self, chunk: Chunk) -> Iterator[Window]:
        """Yield each window that falls due in a chunk, in order.

        A window's data is a view of the ring, which moves on when the next is asked for.
        """
        usable = self.chain.usable(chunk.samples) & np.isfinite(chunk.stamps)
        self.hears = bool(usable.any())
        return self._windows(chunk, usable)

    def _windows(self, chunk: Chunk, usable: Bool) -> Iterator[Window]:
        for piece in self.timeline.push(chunk, usable):
            if piece.begins:
                self._begin_segment(piece)
            self._last_stamp = float(piece.stamps[-1])
            self._schedule(self._last_stamp)
            yield from self._advance(piece, chunk.received)

    def _begin_segment(self, piece: Piece) -> None:
        self.chain.reset()
        self.ring.clear()
        start = float(piece.stamps[0])
        self._begin = _Beginning(start)
        if self._first_stamp is None or self._clock_was_set(start):
            self._first_stamp, self._hops = start, 0
            if isinstance(self.volumes, CountedVolumes):
                self.volumes.begin(start)
        if self.hop:  # hops that fell into the gap were told as stale
            self._due = [due for due in self._due if due.volume is not None or due.end >= start]
            self._hops = max(self._hops, ceil((start - self._first_stamp) / self.hop) - 1)

    def _clock_was_set(self, start: float) -> bool:
        if self._last_stamp <= start < self._last_stamp + CLOCK_SET:
            return False
        # What was due will not come, and the grids go on from here, or nothing would be
        # told until the old time is reached.
        self._due = []
        return True

    def _add_volume(self, volume: int, onset: float) -> None:
        tr = self.volumes.tr
        self._due.append(due_of_marker(self.spec, volume, onset, tr=tr, rate=self.rate))

    def _schedule(self, stamp: float) -> None:
        # A sample may be the nearest to a time that it precedes by half a period.
        ahead = stamp + 1 / self.rate
        if isinstance(self.volumes, CountedVolumes):
            for volume, onset in self.volumes.reach(ahead):
                self._add_volume(volume, onset)
        if self.hop and self._first_stamp is not None:
            while (end := self._first_stamp + (self._hops + 1) * self.hop) <= ahead:
                self._due.append(Due(end, end + self.spec.lead))
                self._hops += 1
        self._due.sort(key=lambda due: due.end)

    def _advance(self, piece: Piece, received: float) -> Iterator[Window]:
        features, index = self.chain.push(piece.samples)
        at = index - self._begin.samples  # positions in the piece
        self._begin.samples += len(piece.stamps)
        if len(index) == 0:
            return
        stamps = piece.stamps[at]
        self._begin.first_output = min(self._begin.first_output, float(stamps[0]))
        done = 0
        for due, i, there in self._due_in(stamps):
            self._push(features[done : i + 1], index[done : i + 1])
            done = i + 1
            yield self._window(due, piece, int(at[i]), there, received)
        self._push(features[done:], index[done:])
        self._begin.last_output = float(stamps[-1])

    def _due_in(self, stamps: Float64) -> list[_Found]:
        """Take the windows that end in a block, with their newest sample's place in it.

        A hop that is also a volume is one window, the volume's.
        """
        ends = np.array([due.end for due in self._due])
        # Index 0 is the last output before the block: its time has gone by.
        known = np.concatenate([[self._begin.last_output], stamps])
        newest, nearest = reached(known, ends, self.rate)
        n_due = int(np.sum(newest < len(known)))
        taken, self._due = self._due[:n_due], self._due[n_due:]
        places, nearest = np.maximum(newest - 1, 0), nearest & (newest > 0)
        found = list(zip(taken, places.tolist(), nearest.tolist(), strict=False))
        volumes = [each for each in found if each[0].volume is not None]
        return [each for each in found if each in volumes or not self._is_any(each, volumes)]

    def _is_any(self, hop: _Found, volumes: list[_Found]) -> bool:
        """Tell whether a hop is also a volume: the same sample, and the same time."""
        return any(
            hop[1:] == volume[1:] and abs(hop[0].end - volume[0].end) < 1 / self.rate
            for volume in volumes
        )

    def _push(self, features: Float32, index: Int64) -> None:
        unsettled = int(np.searchsorted(index, self.chain.warm_up))
        if unsettled < len(index):
            self.ring.push(features[unsettled:])

    def _window(self, due: Due, piece: Piece, at: int, there: bool, received: float) -> Window:
        reason = self._reason(due, piece.segment, there)
        return Window(
            data=self.ring.window(),
            valid=reason == "ok",
            reason=reason,
            volume=due.volume,
            target_time=due.target,
            due_time=due.end,
            lsl_time=float(piece.received_stamps[at]),
            segment=piece.segment,
            sample=piece.first_sample + at,
            received=received,
        )

    def _reason(self, due: Due, segment: int, there: bool) -> str:
        if there and self.ring.full:
            return "ok"
        if not there and due.end > self._begin.first_output:
            return "late"  # its samples went by before its marker came
        touches = due.end - self.spec.length < self._begin.stamp
        return "gap" if segment > 0 and touches else "warming_up"


class _Beginning:
    """Where the segment began: its stamp and first output; its last, its samples so far."""

    def __init__(self, stamp: float) -> None:
        self.stamp = stamp
        self.first_output = np.inf
        self.last_output = -np.inf
        self.samples = 0
