"""The line: chunks and markers in, due windows out. It has no socket and no clock."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np

from rtfeedback.artefacts import ArtefactRule
from rtfeedback.chain import Chain
from rtfeedback.online.plausibility import Plausibility
from rtfeedback.online.schedule import Schedule
from rtfeedback.online.timeline import GAP, Piece, Timeline
from rtfeedback.online.trclock import TRClock
from rtfeedback.online.volumes import CountedVolumes, Happening, Volume
from rtfeedback.ring import RingBuffer
from rtfeedback.signals import Bool, Chunk, Float32, Int64, Marker, Window
from rtfeedback.windows import NEAREST, Due, WindowSpec

FAR = 10**9  # samples: none is due
NEAR = 0.3  # s: before a window that is due so soon no look at some of its samples pays
NEW_TR = 1e-3  # of the TR: what repeats with the volumes does so by another period


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
    plausibility : Plausibility, optional
        What taps the chain; without it any EEG is believed.

    Attributes
    ----------
    hears : bool
        Whether the last chunk held any EEG: samples that are not numbers are none.
    blamed : tuple of str
        Channels whose artefacts made the last window invalid, the worst first.
    """

    def __init__(
        self,
        chain: Chain,
        spec: WindowSpec,
        volumes: TRClock | CountedVolumes,
        *,
        hop: float | None = None,
        gap: float = GAP,
        plausibility: Plausibility | None = None,
    ) -> None:
        self.chain, self.spec, self.volumes = chain, spec, volumes
        self.rate = chain.spec.rate
        self.schedule = Schedule(spec, self.rate, volumes, hop)
        self.timeline = Timeline(chain.spec.sfreq, gap)
        self.ring = RingBuffer(chain.spec.n_features, spec.n_times(self.rate))
        self.plausibility = plausibility
        self._masked = ArtefactRule(chain.spec, spec).follow()
        self._last_stamp: float | None = None
        self._wanted: int | None = None  # to be counted anew
        self.hears = False
        self.blamed: tuple[str, ...] = ()
        self._begin = _Beginning(np.inf)

    def mark(self, marker: Marker) -> Volume | None:
        """Take a marker; return the volume that it begins, if it does."""
        tr, self._wanted = self.volumes.tr, None
        volume = self.schedule.mark(marker)
        if self.plausibility and abs(self.volumes.tr / tr - 1) > NEW_TR:
            self.plausibility.follow(self.volumes.tr)
        return volume

    def happenings(self) -> Iterator[Happening]:
        """Yield what happened to the volumes since this was last asked."""
        told = [self.schedule.happened]
        told += [self.volumes.happened] if isinstance(self.volumes, TRClock) else []
        for each in told:
            yield from each
            each.clear()

    def reconnect(self, chain: Chain) -> None:
        """Go on with another outlet of the same stream, as a new segment."""
        self.chain = chain
        self.timeline.break_here()

    def wanted(self) -> int:
        """Return how many samples are missing to what is next worth a look, 1 at least.

        That is a window that is known of, or the end of a second just before one. A guess by
        the stamps, so that small chunks need not be looked at one by one.
        """
        if self._wanted is None:
            self._wanted = self._missing()
        return self._wanted

    def _missing(self) -> int:
        if self._last_stamp is None:
            return 1
        ahead = self.schedule.next_end - NEAREST / self.rate - self._last_stamp
        newest = self._begin.samples - 1
        reached = newest + max(1, ceil(min(ahead * self.chain.spec.sfreq, FAR)))
        missing, second = self.chain.next_output(reached) - newest, self.timeline.left
        # What is found out over a second is found out before a window is waited for.
        return second if second < missing <= NEAR * self.chain.spec.sfreq else missing

    def push(self, chunk: Chunk) -> Iterator[Window]:
        """Yield each window that falls due in a chunk, in order.

        A window's data is a view of the ring, which moves on when the next is asked for.
        """
        usable = self.chain.usable(chunk)
        self.hears = bool(np.count_nonzero(usable))
        return self._windows(chunk, usable)

    def _windows(self, chunk: Chunk, usable: Bool) -> Iterator[Window]:
        for piece in self.timeline.push(chunk, usable):
            if piece.begins:
                for due in self._begin_segment(piece):
                    yield self._window(due, piece, 0, False, chunk.received)
            self._last_stamp = float(piece.stamps[-1])
            self.schedule.reach(self._last_stamp)
            yield from self._advance(piece, chunk.received)
        self._wanted = None

    def _begin_segment(self, piece: Piece) -> list[Due]:
        """Begin a segment, and return what the one before could not answer."""
        self.chain.reset()
        self.ring.clear()
        self._masked.clear()
        start = float(piece.stamps[0])
        self._begin = _Beginning(start)
        if self.plausibility:
            self.plausibility.begin()
        return self.schedule.begin(start, self._last_stamp)

    def _advance(self, piece: Piece, received: float) -> Iterator[Window]:
        features, index = self.chain.push(piece.samples)
        at = index - self._begin.samples  # positions in the piece
        self._begin.samples += len(piece.stamps)
        if len(index):
            stamps = piece.stamps[at]
            self._begin.first_output = min(self._begin.first_output, float(stamps[0]))
            done = 0
            for due, i, there in self.schedule.take(self._begin.last_output, stamps):
                self._push(features[done : i + 1], index[done : i + 1])
                done = i + 1
                yield self._window(due, piece, int(at[i]), there, received)
            self._push(features[done:], index[done:])
            self._begin.last_output = float(stamps[-1])
        if self.plausibility:  # of the windows to come: none knows what comes after it
            self.plausibility.hear(self.chain.recorded(piece.samples))
            self.plausibility.look(piece.stamps, self.timeline)

    def _push(self, features: Float32, index: Int64) -> None:
        unsettled = int(np.searchsorted(index, self.chain.warm_up))
        if unsettled < len(index):
            self.ring.push(features[unsettled:])
            self._masked.push(features[unsettled:])

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
        if due.reason:
            return due.reason
        if not (there and self.ring.full):
            return self._why_not_there(due, segment, there)
        if self.plausibility and self.plausibility.undecided:
            return "warming_up"
        if self.plausibility and self.plausibility.doubt:
            return self.plausibility.doubt.reason
        if due.volume is not None and not self.volumes.settled:
            return "tr_unknown"
        self.blamed = self._masked.names()
        return "artefact" if self.blamed else "ok"

    def _why_not_there(self, due: Due, segment: int, there: bool) -> str:
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
