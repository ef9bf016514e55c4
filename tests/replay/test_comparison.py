"""A record that was altered is found out, and what differs is named."""

from __future__ import annotations

import json
import math
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtfeedback.checkpoint import load_checkpoint, save_checkpoint
from rtfeedback.predictor import Predictor
from rtfeedback.replay.archive import Archive
from rtfeedback.replay.comparison import Comparison
from rtfeedback.replay.replay import replay
from rtfeedback.replay.report import is_same
from rtfeedback.xdf import Samples, read_chunks

Message = dict[str, Any]
Messages = list[Message]
CommandLine = Callable[..., tuple[int, str, list[str]]]
SHIFT = 1e-5  # of z: less than another machine's arithmetic is allowed


@pytest.fixture
def session(tmp_path: Path, finished: Path) -> Path:
    """Return a copy of a good run's folder, to be altered."""
    return Path(shutil.copytree(finished, tmp_path / "run-01"))


def read(session: Path) -> Messages:
    lines = (session / "messages.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def write(session: Path, messages: Messages) -> None:
    text = "".join(json.dumps(message) + "\n" for message in messages)
    (session / "messages.jsonl").write_text(text, encoding="utf-8")


def valid(messages: Messages) -> Message:
    """Return one of the messages that hold a value."""
    return [m for m in messages if m.get("valid")][7]


def event(messages: Messages) -> Message:
    return [m for m in messages if m.get("event") == "volume"][5]


def test_a_run_of_which_nothing_is_wrong_is_identical(
    session: Path, rtfeedback: CommandLine
) -> None:
    code, out, err = rtfeedback("replay", session, "--device", "cpu")
    n = len([m for m in read(session) if m["topic"] == "feedback"])
    n_events = len([m for m in read(session) if m["topic"] == "event"])
    assert (code, err) == (0, [])
    assert out.splitlines() == [
        f"{n} of {n} identical",
        f"{n} from EEG, 0 of silence",
        f"events: {n_events} of {n_events} identical",
    ]


# --- what is altered ------------------------------------------------------------------


def alter_value(messages: Messages) -> str:
    message = valid(messages)
    message["value"] += SHIFT
    return f"seq {message['seq']}: value"


def alter_z(messages: Messages) -> str:
    message = valid(messages)
    message["rois"]["visual"]["z"] = float(np.nextafter(message["rois"]["visual"]["z"], 9.0))
    return f"seq {message['seq']}: rois"


def alter_raw(messages: Messages) -> str:
    message = valid(messages)
    message["rois"]["motor"]["raw"] += SHIFT
    return f"seq {message['seq']}: rois"


def alter_verdict(messages: Messages) -> str:
    message = [m for m in messages if m.get("reason") == "warming_up"][3]
    message["reason"] = "gap"
    return f"seq {message['seq']}: reason was published as gap, and is computed as warming_up"


def alter_validity(messages: Messages) -> str:
    message = valid(messages)
    message["valid"] = False
    return f"seq {message['seq']}: valid was published as False, and is computed as True"


def alter_sample(messages: Messages) -> str:
    message = valid(messages)
    message["sample"] += 1
    return f"seq {message['seq']}: sample"


def alter_flags(messages: Messages) -> str:
    message = valid(messages)
    message["flags"] = []
    return f"seq {message['seq']}: flags"


def withhold_value(messages: Messages) -> str:
    message = valid(messages)
    message["rois"]["motor"] = {"raw": None, "z": None, "sd": None}
    return f"seq {message['seq']}: rois"


def alter_event(messages: Messages) -> str:
    message = event(messages)
    message["onset"] += 1e-9
    return ": onset was published as"


def rename_event(messages: Messages) -> str:
    event(messages)["event"] = "inserted"
    return ": event was published as inserted, and is computed as volume"


def drop_message(messages: Messages) -> str:
    message = valid(messages)
    messages.remove(message)
    return f"seq was published as {message['seq'] + 1}, and is computed as {message['seq']}"


def drop_last_message(messages: Messages) -> str:
    messages.remove([m for m in messages if m["topic"] == "feedback"][-1])
    return "1 messages are computed that the record does not hold."


def drop_event(messages: Messages) -> str:
    messages.remove(event(messages))
    return "event 6: "


def add_message(messages: Messages) -> str:
    at = messages.index(valid(messages))
    messages.insert(at, dict(messages[at]))
    return "1 messages were published that are not computed."


def add_silence(messages: Messages) -> str:
    message = valid(messages)
    rois = {name: dict.fromkeys(("raw", "z", "sd")) for name in message["rois"]}
    stale = message | {"reason": "stale", "valid": False, "value": None, "rois": rois}
    messages.insert(messages.index(message), stale)
    return f"seq {message['seq']}: "


def add_event(messages: Messages) -> str:
    messages.insert(-1, dict(event(messages)))
    return "1 messages were published that are not computed."


def swap_messages(messages: Messages) -> str:
    at = messages.index(valid(messages))
    one, other = (i for i in range(at, len(messages)) if "seq" in messages[i] and i < at + 9)
    messages[one], messages[other] = messages[other], messages[one]
    return "seq was published as"


def delay_event(messages: Messages) -> str:
    """Tell a volume only after the windows that it bears on."""
    message = event(messages)
    messages.remove(message)
    messages.insert(-1, message)
    return ": windows was published as"


def make_late(messages: Messages) -> str:
    message = valid(messages)
    message["age_ms"] = 1e6
    return f"seq {message['seq']}: reason was published as ok, and is computed as late"


def make_timely(messages: Messages) -> str:
    """State a value for a window that was late."""
    message = valid(messages)
    message["reason"], message["valid"] = "late", False
    return f"seq {message['seq']}: reason was published as late, and is computed as ok"


ALTERATIONS: tuple[Callable[[Messages], str], ...] = (
    *(alter_value, alter_z, alter_raw, alter_verdict, alter_validity, alter_sample),
    *(alter_flags, withhold_value, alter_event, rename_event, drop_message),
    *(drop_last_message, drop_event, add_message, add_silence, add_event),
    *(delay_event, make_late, make_timely),
)


@pytest.mark.parametrize("alter", ALTERATIONS, ids=lambda alter: alter.__name__)
def test_a_message_that_was_altered_is_found_out_and_named(
    session: Path, rtfeedback: CommandLine, alter: Callable[[Messages], str]
) -> None:
    messages = read(session)
    named = alter(messages)
    write(session, messages)
    code, out, _ = rtfeedback("replay", session, "--device", "cpu")
    assert code == 1
    assert named in out


def test_a_run_without_a_feedback_message_is_not_identical(
    session: Path, rtfeedback: CommandLine
) -> None:
    write(session, [m for m in read(session) if m["topic"] != "feedback"])
    code, out, _ = rtfeedback("replay", session)
    assert code == 1
    assert "The run published no feedback message." in out


@pytest.mark.parametrize("bit", [7, 6, 0], ids=["sign", "exponent", "the exponent's last"])
def test_one_bit_of_one_sample_is_found_out(
    session: Path, rtfeedback: CommandLine, bit: int
) -> None:
    (xdf,) = session.glob("*.xdf")
    chunks = [c for c in read_chunks(xdf) if isinstance(c, Samples) and c.values.shape[1] > 1]
    content = bytearray(xdf.read_bytes())
    # A sample is a byte, its stamp, and its values; the last byte has sign and exponent.
    at = content.index(struct.pack("<d", chunks[-3].stamps[0])) + 8 + 3
    content[at] ^= 1 << bit
    xdf.write_bytes(content)
    code, out, _ = rtfeedback("replay", session, "--device", "cpu")
    assert code == 1
    assert "rois was published as" in out or "are not computed" in out


def test_a_stamp_that_was_altered_is_found_out(session: Path, rtfeedback: CommandLine) -> None:
    (xdf,) = session.glob("*.xdf")
    stamp = valid(read(session))["lsl_time"]
    content = xdf.read_bytes()
    assert content.count(struct.pack("<d", stamp)) == 1
    xdf.write_bytes(content.replace(struct.pack("<d", stamp), struct.pack("<d", stamp + 1e-6)))
    code, out, _ = rtfeedback("replay", session, "--device", "cpu")
    assert code == 1
    assert "lsl_time was published as" in out


def test_eeg_that_was_cut_off_is_found_out(session: Path, rtfeedback: CommandLine) -> None:
    (xdf,) = session.glob("*.xdf")
    content = xdf.read_bytes()
    xdf.write_bytes(content[: 3 * len(content) // 4])
    code, out, _ = rtfeedback("replay", session, "--device", "cpu")
    assert code == 1
    assert "messages were published that are not computed." in out


def test_another_checkpoint_is_found_out(session: Path, rtfeedback: CommandLine) -> None:
    checkpoint = load_checkpoint(session / "checkpoint")
    spec, model = checkpoint.spec, checkpoint.model
    next(iter(model.parameters())).data.mul_(1.0 + 1e-6)
    shutil.rmtree(session / "checkpoint")
    save_checkpoint(session / "checkpoint", spec, model)
    code, out, _ = rtfeedback("replay", session, "--device", "cpu")
    assert code == 1
    assert f"checkpoint was published as {checkpoint.hash}" in out


def test_no_more_than_some_differences_are_printed(
    session: Path, rtfeedback: CommandLine
) -> None:
    messages = read(session)
    for message in messages:
        if message["topic"] == "feedback":
            message["sample"] += 1
    write(session, messages)
    _, out, _ = rtfeedback("replay", session, "--device", "cpu")
    n = len([m for m in messages if m["topic"] == "feedback"])
    assert out.count("sample was published") == 10
    assert out.splitlines()[-1] == f"and {n - 10} more differences"


# --- another machine ------------------------------------------------------------------


@pytest.mark.parametrize("alter", [alter_value, alter_z, alter_raw])
def test_within_a_tolerance_numbers_may_differ_but_are_not_called_identical(
    session: Path, rtfeedback: CommandLine, alter: Callable[[Messages], str]
) -> None:
    messages = read(session)
    alter(messages)
    write(session, messages)
    code, out, _ = rtfeedback("replay", session, "--device", "cpu", "--tolerance", 1e-3)
    n = len([m for m in messages if m["topic"] == "feedback"])
    assert code == 0
    assert out.splitlines()[0] == f"{n - 1} of {n} identical"
    assert f"{n} of {n} within 0.001 of z" in out


@pytest.mark.parametrize("which", ["value", "z", "raw"])
def test_beyond_the_tolerance_no_number_may_differ(
    session: Path, rtfeedback: CommandLine, which: str
) -> None:
    messages = read(session)
    message = valid(messages)
    where = message if which == "value" else message["rois"]["visual"]
    where[which] += 0.01
    write(session, messages)
    code, out, _ = rtfeedback("replay", session, "--device", "cpu", "--tolerance", 1e-3)
    assert code == 1
    assert f"seq {message['seq']}: " in out


def test_within_a_tolerance_no_verdict_may_differ(
    session: Path, rtfeedback: CommandLine
) -> None:
    messages = read(session)
    alter_verdict(messages)
    write(session, messages)
    code, _, _ = rtfeedback("replay", session, "--device", "cpu", "--tolerance", 100)
    assert code == 1


@pytest.mark.parametrize("tolerance", ["inf", "nan", "-1", "-inf"])
def test_a_tolerance_that_bounds_nothing_is_malformed(
    session: Path, rtfeedback: CommandLine, tolerance: str
) -> None:
    code, out, _ = rtfeedback("replay", session, f"--tolerance={tolerance}")
    assert (code, out) == (2, "")


@pytest.mark.parametrize("tolerance", [0.0, 1e300, math.inf])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", ["value", "z", "raw"])
def test_what_is_no_number_is_within_no_tolerance(
    session: Path, predictor: Predictor, tolerance: float, number: float, which: str
) -> None:
    messages = read(session)
    message = valid(messages)
    (message if which == "value" else message["rois"]["visual"])[which] = number
    write(session, messages)
    archive = Archive(session)
    assert not is_same(archive, replay(archive, predictor), tolerance)


def test_no_tolerance_however_large_lets_a_verdict_differ(
    session: Path, predictor: Predictor
) -> None:
    messages = read(session)
    alter_verdict(messages)
    write(session, messages)
    archive = Archive(session)
    assert not is_same(archive, replay(archive, predictor), math.inf)


@pytest.mark.parametrize(("chosen", "taken"), [(None, "cpu"), ("auto", "auto"), ("cpu", "cpu")])
def test_a_run_is_computed_again_on_its_own_device(
    session: Path,
    rtfeedback: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    chosen: str | None,
    taken: str,
) -> None:
    load, devices = Predictor.load, []

    def loaded(path: Path, device: str) -> Predictor:
        devices.append(device)
        return load(path, "cpu")

    monkeypatch.setattr(Predictor, "load", loaded)
    code, _, err = rtfeedback("replay", session, *(["--device", chosen] if chosen else []))
    assert (code, err, devices) == (0, [], [taken])


def test_a_device_of_the_run_that_is_not_here_is_named(
    session: Path, rtfeedback: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    locked = json.loads((session / "run.json").read_text(encoding="utf-8"))
    locked["machine"]["device"] = "NVIDIA H100"
    (session / "run.json").write_text(json.dumps(locked), encoding="utf-8")
    code, _, err = rtfeedback("replay", session)
    assert code == 0
    assert err == ["device was NVIDIA H100, and is cpu: the last bits may differ"]


def test_on_another_machine_the_last_digits_may_differ_and_that_is_said(
    session: Path, rtfeedback: CommandLine
) -> None:
    locked = json.loads((session / "run.json").read_text(encoding="utf-8"))
    locked["versions"]["torch"], locked["machine"]["processor"] = "2.0", "another"
    (session / "run.json").write_text(json.dumps(locked), encoding="utf-8")
    messages = read(session)
    alter_z(messages)
    write(session, messages)
    code, out, err = rtfeedback("replay", session, "--device", "cpu")
    assert code == 0
    assert "within 0.001 of z" in out
    assert err[0].startswith("torch was 2.0, and is ")
    assert err[1].startswith("processor was another, and is ")


@pytest.mark.parametrize(
    "kind", ["recording_behind", "recording_lost", "mark", "reconnect", "volumes_held"]
)
def test_what_no_sample_brings_about_is_not_computed_again(kind: str) -> None:
    told = {"topic": "event", "schema": "", "session": "", "run": "", "publish_time": 0.0}
    assert Comparison([{**told, "event": kind, "seconds": 6.0}], {}).published_events == []
    assert len(Comparison([{**told, "event": "gap"}], {}).published_events) == 1
