from __future__ import annotations

import copy
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from offline.rehearsal import two_free_ports
from rtfeedback.online.control import COMMANDS
from rtfeedback.signals import Feedback, ROIPrediction
from tests.lab import (
    SCHEMA,
    WAIT,
    Lab,
    Message,
    bare,
    checkpoint_spec,
    make_recording,
    save_model,
    validator,
)

DOCS = Path(__file__).resolve().parents[1] / "docs"
WIRE = (DOCS / "wire.md").read_text(encoding="utf-8")
UNKNOWN = {"raw": None, "z": None, "sd": None}


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> list[Message]:
    """Return all of a run that warmed up, gave values, had a gap, and fell silent."""
    folder = tmp_path_factory.mktemp("wire")
    predictor = save_model(folder / "model", checkpoint_spec())
    recording = make_recording(8)
    port = two_free_ports()
    with Lab(folder, predictor, port, markers=True, hop=0.25, stream={"stale": 0.2}) as lab:
        markers = lab.marker_outlet()
        outlet = lab.connect()
        start = lab.play(recording, outlet, markers)
        lab.feed(outlet, recording.samples[:500], start + 10)
        lab.until(lambda: lab.of("feedback", reason="gap"))
        lab.until(lambda: lab.of("feedback", reason="stale"))
        lab.ask("mark", label="x")
        markers.close()
        lab.until(lambda: lab.of("event", event="lost"))
    return lab.messages


@pytest.fixture(scope="module")
def valid(messages: list[Message]) -> Message:
    return bare(next(m for m in messages if m.get("valid")))


@pytest.fixture(scope="module")
def stale(messages: list[Message]) -> Message:
    return bare(next(m for m in messages if m.get("reason") == "stale"))


def fields(node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from node["properties"].items()
    yield from node["$defs"]["roi"]["properties"].items()


# ------------------------------------------------------------------ the schema


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["additionalProperties"] is False


def test_the_schema_has_every_field_and_no_other() -> None:
    assert set(SCHEMA["properties"]) == {each.name for each in dataclasses.fields(Feedback)}
    roi = SCHEMA["$defs"]["roi"]
    assert set(roi["properties"]) == set(ROIPrediction._fields)
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"])
    assert set(roi["required"]) == set(roi["properties"])
    assert roi["additionalProperties"] is False


def test_the_schema_says_what_every_field_means_and_its_unit() -> None:
    for name, field in fields(SCHEMA):
        assert len(field["description"]) > 10, name
        if name.endswith("_time"):
            assert "seconds on the LSL clock" in field["description"], name
        if name.endswith("_ms"):
            assert "Milliseconds" in field["description"], name


def test_every_message_of_a_run_fits_the_schema(messages: list[Message]) -> None:
    feedback = [m for m in messages if m["topic"] == "feedback"]
    assert {m["reason"] for m in feedback} >= {"ok", "warming_up", "gap", "stale"}
    for message in feedback:
        validator.validate(bare(message))


def test_what_is_invalid_holds_no_number(messages: list[Message]) -> None:
    for message in messages:
        if message["topic"] == "feedback" and not message["valid"]:
            assert message["value"] is None
            assert message["reason"] != "ok"
            assert all(roi == UNKNOWN for roi in message["rois"].values())


@pytest.mark.parametrize(
    "change",
    [
        {"value": 0.1},
        {"reason": "ok"},
        {"valid": True},
        {"rois": {"motor": {"raw": None, "z": 0.1, "sd": None}}},
        {"rois": {}},
        {"seq": -1},
        {"extra": 1},
        {"schema": "rtfeedback/2"},
        {"publish_time": None},
    ],
    ids=lambda change: str(*change),
)
def test_the_schema_refuses_a_false_message(stale: Message, change: dict[str, Any]) -> None:
    validator.validate(stale)
    assert not validator.is_valid({**stale, **change})


@pytest.mark.parametrize("field", sorted(SCHEMA["properties"]))
def test_the_schema_refuses_a_message_that_lacks_a_field(valid: Message, field: str) -> None:
    assert not validator.is_valid({k: v for k, v in valid.items() if k != field})


def test_the_schema_refuses_a_valid_message_without_its_facts(valid: Message) -> None:
    validator.validate(valid)
    for field in ("value", "target_time", "lsl_time", "segment", "sample", "age_ms"):
        assert not validator.is_valid({**valid, field: None}), field
    without = copy.deepcopy(valid)
    without["rois"]["motor"]["z"] = None
    assert not validator.is_valid(without)


def test_a_block_that_shows_nothing_has_rois_and_no_value(valid: Message) -> None:
    baseline = {**valid, "reason": "baseline", "block": "rest", "value": None}
    validator.validate(baseline)
    assert not validator.is_valid({**baseline, "value": 0.1})
    assert not validator.is_valid({**baseline, "valid": False})


# ------------------------------------------------------------------ the page


def named(heading: str) -> set[str]:
    """Return what is written as code in a section of the page."""
    section = WIRE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"`([^`\s]+)`", section))


COMMON = {"schema", "session", "run", "publish_time"}


def test_the_page_names_every_field_reason_and_flag_of_feedback() -> None:
    properties = SCHEMA["properties"]
    told = named("`feedback`")
    assert told >= set(properties) - COMMON
    assert told >= set(properties["reason"]["enum"])
    assert told >= set(properties["flags"]["items"]["enum"])
    assert all(f"`{name}`" in WIRE for name in COMMON)


def test_the_page_names_every_field_of_status_and_event(messages: list[Message]) -> None:
    for topic in ("status", "event"):
        sent = {key for m in messages if m["topic"] == topic for key in bare(m)}
        assert sent - COMMON <= named(f"`{topic}`")
    kinds = {m["event"] for m in messages if m["topic"] == "event"}
    assert kinds >= {"volume", "tr", "inserted", "gap", "mark", "lost"}
    assert kinds <= named("`event`")
    states = {m["state"] for m in messages if m["topic"] == "status"}
    assert states <= named("`status`")


def test_the_page_names_every_command() -> None:
    section = WIRE.split("\n## Questions\n")[1]
    assert set(re.findall(r'"cmd": "([\w-]+)"', section)) == set(COMMANDS)


def test_the_client_on_the_page_works(tmp_path: Path, free_port: int) -> None:
    code = WIRE.split("```python\n")[1].split("```")[0]
    assert "tcp://127.0.0.1:5556" in code
    code = code.replace(":5556", f":{free_port}").replace("print(", "sys.exit(print(")
    script = "import sys\n" + code.replace('["value"])', '["value"]))')
    predictor = save_model(tmp_path / "model", checkpoint_spec())
    recording = make_recording(8)
    command = [sys.executable, "-I", "-c", script]
    with (
        Lab(tmp_path, predictor, free_port, hop=0.25) as lab,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
    ):
        outlet = lab.connect()
        start = lab.play(recording, outlet)
        while process.poll() is None:
            start += 100  # another segment, another few values
            lab.feed(outlet, recording.samples, start)
            lab.until(lambda: lab.messages[-1].get("reason") == "ok")
        assert process.stdout is not None
        shown = json.loads(process.stdout.read())
        lab.listen(WAIT / 20)
    assert shown in [m["value"] for m in lab.of("feedback", valid=True)]
