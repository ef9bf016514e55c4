"""A record that ends before its run did is told from one that was cut."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from rtfeedback.predictor import Predictor
from rtfeedback.replay.archive import Archive
from rtfeedback.replay.replay import replay
from rtfeedback.replay.report import is_same
from rtfeedback.signals import Chunk
from tests.replay.conftest import RunIt
from tests.replay.test_comparison import CommandLine, read, write
from tests.replay.troubled import START, Troubled, clean


@pytest.fixture
def session(tmp_path: Path, finished: Path) -> Path:
    """Return a copy of a good run's folder, to be cut."""
    return Path(shutil.copytree(finished, tmp_path / "run-01"))


def test_what_a_killed_run_computed_beyond_its_last_message_is_no_difference(
    session: Path, rtfeedback: CommandLine
) -> None:
    kill(session, before=0.9)
    code, out, _ = rtfeedback("replay", session, "--device", "cpu")
    assert code == 0
    assert "The record ends before the run did: it was killed, or its disk was full." in out
    assert re.search(r"^[1-9]\d* messages are computed that the record does not", out, re.M)


def test_a_kill_takes_no_more_than_the_last_second_of_messages(
    session: Path, rtfeedback: CommandLine
) -> None:
    kill(session, before=1.3)
    code, out, _ = rtfeedback("replay", session, "--device", "cpu")
    n = len([m for m in Archive(session).messages if m["topic"] == "feedback"])
    assert code == 1
    assert out.startswith(f"{n} of {n} identical\n")
    assert "a kill takes no more than 1 s." in out


def test_events_alone_that_are_missing_are_found_out(
    session: Path, rtfeedback: CommandLine
) -> None:
    kill(session, before=0.5)
    messages = Archive(session).messages
    gone = [m for m in messages if m.get("event") == "volume"][-3:]
    write(session, [m for m in messages if m not in gone])
    code, out, _ = rtfeedback("replay", session, "--device", "cpu")
    assert code == 1
    assert "a kill takes no more than 1 s." in out


@pytest.mark.parametrize("before", [0.0, 0.5, 9.0])
def test_messages_that_were_cut_from_a_whole_recording_are_missed(
    session: Path, rtfeedback: CommandLine, before: float
) -> None:
    cut_messages(session, before)
    code, out, _ = rtfeedback("replay", session, "--device", "cpu")
    assert code == 1
    assert "the messages have none: they were cut." in out


def test_a_kill_while_a_stream_was_lost_is_no_cut(run: RunIt, predictor: Predictor) -> None:
    """The stream that broke off was ended in the recording; the run was not."""
    session = run(Troubled([clean(9), clean(0.2, seed=1, start=START + 12)]), hop=0.25).path
    messages = read(session)
    (lost,) = (m for m in messages if m.get("event") == "lost")
    write(session, messages[: messages.index(lost) + 1])
    (xdf,) = session.glob("*.xdf")
    content = xdf.read_bytes()
    xdf.write_bytes(content[: content.index(b"</sample_count></info>") + 22])
    archive = Archive(session)
    assert not archive.ended
    assert is_same(archive, replay(archive, predictor))
    write(session, messages[: messages.index(lost)])
    assert Archive(session).ended  # nothing tells of a stream that broke off


def kill(session: Path, before: float) -> None:
    """Leave what a kill does: streams without an end, and not the last messages."""
    cut_messages(session, before)
    (xdf,) = session.glob("*.xdf")
    content = xdf.read_bytes()
    xdf.write_bytes(content[: content.index(b"<info><writer>")])


def cut_messages(session: Path, before: float) -> None:
    """Take the messages of the last seconds of EEG away, and half of the one before them."""
    end = max(x.stamps[-1] for x in Archive(session).received() if isinstance(x, Chunk))
    messages = read(session)
    late = [m for m in messages if m["topic"] == "feedback" and m["lsl_time"] > end - before]
    kept = messages[: messages.index(late[0])] if late else messages[:-1]
    write(session, kept)
    with (session / "messages.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"topic":"feedb')


def test_a_run_of_silence_alone_proves_nothing(
    run: RunIt, predictor: Predictor, rtfeedback: CommandLine
) -> None:
    first, then = clean(0.2), clean(0.05, seed=1, start=START + 0.3)
    archive = run(Troubled([first, then]), hop=0.25)
    assert [m["reason"] for m in archive.messages if m["topic"] == "feedback"] == ["stale"]
    assert not is_same(archive, replay(archive, predictor))
    code, out, _ = rtfeedback("replay", archive.path, "--device", "cpu")
    assert code == 1
    assert out.startswith("1 of 1 identical\n0 from EEG, 1 of silence\n")
    assert "no EEG came, and no more: nothing is computed." in out


def test_messages_of_eeg_and_of_silence_are_counted_apart(
    run: RunIt, rtfeedback: CommandLine
) -> None:
    archive = run(Troubled([clean(9), clean(9, seed=1, start=START + 11)]), hop=0.25)
    reasons = [m["reason"] for m in archive.messages if m["topic"] == "feedback"]
    n, silent = len(reasons), reasons.count("stale")
    assert 0 < silent < n
    code, out, _ = rtfeedback("replay", archive.path, "--device", "cpu")
    assert code == 0
    assert out.startswith(f"{n} of {n} identical\n{n - silent} from EEG, {silent} of silence\n")


def test_the_messages_of_a_run_are_all_of_one_run(session: Path) -> None:
    archive = Archive(session)
    assert {(m["session"], m["run"]) for m in archive.messages} == {("sub-01_ses-01", "01")}
    assert archive.closed
