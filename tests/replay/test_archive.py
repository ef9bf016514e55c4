"""A folder that cannot be replayed is refused in a paragraph that says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rtfeedback.naming import name_channels
from rtfeedback.online.description import compose, parse
from rtfeedback.replay.archive import Archive, Opened
from rtfeedback.signals import Chunk, Marker, StreamInfo
from tests.lab import CHANNELS, RATE, stream_info

CommandLine = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def session(tmp_path: Path, finished: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run-01"))


def no_run(session: Path) -> str:
    shutil.rmtree(session)
    session.mkdir()
    return "run.json"


def no_folder(session: Path) -> str:
    shutil.rmtree(session)
    return "run.json"


def no_xdf(session: Path) -> str:
    next(session.glob("*.xdf")).unlink()
    return "0 XDF files"


def two_xdf(session: Path) -> str:
    shutil.copy(next(session.glob("*.xdf")), session / "other.xdf")
    return "2 XDF files"


def no_messages(session: Path) -> str:
    (session / "messages.jsonl").unlink()
    return "messages.jsonl"


def no_checkpoint(session: Path) -> str:
    shutil.rmtree(session / "checkpoint")
    return "checkpoint"


def settings_cut(session: Path) -> str:
    text = (session / "run.json").read_text(encoding="utf-8")
    (session / "run.json").write_text(text[: len(text) // 2], encoding="utf-8")
    return "run.json"


def settings_binary(session: Path) -> str:
    (session / "run.json").write_bytes(b"\xff\xfe\x00")
    return "run.json"


def settings_without_options(session: Path) -> str:
    locked = json.loads((session / "run.json").read_text(encoding="utf-8"))
    del locked["options"]["run"]
    (session / "run.json").write_text(json.dumps(locked), encoding="utf-8")
    return "run.json"


def settings_of_another_kind(session: Path) -> str:
    locked = json.loads((session / "run.json").read_text(encoding="utf-8"))
    locked["options"]["run"]["hop"] = "often"
    (session / "run.json").write_text(json.dumps(locked), encoding="utf-8")
    return "run.json"


def a_line_cut(session: Path) -> str:
    lines = (session / "messages.jsonl").read_text(encoding="utf-8").splitlines()
    lines[5] = lines[5][:40]
    (session / "messages.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "messages.jsonl"


def a_line_of_another_kind(session: Path) -> str:
    with (session / "messages.jsonl").open("a", encoding="utf-8") as file:
        file.write("[1, 2]\n")
    return "messages.jsonl"


def a_message_without_a_verdict(session: Path) -> str:
    with (session / "messages.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"topic":"feedback","seq":1}\n')
    return "messages.jsonl"


def a_value_that_is_a_word(session: Path) -> str:
    text = (session / "messages.jsonl").read_text(encoding="utf-8")
    (session / "messages.jsonl").write_text(
        text.replace('"value":null', '"value":"high"', 1), encoding="utf-8"
    )
    return "messages.jsonl"


def xdf_of_something_else(session: Path) -> str:
    next(session.glob("*.xdf")).write_bytes(b"RIFF" + bytes(1000))
    return "is not an XDF file"


def xdf_damaged(session: Path) -> str:
    xdf = next(session.glob("*.xdf"))
    content = bytearray(xdf.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = b"\x07" * 400
    xdf.write_bytes(content)
    return "damaged"


DAMAGES: tuple[Callable[[Path], str], ...] = (
    *(no_run, no_folder, no_xdf, two_xdf, no_messages, no_checkpoint, settings_cut),
    *(settings_binary, settings_without_options, settings_of_another_kind, a_line_cut),
    *(a_line_of_another_kind, a_message_without_a_verdict, a_value_that_is_a_word),
    *(xdf_of_something_else, xdf_damaged),
)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_cannot_be_replayed_is_refused_in_one_paragraph(
    session: Path, rtfeedback: CommandLine, damage: Callable[[Path], str]
) -> None:
    named = damage(session)
    code, out, err = rtfeedback("replay", session, "--device", "cpu")
    assert code == 1
    assert out == ""
    (paragraph,) = err
    assert named in paragraph
    assert paragraph.endswith(".")


def test_what_was_received_comes_in_the_order_in_which_it_was_used(finished: Path) -> None:
    """A marker is taken before the chunk that holds its sample, as it was by the run."""
    received = list(Archive(finished).received())
    assert isinstance(received[0], Opened)
    assert received[0].info.channels == CHANNELS
    reached = 0.0
    for each in received[1:]:
        if isinstance(each, Marker):
            assert each.stamp > reached
        elif isinstance(each, Chunk):
            reached = float(each.stamps[-1])
    assert sum(len(each.stamps) for each in received if isinstance(each, Chunk)) == 16 * RATE


INFOS = (
    stream_info(),
    StreamInfo("é ü", 512.5, ("Fp1", "EOG1"), ("eeg", "eog"), ("", "V"), "Cz", "id-7"),
    StreamInfo("a <b> & c", 1e4 / 3, ("EEG 1", "ECG", "Status"), ("eeg", "ecg", "misc"),
               ("uV", "mV", ""), "average"),
    StreamInfo("rec", 160.0, ("Cz", "T7-P7"), ("eeg", "eeg"), ("microvolts", "µV")),
)  # fmt: skip


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_a_stream_without_a_description_of_its_own_reads_back_as_it_was(
    info: StreamInfo,
) -> None:
    assert parse(compose(info))[0] == info


@pytest.mark.parametrize("labels", [
    ("EEG Fp1-REF", "EEG C3-REF", "EEG Cz-REF", "EOG"), ("Fp1-A1", "C3-A2", "EKG"),
    ("FP1..", "C3..", "Cz.."), ("E1", "E2", "VREF"), ("Fp1-F3", "C3-P3"), ("T3", "T4", "A1"),
    ("Fp1-REF-A1", "C3-REF-A1"), ("EEG EEG Cz", "EEG EEG C3"),
])  # fmt: skip
def test_names_that_were_given_are_given_again(labels: tuple[str, ...]) -> None:
    """A source without a description records the names that its channels were given."""
    names = name_channels(labels)
    info = StreamInfo("rec", RATE, names.channels, names.kinds, ("uV",) * len(labels),
                      names.reference)  # fmt: skip
    assert parse(compose(info))[0] == info
