from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from rtfeedback.online.publisher import Publisher
from rtfeedback.online.questions import Questions

WAIT = 10_000  # ms that anything may take before a test fails


class Run:
    """What is asked: it counts, and breaks where it is told to."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.heard.append(request)
        if request.get("cmd") == "break":
            raise RuntimeError("it broke")
        return {"ok": True, "n": len(self.heard)}


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def questions(published: Publisher, run: Run) -> Questions:
    return published.listen(run.answer)


@pytest.fixture
def asker(published: Publisher) -> Iterator[Any]:
    with zmq.Context() as context, context.socket(zmq.REQ) as opened:
        opened.setsockopt(zmq.LINGER, 0)
        opened.connect(published.control_endpoint)
        yield opened


@pytest.fixture
def impatient(published: Publisher) -> Iterator[Any]:
    """Return who has sent a second's worth of questions, so that one always waits."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as opened:
        opened.setsockopt(zmq.LINGER, 0)
        opened.connect(published.control_endpoint)
        for _ in range(50):
            opened.send_multipart([b"", b'{"cmd": "ping"}'])
        yield opened


def answer(asker: Any) -> Any:
    assert asker.poll(WAIT)
    return asker.recv_json()


def test_a_question_is_answered_on_the_next_port(
    published: Publisher, questions: Questions, asker: Any, run: Run, free_port: int
) -> None:
    assert published.control_endpoint == f"tcp://127.0.0.1:{free_port + 1}"
    asker.send_json({"cmd": "ping"})
    with questions:
        assert answer(asker) == {"ok": True, "n": 1}
    assert run.heard == [{"cmd": "ping"}]


def test_nothing_is_answered_while_the_run_has_the_turn(
    questions: Questions, asker: Any, run: Run
) -> None:
    asker.send_json({"cmd": "ping"})
    assert not asker.poll(100)
    assert not run.heard
    with questions:
        assert answer(asker) == {"ok": True, "n": 1}


def test_who_asks_without_a_pause_neither_disturbs_the_run_nor_stops_it(
    published: Publisher, questions: Questions, run: Run
) -> None:
    over = threading.Event()

    def flood() -> None:
        with zmq.Context() as context, context.socket(zmq.REQ) as asker:
            asker.setsockopt(zmq.LINGER, 0)
            asker.connect(published.control_endpoint)
            while not over.is_set():
                asker.send_json({"cmd": "ping"})
                while not asker.poll(10) and not over.is_set():
                    pass
                if not over.is_set():
                    asker.recv()

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        while len(run.heard) < 50:
            with questions:
                time.sleep(0)  # as any wait does, it lets the other thread run
            before = len(run.heard)
            sum(range(10_000))  # the run's own work, which gives the other thread time
            assert len(run.heard) == before
    finally:
        over.set()
        flooding.join()


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"\xff\xfe\x00"],
        [b"[1, 2]"],
        [b"null"],
        [b"{"],
        [b"[" * 100_000],
        [b'{"cmd"', b"junk"],
    ],
    ids=["empty", "bytes", "list", "null", "cut", "deep", "frames"],
)
def test_nonsense_is_no_command_and_breaks_nothing(
    questions: Questions, asker: Any, run: Run, frames: list[bytes]
) -> None:
    with questions:
        for n in (1, 2):
            asker.send_multipart(frames)
            assert answer(asker) == {"ok": True, "n": n}
    assert run.heard == [{"cmd": ""}] * 2


def test_a_question_that_breaks_is_answered_so_and_the_next_one_too(
    questions: Questions, asker: Any
) -> None:
    with questions:
        asker.send_json({"cmd": "break"})
        assert answer(asker) == {"ok": False, "error": "RuntimeError: it broke"}
        asker.send_json({"cmd": "ping"})
        assert answer(asker) == {"ok": True, "n": 2}


@pytest.mark.usefixtures("questions")
def test_what_waits_for_its_turn_is_answered_before_the_end(
    published: Publisher, asker: Any
) -> None:
    asker.send_json({"cmd": "ping"})
    assert not asker.poll(100)
    published.close()
    assert answer(asker) == {"ok": True, "n": 1}


def test_who_goes_on_asking_cannot_keep_a_run_from_ending(
    published: Publisher, questions: Questions, impatient: Any, run: Run
) -> None:
    with questions:
        assert impatient.poll(WAIT)
    closing = threading.Thread(target=published.close)
    closing.start()
    closing.join(WAIT / 1000)
    assert not closing.is_alive()
    assert 1 <= len(run.heard) < 50


def test_once_a_run_is_over_no_question_waits_for_a_turn(
    questions: Questions, asker: Any
) -> None:
    questions.finish()
    asker.send_json({"cmd": "ping"})
    assert answer(asker) == {"ok": True, "n": 1}


def test_a_run_has_its_turn_back_though_more_was_asked(
    questions: Questions, impatient: Any, run: Run
) -> None:
    with questions:
        assert impatient.poll(WAIT)
    assert len(run.heard) < 50  # the rest waits for the next time
