"""Faults of the outlet as a receiver meets them, over LSL."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from offline.eeg.recordings import Recording
from offline.faults import Plan, harm, parse_fault
from offline.play import play_plan
from offline.player import PlayReport
from rtfeedback.online.lsl import LSLStream, StreamLost, find_markers, find_stream
from rtfeedback.signals import Chunk
from tests.lab import CHANNELS, RATE, make_recording

pytest.importorskip("mne")

WAIT = 20.0  # s that anything may take before a test fails
CLOCK = 5e-4  # s by which liblsl's clock correction may move a stamp


class Day:
    """A bad day of a short recording, played in a thread of its own."""

    def __init__(self, recording: Recording, *faults: str, loop: bool = False) -> None:
        self.name = f"EEG-{uuid.uuid4().hex[:8]}"
        self.plan = harm(Plan.of(recording), [parse_fault(fault) for fault in faults])
        self.said: list[str] = []
        self.stop, self.loop = threading.Event(), loop
        self.report: PlayReport | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.report = play_plan(
            self.plan,
            stream=self.name,
            markers=self.name + "-markers",
            speed=10.0,
            loop=self.loop,
            linger=WAIT,
            stop=self.stop,
            report=self.said.append,
        )

    def receive(self, stream: LSLStream, n: int) -> Chunk:
        """Return the next `n` samples of a stream at least."""
        chunks: list[Chunk] = []
        deadline = time.monotonic() + WAIT
        while sum(len(chunk.stamps) for chunk in chunks) < n:
            assert time.monotonic() < deadline
            chunk = stream.pull(0.05)
            chunks += [chunk] if chunk else []
        samples = np.concatenate([chunk.samples for chunk in chunks])
        return Chunk(samples, np.concatenate([chunk.stamps for chunk in chunks]), 0.0)

    def rest(self, stream: LSLStream) -> int:
        """Return how many samples still come before the stream ends."""
        count, deadline = 0, time.monotonic() + WAIT
        try:
            while time.monotonic() < deadline:
                chunk = stream.pull(0.05)
                count += len(chunk.stamps) if chunk else 0
        except StreamLost:
            return count
        raise AssertionError("the stream did not end")


@pytest.fixture
def day() -> Iterator[Callable[..., Day]]:
    days: list[Day] = []

    def start(*faults: str, **how: bool) -> Day:
        days.append(Day(make_recording(6), *faults, **how))
        return days[-1]

    yield start
    for each in days:
        each.stop.set()
        each.thread.join(WAIT)


@pytest.mark.parametrize("source", ["same", "new"])
def test_a_restarted_outlet_is_another_stream_that_goes_on_in_time(
    day: Callable[..., Day], source: str
) -> None:
    bad = day(f"restart:at=2,pause=1,source={source},wait=yes")
    before = find_stream(bad.name, timeout=WAIT)
    first = bad.receive(before, 100)
    bad.rest(before)
    after = find_stream(bad.name, timeout=WAIT)
    then = bad.receive(after, round(3 * RATE))
    assert (before.info.source_id == after.info.source_id) == (source == "same")
    assert np.array_equal(then.samples, bad.plan.recording.samples[750:])
    assert then.stamps[0] - first.stamps[0] == pytest.approx(3.0, abs=CLOCK)
    assert "stamp" in bad.said[1]
    assert f"closed for 1 s, {source} source id" in bad.said[1]


def test_a_stream_may_come_back_different(day: Callable[..., Day]) -> None:
    bad = day(
        "restart:at=2,pause=1,wait=yes",
        "permute:since=restart",
        "missing:channel=Cz,since=restart",
        "unit:to=volts,stated=yes,since=restart",
    )
    before = find_stream(bad.name, timeout=WAIT)
    assert before.info.channels == CHANNELS
    bad.rest(before)
    after = find_stream(bad.name, timeout=WAIT)
    got = bad.receive(after, round(3 * RATE))
    assert sorted(after.info.channels) == ["C3", "C4", "Fp1", "Pz"]
    assert set(after.info.units) == {"volts"}
    for i, label in enumerate(after.info.channels):
        sent = bad.plan.recording.samples[750:, CHANNELS.index(label)]
        assert got.samples[:, i] == pytest.approx(sent * 1e-6)


def test_a_frozen_outlet_stays_open_and_goes_on(day: Callable[..., Day]) -> None:
    bad = day("freeze:at=2,duration=2")
    stream = find_stream(bad.name, timeout=WAIT)
    got = bad.receive(stream, round(4 * RATE))
    assert np.array_equal(
        got.samples, np.delete(bad.plan.recording.samples, range(500, 1000), 0)
    )
    jump = np.diff(got.stamps)[499]
    assert jump == pytest.approx(2 + 1 / RATE, abs=CLOCK)


def test_a_marker_outlet_may_restart_alone(day: Callable[..., Day]) -> None:
    bad = day("restart:at=2,pause=1,outlet=markers,source=new")
    markers = find_markers(bad.name + "-markers", timeout=WAIT)
    stream = find_stream(bad.name, timeout=WAIT)
    lost = False
    count, deadline = 0, time.monotonic() + WAIT
    while count < 6 * RATE or not lost:
        assert time.monotonic() < deadline
        chunk = None if count >= 6 * RATE else stream.pull(0.02)
        count += len(chunk.stamps) if chunk else 0
        try:
            markers.pull() if not lost else None
        except StreamLost:
            lost = True
    assert count == 6 * RATE  # the EEG does not mind


def test_each_round_of_a_loop_begins_with_what_was_offered_first(
    day: Callable[..., Day],
) -> None:
    bad = day("restart:at=2,pause=1,wait=yes", "missing:since=restart", loop=True)
    widths, deadline = [], time.monotonic() + WAIT
    for _ in range(3):
        assert time.monotonic() < deadline
        stream = find_stream(bad.name, timeout=WAIT)
        widths.append(len(stream.info.channels))
        bad.rest(stream)
    assert widths == [5, 4, 5]


def test_the_report_counts_what_was_sent(day: Callable[..., Day]) -> None:
    bad = day("drop:at=2,n=100", "marker-missing:at=3")
    stream = find_stream(bad.name, timeout=WAIT)
    bad.receive(stream, round(6 * RATE) - 100)
    stream.close()
    bad.thread.join(WAIT)
    assert bad.report is not None
    assert (bad.report.samples, bad.report.markers) == (1400, 5)
    assert bad.report.duration == pytest.approx(6)
    assert bad.report.complete
    assert [line.split(": ", 1)[1] for line in bad.said[1:3]] == [
        "drop: 100 samples are lost",
        "marker-missing: R128 does not come",
    ]
