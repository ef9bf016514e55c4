"""When EEG is waited for, when it is let come, and what it is then told to be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from rtfeedback.online.daemon import PULL
from rtfeedback.online.gather import HOLD, Gathering
from rtfeedback.online.receipt import Receipt
from rtfeedback.online.source import StreamLost
from rtfeedback.signals import Chunk
from tests.lab import noise, stream_info

RATE = 250.0


class Amplifier:
    """A stream as liblsl gives it, on a clock in the test's hands.

    Parameters
    ----------
    pushes : sequence of (float, int)
        When so many samples arrive, rising.
    """

    notes, description = (), ""

    def __init__(self, pushes: list[tuple[float, int]], end: float = np.inf) -> None:
        self.info = stream_info()
        self.now, self.end = 0.0, end
        self._times, self._taken = np.array([at for at, _ in pushes]), 0
        self._counts = np.cumsum([n for _, n in pushes])
        self._receipt = Receipt(0.0)

    def arrived(self, now: float) -> int:
        seen = int(np.searchsorted(self._times, now, side="right"))
        return int(self._counts[seen - 1]) if seen else 0

    def arrival(self, sample: int) -> float:
        """Return when a sample arrived."""
        return float(self._times[np.searchsorted(self._counts, sample, side="right")])

    def pull(self, timeout: float, wanted: int = 1) -> Chunk | None:
        if self.now >= self.end:
            raise StreamLost("it has ended")
        lay = self.arrived(self.now) - self._taken >= wanted
        deadline = min(self.now + timeout, self.end)
        there = np.searchsorted(self._counts, self._taken + wanted)
        at = self._times[there] if there < len(self._times) else np.inf
        self.now = min(max(self.now, float(at)), deadline)
        n = self.arrived(self.now) - self._taken
        received = self._receipt.date(
            self.now, waited=timeout, waiting=False, lay=lay or n < wanted
        )
        self._taken += n
        return Chunk(noise(n / RATE), np.zeros(n), received) if n else None

    def close(self) -> None: ...


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Iterator[tuple[Chunk, float]]]:
    def run(amplifier: Amplifier, seconds: float, every: int) -> Iterator[tuple[Chunk, float]]:
        """Yield each chunk that a run gets, and when; a window is due each `every` samples."""
        monkeypatch.setattr(time, "monotonic", lambda: amplifier.now)
        gathering, n = Gathering(amplifier), 0
        while amplifier.now < seconds:
            wanted = every - n % every
            chunk = gathering.pull(PULL, wanted)
            if chunk is not None:
                n += len(chunk.stamps)
                yield chunk, amplifier.now

    return run


def regular(seconds: float, chunk: int = 2) -> list[tuple[float, int]]:
    return [(k * chunk / RATE, chunk) for k in range(1, round(seconds * RATE / chunk))]


def due(found: list[tuple[Chunk, float]], amplifier: Amplifier, every: int) -> np.ndarray:
    """Return how late each due sample was handed over, and how old it was said to be."""
    rows, n = [], 0
    for chunk, now in found:
        for sample in range(n, n + len(chunk.stamps)):
            if (sample + 1) % every == 0:
                rows.append((now - amplifier.arrival(sample), now - chunk.received))
        n += len(chunk.stamps)
    return np.array(rows)


@pytest.mark.parametrize("every", [25, 63, 125, 500])
@pytest.mark.parametrize("chunk", [1, 2, 10, 40])
def test_what_is_due_of_a_regular_stream_is_there_at_once(
    live: Callable[..., Iterator[tuple[Chunk, float]]], every: int, chunk: int
) -> None:
    amplifier = Amplifier(regular(20, chunk))
    rows = due(list(live(amplifier, 19, every)), amplifier, every)
    assert len(rows) > 8
    assert rows[:, 0].max() < 1e-9
    assert rows[:, 1].max() < 1e-9


@pytest.mark.parametrize("every", [25, 63, 125, 500])
@pytest.mark.parametrize("seed", range(5))
def test_nothing_looks_fresher_than_it_is_and_little_is_late(
    live: Callable[..., Iterator[tuple[Chunk, float]]], every: int, seed: int
) -> None:
    """Chunks are held up by up to half a second, now and then, and come at once."""
    rng = np.random.default_rng(seed)
    pushes, late = [], 0.0
    for at, n in regular(60):
        if rng.random() < 0.01:
            late = max(late, at + rng.uniform(0.1, 0.5))
        pushes.append((max(at, late), n))
    amplifier = Amplifier(pushes)
    rows = due(list(live(amplifier, 58, every)), amplifier, every)
    assert (rows[:, 1] >= rows[:, 0] - 1e-9).all()
    assert rows[:, 0].max() < 1e-9


def test_after_a_burst_nothing_waits(
    live: Callable[..., Iterator[tuple[Chunk, float]]],
) -> None:
    pushes = [(at if not 10 < at < 13 else 13.0, n) for at, n in regular(20)]
    amplifier = Amplifier(pushes)
    rows = due(list(live(amplifier, 19, 125)), amplifier, 125)
    assert rows[20:, 0].max() < 1e-9


def test_what_was_pulled_is_returned_before_the_end_is_told(
    live: Callable[..., Iterator[tuple[Chunk, float]]],
) -> None:
    amplifier = Amplifier(regular(20), end=10.0)
    n = 0
    with pytest.raises(StreamLost):  # noqa: PT012 (what comes before it is what is tested)
        for chunk, _ in live(amplifier, 19, 500):
            n += len(chunk.stamps)
    assert n == amplifier.arrived(10.0)


def test_nothing_is_held_back_for_longer_than_it_may_be(
    live: Callable[..., Iterator[tuple[Chunk, float]]],
) -> None:
    amplifier = Amplifier(regular(20))
    times = [now for _, now in live(amplifier, 19, 10**6)]
    assert np.diff(times).max() <= HOLD + PULL


@pytest.mark.parametrize(("n_channels", "left"), [(32, 70), (1024, 5)])
def test_of_much_to_compute_little_is_left_for_when_a_window_falls_due(
    live: Callable[..., Iterator[tuple[Chunk, float]]], n_channels: int, left: int
) -> None:
    amplifier = Amplifier(regular(20, 1))
    amplifier.info = stream_info([f"E{k}" for k in range(n_channels)])
    n, sizes = 0, set()
    for chunk, _ in live(amplifier, 19, 70):
        n += len(chunk.stamps)
        if n % 70 == 0:
            sizes.add(len(chunk.stamps))
    assert sizes == {left}


@pytest.mark.parametrize("chunk", [1, 2, 10])
@pytest.mark.parametrize("end", [10.0, 10.13, 10.37])
def test_what_was_heard_last_is_dated_when_it_came(
    monkeypatch: pytest.MonkeyPatch, chunk: int, end: float
) -> None:
    """Not when the pull ended that waited in vain for more: EEG that froze would look fresh."""
    amplifier = Amplifier([(at, n) for at, n in regular(20, chunk) if at < end])
    monkeypatch.setattr(time, "monotonic", lambda: amplifier.now)
    gathering = Gathering(amplifier)
    while amplifier.now < end + 3 * PULL:
        gathering.pull(PULL, 10**6)
    assert gathering.heard is not None
    assert end - 2 * chunk / RATE <= gathering.heard <= end + 1e-9


def test_a_sample_that_is_no_number_is_told_at_once(
    live: Callable[..., Iterator[tuple[Chunk, float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    amplifier = Amplifier(regular(20))
    pull = amplifier.pull

    def broken(timeout: float, wanted: int = 1) -> Chunk | None:
        chunk = pull(timeout, wanted)
        if chunk is not None and amplifier.now > 10.0:
            chunk.samples[:] = np.nan
        return chunk

    monkeypatch.setattr(amplifier, "pull", broken)
    found = [now for chunk, now in live(amplifier, 12, 10**6) if np.isnan(chunk.samples).any()]
    assert found[0] <= 10.0 + PULL
