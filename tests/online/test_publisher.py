from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from rtfeedback.errors import PublishError
from rtfeedback.online import publisher
from rtfeedback.online.encoding import encode
from rtfeedback.online.publisher import Publisher

WAIT = 10.0  # s that anything may take before a test fails


@contextmanager
def socket(kind: int) -> Iterator[Any]:
    with zmq.Context() as context, context.socket(kind) as opened:
        opened.setsockopt(zmq.LINGER, 0)
        yield opened


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "PATIENCE", 0.2)


def until_received(one: Publisher, subscriber: Any, message: dict[str, Any]) -> list[bytes]:
    """Publish until the subscriber, which may still be connecting, has a message."""
    deadline = time.monotonic() + WAIT
    while not subscriber.poll(10):
        assert time.monotonic() < deadline
        one.send("status", encode(message))
    frames: list[bytes] = subscriber.recv_multipart()
    return frames


# ------------------------------------------------------------------ what goes out


def test_a_message_is_two_frames_topic_and_json(published: Publisher) -> None:
    message = {"seq": 3, "value": None, "label": "größer"}
    with socket(zmq.SUB) as subscriber:
        subscriber.setsockopt(zmq.SUBSCRIBE, b"status")
        subscriber.connect(published.endpoint)
        topic, body = until_received(published, subscriber, message)
    assert topic == b"status"
    assert json.loads(body.decode("utf-8")) == message


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_never_sent(published: Publisher, number: float) -> None:
    with socket(zmq.SUB) as subscriber:
        subscriber.setsockopt(zmq.SUBSCRIBE, b"")
        subscriber.connect(published.endpoint)
        until_received(published, subscriber, {})
        with pytest.raises(ValueError, match="not JSON compliant"):
            encode({"rois": {"motor": {"z": number}}})
        published.send("event", encode({}))
        while (topic := subscriber.recv_multipart()[0]) == b"status":
            pass
        assert topic == b"event"


def test_numbers_go_out_to_the_last_bit() -> None:
    numbers = [0.1 + 0.2, 1 / 3, 5e-324, -1.7976931348623157e308]
    assert json.loads(encode({"numbers": numbers}))["numbers"] == numbers


# ------------------------------------------------------------------ endpoints


@pytest.mark.parametrize("taken", [0, 1], ids=["PUB", "REP"])
@pytest.mark.usefixtures("hasty")
def test_a_taken_port_is_tried_for_a_while_and_then_refused(free_port: int, taken: int) -> None:
    with socket(zmq.REP) as owner:
        owner.bind(f"tcp://127.0.0.1:{free_port + taken}")
        began = time.monotonic()
        with pytest.raises(
            PublishError, match=f"127.0.0.1:{free_port + taken} cannot be bound"
        ):
            Publisher(f"tcp://127.0.0.1:{free_port}")
        assert time.monotonic() - began >= 0.2
    Publisher(f"tcp://127.0.0.1:{free_port}").close()  # and nothing of it stayed bound


def test_a_taken_port_is_tried_for_three_seconds() -> None:
    assert publisher.PATIENCE == 3.0


def test_a_port_that_its_last_owner_still_holds_is_waited_for(free_port: int) -> None:
    context = zmq.Context()
    owner = context.socket(zmq.PUB)
    owner.bind(f"tcp://127.0.0.1:{free_port}")
    leave = threading.Timer(0.2, lambda: context.destroy(linger=0))
    leave.start()
    Publisher(f"tcp://127.0.0.1:{free_port}").close()
    leave.join()


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://*:5556",
        "tcp://0.0.0.0:5556",
        "tcp://192.168.1.7:5556",
        "tcp://eth0:5556",
        "tcp://[::]:5556",
        "tcp://127.0.0.1.evil.org:5556",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:*",
        "ipc:///tmp/rtfeedback",
        "127.0.0.1:5556",
        "",
    ],
)
def test_only_loopback_is_bound(endpoint: str) -> None:
    with pytest.raises(PublishError, match=r"Use tcp://127.0.0.1:PORT"):
        Publisher(endpoint)


@pytest.mark.parametrize("port", [0, 65535, 65536, 10**9])
def test_a_port_has_to_leave_room_for_the_next(port: int) -> None:
    with pytest.raises(PublishError, match="PORT from 1 to 65534"):
        Publisher(f"tcp://127.0.0.1:{port}")


def test_an_address_that_is_none_is_refused_at_once(free_port: int) -> None:
    began = time.monotonic()
    with pytest.raises(PublishError, match="cannot be bound"):
        Publisher(f"tcp://127.999.0.1:{free_port}")
    assert time.monotonic() - began < 2


def test_localhost_is_loopback_whatever_the_hosts_file_says(free_port: int) -> None:
    one = Publisher(f"tcp://localhost:{free_port}")
    assert one.endpoint == f"tcp://127.0.0.1:{free_port}"
    one.close()
