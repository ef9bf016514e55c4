"""Samples gathered until there are enough of them to be worth a look."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from rtfeedback.online.line import NEAR
from rtfeedback.online.source import Stream, StreamLost
from rtfeedback.signals import Chunk

HOLD = 0.48  # s that samples are held back: two pulls, the second filled before it ends
LAST = 0.02  # s of samples that are left for when a window falls due, where a look pays before
MANY = 2**16  # numbers for which it does even if the window is near


class Gathering:
    """Hold back small chunks, which cost as much as large ones, while nothing is due.

    What is left to be done at the moment when a window falls due is kept small, too.

    Parameters
    ----------
    stream : Stream
    meanwhile : context manager, optional
        Entered while the stream is waited for.

    Attributes
    ----------
    heard : float or None
        Monotonic clock at which samples last came, or a little before that.
    """

    def __init__(
        self, stream: Stream, meanwhile: AbstractContextManager[object] | None = None
    ) -> None:
        self.stream, self._meanwhile = stream, meanwhile or nullcontext()
        self._most = max(1, round(HOLD * stream.info.sfreq))
        self._last = max(1, round(LAST * stream.info.sfreq))
        many = MANY / len(stream.info.channels)
        self._worth = max(2 * self._last, round(min(NEAR * stream.info.sfreq, many)))
        self._held: list[Chunk] = []
        self._n = 0
        self._since = 0.0
        self.heard: float | None = None
        self._lost: StreamLost | None = None

    def pull(self, timeout: float, wanted: int) -> Chunk | None:
        """Return what has come, once it is enough or the first of it has waited.

        Parameters
        ----------
        timeout : float
            Seconds to wait for samples.
        wanted : int
            Samples that are missing to what is next worth a look; see `Line.wanted`.

        Raises
        ------
        StreamLost
            The stream has ended, and what was pulled of it was returned before.
        """
        if self._lost is not None:
            raise self._lost
        enough, began = self._enough(wanted), time.monotonic()
        try:
            asked = max(1, enough - self._n)
            with self._meanwhile:
                chunk = self.stream.pull(timeout, asked)
        except StreamLost as error:
            if not self._n:
                raise
            self._lost = error
            return self._release()
        now = time.monotonic()
        if chunk is not None:
            short = len(chunk.stamps) < asked  # it waited in vain for more
            # Samples that came one after the other since then, as they do as a rule.
            came = began + len(chunk.stamps) / self.stream.info.sfreq if short else now
            self._since = self._since if self._n else began
            self.heard = min(now, came)
            self._held.append(chunk)
            self._n += len(chunk.stamps)
        due = self._n >= enough or (self._n and now - self._since >= HOLD)
        return self._release() if due or (chunk is not None and _hangs(chunk)) else None

    def rest(self) -> Chunk | None:
        """Return what is held back, if anything is."""
        return self._release() if self._n else None

    def _enough(self, wanted: int) -> int:
        """Return how many samples are worth a look."""
        if wanted <= self._worth:
            return wanted
        return min(wanted - self._last, self._most)

    def _release(self) -> Chunk:
        """Return all that is held as one chunk, received when the newest of it was."""
        held, self._held, self._n = self._held, [], 0
        if len(held) == 1:
            return held[0]
        wires = [chunk.wire for chunk in held if chunk.wire is not None]
        return Chunk(
            np.concatenate([chunk.samples for chunk in held]),
            np.concatenate([chunk.stamps for chunk in held]),
            held[-1].received,
            np.concatenate(wires) if wires else None,
        )


def _hangs(chunk: Chunk) -> bool:
    """Tell whether no number comes any more, which has to be told at once."""
    return not np.isfinite(chunk.samples[-1]).all()
