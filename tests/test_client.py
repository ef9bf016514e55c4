from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rtfeedback.client
from rtfeedback.client import FeedbackClient
from rtfeedback.online.encoding import encode
from rtfeedback.online.lsl import clock
from rtfeedback.online.publisher import Publisher

WAIT = 10.0  # s that anything may take before a test fails
FILE = Path(rtfeedback.client.__file__)
# What came after Python 3.8 and would fail only when it runs.
LATER_MODULES = {"zoneinfo", "graphlib", "tomllib"}
LATER_METHODS = {"removeprefix", "removesuffix", "bit_count", "pairwise", "batched"}
GENERICS = {"dict", "list", "tuple", "set", "frozenset", "type"}


def feedback(seq: int, **fields: Any) -> dict[str, Any]:
    message = {"seq": seq, "value": 0.5, "age_ms": 2.0, "publish_time": clock()}
    return {**message, **fields}


@pytest.fixture
def client(free_port: int) -> Iterator[FeedbackClient]:
    with FeedbackClient(f"tcp://127.0.0.1:{free_port}", ("feedback", "status")) as one:
        yield one


@pytest.fixture
def daemon(client: FeedbackClient) -> Iterator[Publisher]:
    """Return a publisher that was bound after the client connected, and that it hears."""
    one = Publisher(client.endpoint)
    deadline = time.monotonic() + WAIT
    while client.receive(0.02) is None:
        assert time.monotonic() < deadline
        one.send("status", encode({"state": "waiting"}))
    drain(client)
    yield one
    one.close()


def drain(client: FeedbackClient) -> None:
    while client.receive(0.1) is not None:
        pass


def until_latest(client: FeedbackClient, seq: int) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT
    while True:
        assert time.monotonic() < deadline
        message = client.latest()
        if message is not None and message["seq"] == seq:
            return message


# ------------------------------------------------------------------ one file


def test_it_is_one_file_that_python_3_8_can_parse_and_run() -> None:
    tree = ast.parse(FILE.read_text(encoding="utf-8"), feature_version=(3, 8))
    future = tree.body[1]
    assert isinstance(future, ast.ImportFrom)  # so that no annotation is evaluated
    assert [name.name for name in future.names] == ["annotations"]
    for node in evaluated(tree):
        assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr))
        assert not (isinstance(node, ast.AugAssign) and isinstance(node.op, ast.BitOr))
        assert not (isinstance(node, ast.Attribute) and node.attr in LATER_METHODS)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            assert node.value.id not in GENERICS


def evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """Yield every node that runs, so none of an annotation."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from evaluated(child)


def test_it_needs_only_pyzmq() -> None:
    tree = ast.parse(FILE.read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            assert node.level == 0
            imported.add(node.module.split(".")[0])
    assert imported - {"zmq"} <= set(sys.stdlib_module_names) - LATER_MODULES
    assert "zmq" in imported


def test_a_copy_of_the_file_works_by_itself(tmp_path: Path, daemon: Publisher) -> None:
    shutil.copy(FILE, tmp_path / "client.py")
    script = (
        "import sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from client import FeedbackClient\n"
        f"with FeedbackClient({daemon.endpoint!r}) as feedback:\n"
        f"    message = feedback.receive({WAIT})\n"
        "print(message['seq'], 'rtfeedback' in sys.modules, 'numpy' in sys.modules)\n"
    )
    command = [sys.executable, "-I", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + WAIT
        while process.poll() is None:
            assert time.monotonic() < deadline
            daemon.send("feedback", encode(feedback(7)))
            time.sleep(0.01)
        assert process.stdout is not None
        assert process.stdout.read().split() == ["7", "False", "False"]


# ------------------------------------------------------------------ what it tells


def test_it_may_connect_before_the_daemon_binds(
    client: FeedbackClient, daemon: Publisher
) -> None:
    assert client.latest() is None
    daemon.send("feedback", encode(feedback(0)))
    assert until_latest(client, 0)["value"] == 0.5


def test_latest_never_blocks(client: FeedbackClient, daemon: Publisher) -> None:
    began = time.perf_counter()
    for _ in range(100):
        assert client.latest() is None
    assert time.perf_counter() - began < 1
    daemon.send("feedback", encode(feedback(0)))
    until_latest(client, 0)
    daemon.close()
    assert client.latest() == client.latest()


def test_latest_is_the_newest_and_stays_until_another_comes(
    client: FeedbackClient, daemon: Publisher
) -> None:
    for seq in range(50):
        daemon.send("feedback", encode(feedback(seq)))
        daemon.send("status", encode({"state": "running"}))
    newest = until_latest(client, 49)
    drain(client)
    assert client.latest() is newest
    assert newest["topic"] == "feedback"
    assert newest["publish_time"] <= newest["receive_time"] <= clock()


def test_missed_counts_the_holes_in_seq(client: FeedbackClient, daemon: Publisher) -> None:
    for seq in (5, 6, 9, 10, 12):  # what came before it connected is not missed
        daemon.send("feedback", encode(feedback(seq)))
    until_latest(client, 12)
    assert client.missed == 3
    daemon.send("feedback", encode(feedback(0)))  # another run
    until_latest(client, 0)
    assert client.missed == 3


def test_age_rises_while_nothing_comes(client: FeedbackClient, daemon: Publisher) -> None:
    assert client.age() is None
    daemon.send("feedback", encode(feedback(0, age_ms=250.0, publish_time=clock() - 1)))
    until_latest(client, 0)
    first = client.age()
    assert first is not None
    assert 1.25 <= first < 1.25 + WAIT
    second = client.age()
    assert second is not None
    assert second > first
    daemon.send("feedback", encode(feedback(1, age_ms=1.0)))
    until_latest(client, 1)
    third = client.age()
    assert third is not None
    assert third < first


def test_there_is_no_age_before_there_was_eeg(
    client: FeedbackClient, daemon: Publisher
) -> None:
    daemon.send("feedback", encode(feedback(0, age_ms=None, value=None)))
    until_latest(client, 0)
    assert client.age() is None


def test_receive_gives_every_message_of_its_topics_in_order(
    client: FeedbackClient, daemon: Publisher
) -> None:
    daemon.send("event", encode({"event": "mark"}))  # not asked for
    daemon.send("status", encode({"state": "running"}))
    daemon.send("feedback", encode(feedback(0)))
    got = [client.receive(WAIT), client.receive(WAIT)]
    assert [message and message["topic"] for message in got] == ["status", "feedback"]
    assert client.receive(0.01) is None


def test_volume_is_the_newest_one_and_never_blocks(
    client: FeedbackClient, daemon: Publisher
) -> None:
    assert client.volume() is None  # it subscribes
    deadline = time.monotonic() + WAIT
    while (told := client.volume()) is None:
        assert time.monotonic() < deadline
        daemon.send_frame("volume", encode({"seq": 7, "shape": [1, 1, 2]}), b"\0" * 8)
    assert (told[0]["topic"], told[0]["seq"], told[1]) == ("volume", 7, b"\0" * 8)
    daemon.send("feedback", encode(feedback(8)))
    daemon.send_frame("volume", encode({"seq": 8}), b"\1" * 10**6)
    while told[0]["seq"] != 8:
        assert time.monotonic() < deadline
        told = client.volume() or told
    assert told[1] == b"\1" * 10**6
    assert client.volume() == told
    latest = client.latest()  # what came beside it was not lost
    assert latest is not None
    assert latest["seq"] == 8
    assert client.missed == 0


def test_receive_gives_the_voxels_with_the_header(
    client: FeedbackClient, daemon: Publisher
) -> None:
    client.volume()
    deadline = time.monotonic() + WAIT
    while (message := client.receive(0.02)) is None:
        assert time.monotonic() < deadline
        daemon.send_frame("volume", encode({"seq": 1}), b"\0" * 8)
    assert (message["topic"], message["seq"], message["frame"]) == ("volume", 1, b"\0" * 8)
    assert message["receive_time"] <= clock()


def test_its_clock_is_lsls() -> None:
    assert rtfeedback.client.lsl_clock() == pytest.approx(clock(), abs=0.1)


def test_the_example_at_its_top_is_the_one_in_its_words() -> None:
    doc = ast.get_docstring(ast.parse(FILE.read_text(encoding="utf-8"))) or ""
    for word in ("FeedbackClient()", ".latest()", 'message["value"]'):
        assert word in doc
    assert json.dumps(rtfeedback.client.ENDPOINT) == '"tcp://127.0.0.1:5556"'
