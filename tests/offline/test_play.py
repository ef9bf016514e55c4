from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offline.eeg.recordings import Recording, read_recording
from offline.faults import parse_fault
from offline.play import play
from offline.player import PlayReport
from rtfeedback.errors import RecordingError, RtfeedbackError
from rtfeedback.online.lsl import LSLStream, StreamLost, find_markers, find_stream
from rtfeedback.signals import Float32, Float64, Marker

pytest.importorskip("mne")
pybv = pytest.importorskip("pybv")

WAIT = 20.0  # s that anything may take before a test fails
RATE = 500.0
# liblsl's clock offset on one machine: tens of microseconds, re-estimated now and then.
CLOCK = 5e-4


@dataclass
class Received:
    samples: Float32
    stamps: Float64
    markers: list[Marker]


class Player:
    """`play` in a thread, to be received in the test's own."""

    def __init__(self, path: Path, **how: Any) -> None:
        self.name = f"EEG-{uuid.uuid4().hex[:8]}"
        self.said: list[str] = []
        self.stop = threading.Event()
        self.report: PlayReport | None = None
        self.how = {"stop": self.stop, "report": self.said.append, **how}
        self.thread = threading.Thread(target=self._run, args=(path,), daemon=True)
        self.thread.start()

    def _run(self, path: Path) -> None:
        markers = self.name + "-markers"
        self.report = play(path, stream=self.name, markers=markers, **self.how)

    def join(self) -> PlayReport:
        self.thread.join(WAIT)
        assert self.report is not None
        return self.report

    def receive(self, n_times: int, n_markers: int) -> Received:
        """Receive as `run` does, markers first, then leave."""
        markers = find_markers(self.name + "-markers", timeout=WAIT)
        stream = find_stream(self.name, timeout=WAIT)
        chunks, got, count = [], list[Marker](), 0
        deadline = time.monotonic() + WAIT
        while count < n_times or len(got) < n_markers:
            assert time.monotonic() < deadline
            chunk = stream.pull(0.1)
            got += markers.pull()
            if chunk is not None:
                chunks.append(chunk)
                count += len(chunk.stamps)
        stream.close()
        markers.close()
        return Received(
            np.concatenate([c.samples for c in chunks]),
            np.concatenate([c.stamps for c in chunks]),
            got,
        )


@pytest.fixture(scope="module")
def brainvision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 4 s of three channels at 500 Hz with three markers."""
    folder = tmp_path_factory.mktemp("brainvision")
    events = [
        {"onset": onset, "duration": 1, "description": code, "type": kind}
        for onset, code, kind in (
            (0, 128, "Response"),
            (1000, 128, "Response"),
            (1999, 2, "Stimulus"),
        )
    ]
    pybv.write_brainvision(
        data=np.random.default_rng(0).normal(0, 2e-5, (3, 2000)),
        sfreq=RATE,
        ch_names=["FP1", "Cz", "ECG"],
        fname_base="rec",
        folder_out=folder,
        events=events,
    )
    return folder / "rec.vhdr"


def assert_arrived(recording: Recording, got: Received, report: PlayReport) -> None:
    """Assert that all arrived: samples bit for bit, stamps k / rate apart, markers in time."""
    rate, n_times = recording.info.sfreq, len(recording.samples)
    assert np.array_equal(got.samples, recording.samples)
    assert np.abs(got.stamps - report.start - np.arange(n_times) / rate).max() < CLOCK
    assert [m.label for m in got.markers] == [m.label for m in recording.markers]
    for played, marker in zip(got.markers, recording.markers, strict=True):
        assert played.stamp == pytest.approx(report.start + marker.stamp, abs=CLOCK)
    assert (report.samples, report.markers) == (n_times, len(recording.markers))
    assert report.complete


@pytest.mark.parametrize(
    "file", ["eegmmidb_S001/S001R03.edf", "xdf/muselsl2_P001.xdf"], ids=["edf", "xdf"]
)
def test_every_sample_of_a_real_recording_arrives(shared: Path, file: str) -> None:
    recording = read_recording(shared / file)
    player = Player(shared / file, speed=100.0)
    got = player.receive(len(recording.samples), len(recording.markers))
    assert_arrived(recording, got, player.join())


@pytest.mark.parametrize("chunk", [1, 7, 5000, None])
def test_every_sample_arrives_in_any_chunks(brainvision: Path, chunk: int | None) -> None:
    player = Player(brainvision, speed=10.0, chunk=chunk)
    got = player.receive(2000, 3)
    assert_arrived(read_recording(brainvision), got, player.join())


@pytest.mark.parametrize("chunk", [1, 7, 1000, 1001])
def test_a_marker_goes_out_before_its_sample(
    brainvision: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[tuple[str, float]] = []

    class Outlet:
        consumed = False

        def __init__(self, *_: object, **__: object) -> None: ...

        def wait_for_consumers(self, _: float) -> bool:
            return True

        def push(self, what: Any, stamp: Any) -> None:
            is_marker = isinstance(what, str)
            log.extend([("marker", stamp)] if is_marker else [("eeg", s) for s in stamp])

        def close(self) -> None: ...

    monkeypatch.setattr("offline.player.EEGOutlet", Outlet)
    monkeypatch.setattr("offline.player.MarkerOutlet", Outlet)
    report = play(brainvision, stream="a", markers="b", speed=100.0, chunk=chunk)
    for sample in (0, 1000, 1999):
        stamp = report.start + sample / RATE
        marker = log.index(("marker", stamp))
        sent = [s for what, s in log[:marker] if what == "eeg"]
        newest = max(sent, default=report.start - 1 / RATE)
        # Not after its sample, and not before the chunk that holds the sample is next.
        assert stamp - chunk / RATE - 1e-9 <= newest < stamp
        assert marker < log.index(("eeg", stamp))


def test_playing_keeps_the_pace(brainvision: Path) -> None:
    player = Player(brainvision, speed=4.0)
    player.receive(2000, 3)
    assert player.join().elapsed == pytest.approx(1.0, abs=0.5)


def test_nothing_is_sent_before_someone_receives(brainvision: Path) -> None:
    player = Player(brainvision, speed=100.0)
    markers = find_markers(player.name + "-markers", timeout=WAIT)
    assert markers.pull() == []
    assert player.thread.is_alive()
    assert "waits for a receiver" in player.said[0]
    assert player.name in player.said[0]
    player.stop.set()
    report = player.join()
    assert (report.samples, report.markers, report.complete) == (0, 0, False)


def test_a_loop_goes_on_in_stamps(brainvision: Path) -> None:
    recording = read_recording(brainvision)
    player = Player(brainvision, speed=20.0, loop=True)
    got = player.receive(4500, 6)
    player.stop.set()
    report = player.join()
    n_times = len(got.samples)
    assert np.array_equal(got.samples, np.resize(recording.samples, (n_times, 3)))
    assert np.abs(got.stamps - report.start - np.arange(n_times) / RATE).max() < CLOCK
    assert got.markers[3].stamp == pytest.approx(report.start + 4.0, abs=CLOCK)
    assert not report.complete


def test_playing_ends_when_the_receiver_has_left(brainvision: Path) -> None:
    player = Player(brainvision, speed=100.0, linger=2 * WAIT)
    player.receive(2000, 3)
    assert player.join().complete  # well before the linger is over


def test_a_receiver_may_lag_by_the_linger(brainvision: Path) -> None:
    player = Player(brainvision, speed=100.0, linger=2 * WAIT)
    stream = find_stream(player.name, timeout=WAIT)
    deadline = time.monotonic() + WAIT
    while len(player.said) < 2:  # all is sent, and not one sample pulled
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert drained(stream) == 2000
    stream.close()
    player.join()


def test_a_receiver_that_stays_sees_the_stream_end(brainvision: Path) -> None:
    player = Player(brainvision, speed=100.0, linger=0.5)
    stream = find_stream(player.name, timeout=WAIT)
    seen = 0
    with pytest.raises(StreamLost):  # noqa: PT012 (which pull raises is open)
        while True:
            chunk = stream.pull(0.1)
            seen += len(chunk.stamps) if chunk else 0
    assert seen == 2000
    player.join()


def drained(stream: LSLStream) -> int:
    count, deadline = 0, time.monotonic() + WAIT
    while count < 2000 and time.monotonic() < deadline:
        chunk = stream.pull(0.1)
        count += len(chunk.stamps) if chunk else 0
    return count


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_playing_cleanly(
    brainvision: Path, lsl_env: dict[str, str], number: signal.Signals
) -> None:
    name = f"EEG-{uuid.uuid4().hex[:8]}"
    code = (
        "import sys; from pathlib import Path; from offline.play import play\n"
        "print(play(Path(sys.argv[1]), stream=sys.argv[2], loop=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(brainvision), name],
        env=lsl_env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        stream = find_stream(name, timeout=WAIT)
        chunk = None
        while chunk is None:
            chunk = stream.pull(0.1)
        process.send_signal(number)
        printed, said = process.communicate(timeout=WAIT)
    assert process.returncode == 0
    assert printed.startswith("interrupted after")
    assert "Traceback" not in said
    assert "waits for a receiver" in said


def test_a_recording_that_cannot_be_read_opens_no_stream(tmp_path: Path) -> None:
    with pytest.raises(RecordingError):
        play(tmp_path / "none.vhdr", stream="never")


@pytest.mark.parametrize("how", [{"speed": 0.0}, {"speed": float("nan")}, {"chunk": 0}])
def test_a_senseless_pace_is_refused(brainvision: Path, how: dict[str, Any]) -> None:
    with pytest.raises(RtfeedbackError, match="speed"):
        play(brainvision, stream="never", **how)


def test_the_same_faults_and_seed_send_the_same(brainvision: Path) -> None:
    faults = [parse_fault("drop:at=1,n=20"), parse_fault("jitter:sd=0.003")]
    sent = []
    for seed in (3, 3, 4):
        player = Player(brainvision, speed=20.0, faults=faults, seed=seed)
        got = player.receive(1980, 3)
        sent.append((got.samples, got.stamps - player.join().start))
    assert np.array_equal(sent[0][0], sent[1][0])
    assert np.abs(sent[0][1] - sent[1][1]).max() < CLOCK
    assert np.abs(sent[0][1] - sent[2][1]).max() > CLOCK


@pytest.mark.parametrize(
    ("arguments", "exits", "told"),
    [
        (("--fault", "dorp"), 2, "There is no fault 'dorp'"),
        (("--fault", "drop:n=x"), 2, "'n' is 'x'"),
        (("--fault", "drop:at=9"), 1, "lasts 4 s"),
        (("--fault", "marker-late:at=1"), 1, "Name them with --markers"),
    ],
)
def test_a_malformed_or_impossible_fault_is_refused_with_what_is_wrong(
    brainvision: Path,
    rtfeedback: Callable[..., tuple[int, str, list[str]]],
    arguments: tuple[str, str],
    exits: int,
    told: str,
) -> None:
    code, out, said = rtfeedback("play", brainvision, "--stream", "never", *arguments)
    assert (code, out) == (exits, "")
    assert told in " ".join(said)
