from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtfeedback.online import record_files, recorder, syncing
from rtfeedback.online.recorder import Recorder
from rtfeedback.online.whole_file import WholeFile
from rtfeedback.xdf import (
    Boundary,
    Samples,
    StreamFooter,
    StreamHeader,
    read_chunks,
    whole_length,
)

EEG = (
    "<info><name>Cap</name><type>EEG</type><channel_count>2</channel_count>"
    "<nominal_srate>100</nominal_srate><channel_format>{}</channel_format></info>"
)
FLOAT32 = EEG.format("float32")
MARKERS = (
    "<info><name>Scanner</name><type>Markers</type><channel_count>1</channel_count>"
    "<nominal_srate>0</nominal_srate><channel_format>string</channel_format></info>"
)
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0  # s after which a test has failed
bug = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def eeg(first: int, n: int) -> tuple[Any, Any]:
    """Return stamps and samples that count on from `first`."""
    counted = np.arange(first, first + n)
    return counted / 100, np.stack([counted, -counted], axis=1).astype(np.float32)


def samples_of(path: Path, stream: int = 1) -> list[float]:
    """Return the first channel of a stream."""
    found = [c for c in read_chunks(path) if isinstance(c, Samples) and c.stream == stream]
    return [value for chunk in found for value in chunk.values[:, 0].tolist()]


def lines(path: Path) -> list[str]:
    """Return the lines of a text file that are whole."""
    return path.read_text().split("\n")[:-1]


class Blocked:
    """A disk on which `os.write`, or `os.fsync`, hangs until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: str = "write") -> None:
        act, self._go, self._hangs = getattr(os, call), threading.Event(), threading.Event()

        def hang(*arguments: Any) -> Any:
            self._hangs.set()
            assert self._go.wait(PATIENCE)
            return act(*arguments)

        monkeypatch.setattr(os, call, hang)

    def hangs(self) -> None:
        """Wait until it does."""
        assert self._hangs.wait(PATIENCE)

    def release(self) -> None:
        self._go.set()


class Clock:
    """Time that goes by when it is told to."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the time of a recorder that is made after this."""
    one = Clock()
    monkeypatch.setattr(recorder, "time", one)
    monkeypatch.setattr(syncing, "time", one)
    return one


def failing(code: int) -> Callable[..., Any]:
    """Return a call of the system that fails."""

    def fail(*_: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


def ended(record: Recorder) -> bool:
    """Wait until its threads have ended, and return whether they have."""
    threads = record._thread, record._syncing._thread
    for thread in threads:
        thread.join(PATIENCE)
    return not any(thread.is_alive() for thread in threads)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Recorder]:
    one = Recorder(tmp_path, "run")
    yield one
    one.close()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Sync at once, and return what waits until that was done with all that was written."""
    done = threading.Event()
    sync = WholeFile.sync

    def told(file: WholeFile) -> None:
        sync(file)
        if Path(file._file.name).name == "run.log":  # the last of them
            done.set()

    monkeypatch.setattr(syncing, "SYNC", 0.0)
    monkeypatch.setattr(WholeFile, "sync", told)

    def wait() -> None:
        assert done.wait(PATIENCE)
        done.clear()

    return wait


# ------------------------------------------------------------------ what is recorded


def test_what_was_put_is_in_the_files_and_pyxdf_reads_it(
    record: Recorder, tmp_path: Path
) -> None:
    pyxdf = pytest.importorskip("pyxdf")
    cap, scanner = record.stream(FLOAT32), record.stream(MARKERS)
    assert (cap, scanner) == (1, 2)
    for first, n in ((0, 1), (1, 7), (8, 0), (8, 32)):
        record.samples(cap, *eeg(first, n))
        record.markers(scanner, [first / 100, first / 100], ["R128", "Größe"])
        record.line("messages", json.dumps({"sample": first + n}))
        record.line("log", "µ")
        record.flush()
    record.close()
    assert record.lost == ""
    streams, _ = pyxdf.load_xdf(
        tmp_path / "run.xdf", synchronize_clocks=False, dejitter_timestamps=False
    )
    times, values = eeg(0, 40)
    assert np.array_equal(streams[0]["time_series"], values)
    assert np.array_equal(streams[0]["time_stamps"], times)
    assert streams[0]["footer"]["info"]["sample_count"] == ["40"]
    assert streams[0]["footer"]["info"]["last_timestamp"] == [repr(0.39)]
    assert streams[1]["time_series"] == 4 * [["R128"], ["Größe"]]
    assert [json.loads(line)["sample"] for line in lines(tmp_path / "messages.jsonl")] == [
        *(1, 8, 8, 40)
    ]
    assert lines(tmp_path / "run.log") == 4 * ["µ"]


def test_chunks_lie_in_the_file_in_the_order_in_which_they_were_put(
    record: Recorder, tmp_path: Path
) -> None:
    first = record.stream(FLOAT32)
    record.samples(first, *eeg(0, 3))
    scanner = record.stream(MARKERS)
    record.markers(scanner, [0.0], ["a"])
    record.samples(first, *eeg(3, 4))
    record.end_stream(first)
    again = record.stream(FLOAT32)
    record.markers(scanner, [0.1], ["b"])
    record.samples(again, *eeg(7, 5))
    record.close()
    found = [
        (type(chunk), chunk.stream)
        for chunk in read_chunks(tmp_path / "run.xdf")
        if isinstance(chunk, Samples | StreamHeader | StreamFooter)
    ]
    assert found == [
        *((StreamHeader, 1), (Samples, 1), (StreamHeader, 2), (Samples, 2), (Samples, 1)),
        *((StreamFooter, 1), (StreamHeader, 3), (Samples, 2), (Samples, 3)),
        *((StreamFooter, 2), (StreamFooter, 3)),
    ]


@pytest.mark.parametrize("stated", ["int16", "int32", "double64"])
def test_samples_are_kept_in_the_format_of_the_wire(
    record: Recorder, tmp_path: Path, stated: str
) -> None:
    stream = record.stream(EEG.format(stated))
    wire = np.array([[1, 2], [30000, -30000]], np.int16)
    record.samples(stream, np.array([0.0, 0.1]), wire)
    record.close()
    (chunk,) = (c for c in read_chunks(tmp_path / "run.xdf") if isinstance(c, Samples))
    assert chunk.values.tolist() == wire.tolist()
    assert chunk.values.dtype.name == stated.replace("double64", "float64")


def test_numbers_sent_as_markers_are_recorded_as_received(
    record: Recorder, tmp_path: Path
) -> None:
    stated = MARKERS.replace("string", "int32").replace("count>1", "count>3")
    record.markers(record.stream(stated), [0.5], [(1234567, 0, -1)])
    record.close()
    assert record.lost == ""
    (chunk,) = (c for c in read_chunks(tmp_path / "run.xdf") if isinstance(c, Samples))
    assert chunk.values.tolist() == [[1234567, 0, -1]]


@pytest.mark.parametrize("label", ["\udc80\udfff", "\0", "a\nb", "\U0001f600", "x" * 70000])
def test_no_label_name_or_line_ends_the_recording(
    record: Recorder, tmp_path: Path, label: str
) -> None:
    stream = record.stream(MARKERS.replace("Scanner", label))
    record.markers(stream, [0.0, 0.1], [label, "R128"])
    record.line("log", label)
    record.close()
    assert record.lost == ""
    path = tmp_path / "run.xdf"
    assert whole_length(path) == path.stat().st_size
    (chunk,) = (c for c in read_chunks(path) if isinstance(c, Samples))
    assert chunk.values[1, 0] == "R128"
    assert chunk.values[0, 0] == label.encode("utf-8", "backslashreplace").decode()


def test_what_was_handed_over_is_on_the_disk_while_the_run_goes_on(
    tmp_path: Path, synced: Callable[[], None]
) -> None:
    record = Recorder(tmp_path, "run")
    synced()  # the file's header
    stream = record.stream(FLOAT32)
    for step in range(3):
        record.samples(stream, *eeg(10 * step, 10))
        record.line("messages", str(step))
        record.flush()
        synced()
        assert samples_of(tmp_path / "run.xdf") == list(range(10 * step + 10))
        assert lines(tmp_path / "messages.jsonl") == [str(n) for n in range(step + 1)]
    assert not any(file.unsynced for file in record._disk.files)
    assert not record._syncing._written.is_set()  # nothing is left to wake up for
    record.close()


@pytest.mark.parametrize(("every", "marks"), [(0.0, 3), (1e9, 0)])
def test_boundaries_are_written_as_time_goes_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: float, marks: int
) -> None:
    monkeypatch.setattr(record_files, "BOUNDARY", every)
    record = Recorder(tmp_path, "run")
    stream = record.stream(FLOAT32)
    for step in range(2):
        record.samples(stream, *eeg(step, 1))
        record.flush()
        record.line("log", "no boundary is needed for a line")
        record.flush()
    record.close()  # the third: the footer's
    kinds = [type(chunk) for chunk in read_chunks(tmp_path / "run.xdf")]
    assert kinds.count(Boundary) == marks


def test_a_recording_that_is_there_already_is_kept(tmp_path: Path) -> None:
    for name in ("run.xdf", "messages.jsonl", "run.log"):
        there = tmp_path / name / name
        there.parent.mkdir()
        there.write_text("kept")
        with pytest.raises(FileExistsError):
            Recorder(there.parent, "run")
        assert there.read_text() == "kept"


def test_a_closed_recorder_can_be_closed_again(record: Recorder, tmp_path: Path) -> None:
    record.close()
    record.line("log", "too late")
    record.close()
    assert record.lost == ""
    assert lines(tmp_path / "run.log") == []


# ------------------------------------------------------------------ a disk that hangs


def test_a_disk_that_hangs_never_blocks_a_run(
    record: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Blocked(monkeypatch)
    stream = record.stream(FLOAT32)
    for step in range(50):  # a run that waited would never come to the end of this
        record.samples(stream, *eeg(step, 1))
        record.line("messages", str(step))
        record.flush()
    assert lines(tmp_path / "messages.jsonl") == []
    disk.release()
    record.close()
    assert record.lost == ""
    assert samples_of(tmp_path / "run.xdf") == list(range(50))
    assert lines(tmp_path / "messages.jsonl") == [str(step) for step in range(50)]


def test_closing_does_not_wait_for_a_disk_for_ever(
    record: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "CLOSING", 0.01)
    disk = Blocked(monkeypatch)
    record.stream(FLOAT32)
    record.close()
    assert "did not take the rest" in record.lost
    disk.release()
    assert ended(record)


def test_more_than_may_wait_is_lost_and_what_was_taken_is_a_whole_beginning(
    record: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "WAITING", 100_000)
    disk = Blocked(monkeypatch)
    stream = record.stream(FLOAT32)
    taken = 0
    for step in range(1000):
        record.samples(stream, *eeg(step, 1))
        record.line("messages", str(step))
        record.flush()
        taken += not record.lost
    assert 100 < taken < 400  # of some 500 bytes each
    assert "too slow" in record.lost
    assert record._given - record._taken <= 100_000
    disk.release()
    record.close()
    assert samples_of(tmp_path / "run.xdf") == list(range(taken))
    assert lines(tmp_path / "messages.jsonl") == [str(n) for n in range(taken)]


def test_how_far_behind_it_is_is_the_age_of_the_oldest_that_waits(
    clock: Clock,
    synced: Callable[[], None],
    record: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synced()
    assert record.behind == 0
    disk = Blocked(monkeypatch)
    for _ in range(3):
        record.line("log", "a line")
        record.flush()
        clock.now += 2
    assert record.behind == 6
    disk.release()
    synced()
    while record._since:  # a sync may come between the batches
        synced()
    assert record._thread.is_alive()
    assert record.behind == 0


def test_recording_is_lost_once_a_write_hangs_for_long_though_nothing_more_comes(
    clock: Clock, record: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Blocked(monkeypatch)
    record.line("messages", "before")
    record.flush()
    clock.now += 30
    assert record.lost == ""
    record.line("messages", "meanwhile")
    record.flush()
    clock.now += 1
    assert record.lost == "the disk has taken nothing for 30 s"
    disk.release()
    record.line("messages", "after")
    record.close()
    assert record.lost == "the disk has taken nothing for 30 s"
    assert lines(tmp_path / "messages.jsonl") == ["before", "meanwhile"]


def test_what_comes_after_a_hang_was_too_long_does_not_wait_for_the_disk(
    clock: Clock, record: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Blocked(monkeypatch)
    record.line("messages", "before")
    record.flush()
    clock.now += 31
    record.line("messages", "after")
    record.flush()  # nobody has read `lost` until then
    disk.release()
    record.close()
    assert lines(tmp_path / "messages.jsonl") == ["before"]


def test_writing_goes_on_while_a_sync_hangs_until_that_is_for_long(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Blocked(monkeypatch, "fsync")
    written, wake = threading.Event(), syncing.Syncing.wake

    def told(one: syncing.Syncing) -> None:
        wake(one)
        written.set()

    monkeypatch.setattr(syncing.Syncing, "wake", told)
    record = Recorder(tmp_path, "run")
    disk.hangs()
    stream = record.stream(FLOAT32)
    for step in range(6):
        record.samples(stream, *eeg(10 * step, 10))
        record.line("messages", str(step))
        record.flush()
        assert written.wait(PATIENCE)
        written.clear()
        assert record.behind == 5 * step
        clock.now += 5
        # A kill would find in the files all that was handed over.
        assert samples_of(tmp_path / "run.xdf") == list(range(10 * step + 10))
        assert lines(tmp_path / "messages.jsonl") == [str(n) for n in range(step + 1)]
    assert record.lost == ""
    clock.now += 1
    assert record.lost == "the disk has taken nothing for 30 s"
    disk.release()
    record.close()
    assert ended(record)
    assert record.behind == 0


def test_closing_does_not_wait_for_a_sync_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "CLOSING", 0.01)
    disk = Blocked(monkeypatch, "fsync")
    record = Recorder(tmp_path, "run")
    record.close()
    assert "did not take the rest" in record.lost
    disk.release()
    assert ended(record)


def test_no_thread_and_no_file_outlives_closing(record: Recorder) -> None:
    feed(record, 3)
    record.close()
    assert not record._thread.is_alive()
    assert not record._syncing._thread.is_alive()
    assert all(file._file.closed for file in record._disk.files)


# ------------------------------------------------------------------ a disk that fails


def check_whole(folder: Path) -> int:
    """Check that files hold whole pieces, and no message before its EEG; count messages."""
    path = folder / "run.xdf"
    assert whole_length(path) == path.stat().st_size
    got = samples_of(path)
    assert got == list(range(len(got)))
    text = (folder / "messages.jsonl").read_text()
    assert text.endswith("\n") or not text
    told = [json.loads(line)["sample"] for line in lines(folder / "messages.jsonl")]
    assert max(told, default=0) <= len(got)
    return len(told)


def feed(record: Recorder, steps: int, *, chunk: int = 25) -> int:
    """Record EEG and a message of each chunk, until it is lost; return what was put."""
    stream = record.stream(FLOAT32)
    for step in range(steps):
        record.samples(stream, *eeg(step * chunk, chunk))
        record.line("messages", json.dumps({"sample": (step + 1) * chunk}))
        record.flush()
        if record.lost:
            return step
    return steps


def test_a_full_disk_leaves_whole_files_and_says_so(tiny_disk: Path) -> None:
    record = Recorder(tiny_disk, "run")
    feed(record, 5000)
    record.close()
    assert record.lost == os.strerror(28)
    assert check_whole(tiny_disk) > 100
    # It stays lost where there is room again.
    size = (tiny_disk / "run.xdf").stat().st_size
    (tiny_disk / "run.log").unlink()
    feed(record, 1)
    assert (tiny_disk / "run.xdf").stat().st_size == size


LIMITED = """
import resource, sys
from pathlib import Path
from rtfeedback.online.recorder import Recorder
from tests.online.test_recorder import feed
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
record = Recorder(Path(sys.argv[1]), "run")
feed(record, 5000)
record.close()
print(record.lost)
"""
ENDLESS = """
import sys
from itertools import count
from pathlib import Path
from rtfeedback.online.recorder import Recorder
from tests.online.test_recorder import FLOAT32, eeg
import json
record = Recorder(Path(sys.argv[1]), "run")
stream = record.stream(FLOAT32)
for step in count():
    record.samples(stream, *eeg(step * 25, 25))
    record.line("messages", json.dumps({"sample": (step + 1) * 25}))
    record.flush()
    print(step, flush=True)
"""


def program(source: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", source, *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def test_a_file_that_may_not_grow_is_left_whole_wherever_that_falls(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    limits = [random.Random(seed).randrange(5_000, 50_000) for seed in range(3)]
    folders = [tmp_path / str(limit) for limit in limits]
    for folder in folders:
        folder.mkdir()
    runs = [program(LIMITED, f, n) for f, n in zip(folders, limits, strict=True)]
    for run, folder, limit in zip(runs, folders, limits, strict=True):
        assert run.communicate(timeout=PATIENCE)[0] == "File too large\n"
        assert run.returncode == 0
        assert check_whole(folder) > 10
        assert (folder / "run.xdf").stat().st_size <= limit


def small(room: int) -> Callable[[int, memoryview], int]:
    """Return the `os.write` of a disk that takes so many bytes, 3 at a time."""
    write, left = os.write, room

    def some(file: int, raw: memoryview) -> int:
        nonlocal left
        if not left:
            raise OSError(28, os.strerror(28))
        n = write(file, raw[: min(left, 3)])
        left -= n
        return n

    return some


@pytest.mark.parametrize("room", range(16))
def test_of_what_does_not_fit_the_whole_pieces_that_do_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    file = WholeFile(tmp_path / "a")
    file.pieces.append(b"there;")
    file.write()
    monkeypatch.setattr(os, "write", small(room))
    file.pieces += [b"1234;", b"6789;", b"ABCD;"]
    if room < 15:
        with pytest.raises(OSError, match="No space"):
            file.write()
    else:
        file.write()
    file.close()
    assert (tmp_path / "a").read_bytes() == b"there;" + b"1234;6789;ABCD;"[: room // 5 * 5]


def test_a_file_that_cannot_be_closed_says_so(tmp_path: Path) -> None:
    file = WholeFile(tmp_path / "a")
    os.close(file._file.fileno())
    with pytest.raises(OSError, match=os.strerror(9)):
        file.close()


def test_nothing_follows_what_could_not_be_written(
    record: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, go = WholeFile.write, threading.Event()

    def fail_once(file: WholeFile) -> None:
        assert go.wait(PATIENCE)
        monkeypatch.setattr(WholeFile, "write", write)
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(WholeFile, "write", fail_once)
    feed(record, 3)  # all of it waits before the first of it fails
    go.set()
    record.close()
    assert record.lost == os.strerror(28)
    assert check_whole(tmp_path) == 0
    assert list(read_chunks(tmp_path / "run.xdf"))[1:] == []


def test_a_disk_that_fails_to_sync_is_lost_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "SYNC", 0.0)
    disk = Blocked(monkeypatch, "fsync")
    record = Recorder(tmp_path, "run")
    disk.hangs()  # the folder
    feed(record, 3)
    monkeypatch.setattr(os, "fsync", failing(5))
    disk.release()
    record._syncing._thread.join(PATIENCE)
    assert record.lost == os.strerror(5)  # while the run goes on, and nothing more comes
    record.close()
    check_whole(tmp_path)


def test_what_fails_at_the_very_end_is_told(
    tmp_path: Path, synced: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorder(tmp_path, "run")
    feed(record, 1)
    record.flush()
    while not lines(tmp_path / "messages.jsonl"):
        synced()
    monkeypatch.setattr(os, "write", failing(28))  # for the footers
    assert record.lost == ""
    record.close()
    assert record.lost == os.strerror(28)
    assert ended(record)
    assert check_whole(tmp_path) == 1


def test_a_last_sync_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "SYNC", 1e6)
    monkeypatch.setattr(WholeFile, "sync", failing(5))
    record = Recorder(tmp_path, "run")
    feed(record, 3)
    assert record.lost == ""
    record.close()
    assert record.lost == os.strerror(5)
    assert check_whole(tmp_path) == 3


def test_a_file_that_fails_only_when_it_is_closed_is_told_and_the_others_are_closed(
    record: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = WholeFile.close

    def fail(file: WholeFile) -> None:
        close(file)
        raise OSError(122, os.strerror(122))

    monkeypatch.setattr(WholeFile, "close", fail)
    feed(record, 3)
    record.close()
    assert record.lost == os.strerror(122)
    assert all(file._file.closed for file in record._disk.files)
    assert check_whole(tmp_path) == 3


@bug
@pytest.mark.parametrize(
    "values",
    [
        np.array([[1.1, 2.2]]),  # float64, which float32 does not hold
        np.ones((1, 3), np.float32),  # another number of channels
    ],
)
def test_what_cannot_be_recorded_truly_is_not_recorded(
    record: Recorder, tmp_path: Path, values: Any
) -> None:
    stream = record.stream(FLOAT32)
    record.samples(stream, *eeg(0, 5))
    record.flush()
    record.samples(stream, np.array([0.05]), values)
    record.line("messages", json.dumps({"sample": 6}))
    record.close()
    assert record.lost
    assert check_whole(tmp_path) == 0
    assert samples_of(tmp_path / "run.xdf") == list(range(5))


# ------------------------------------------------------------------ kills


def test_a_run_that_is_killed_leaves_no_message_without_its_eeg(tmp_path: Path) -> None:
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        run = program(ENDLESS, folder)
        assert run.stdout is not None
        for _ in range(random.Random(seed).randrange(200, 2000)):
            run.stdout.readline()
        run.send_signal(signal.SIGKILL)
        run.communicate(timeout=PATIENCE)
        path = folder / "run.xdf"
        with path.open("r+b") as file:
            file.truncate(whole_length(path))  # as its readers do
        with (folder / "messages.jsonl").open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
        assert check_whole(folder) > 0
