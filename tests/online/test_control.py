from __future__ import annotations

from typing import Any

import pytest

from rtfeedback.online.control import COMMANDS, Control


class Run:
    """What a control acts on."""

    def __init__(self) -> None:
        self.marks: list[str] = []
        self.stopped = 0
        self.last: dict[str, Any] | None = None
        self.control = Control(
            status=lambda: {"state": "running"},
            last=lambda: self.last,
            mark=self.marks.append,
            stop=self._stop,
        )

    def _stop(self) -> None:
        self.stopped += 1

    def ask(self, **request: Any) -> dict[str, Any]:
        return self.control.answer(request)


@pytest.fixture
def run() -> Run:
    return Run()


def test_ping_is_answered(run: Run) -> None:
    assert run.ask(cmd="ping") == {"ok": True}


def test_status_is_the_message_of_the_heartbeat(run: Run) -> None:
    assert run.ask(cmd="status") == {"ok": True, "status": {"state": "running"}}


def test_last_is_the_last_feedback_or_null(run: Run) -> None:
    assert run.ask(cmd="last") == {"ok": True, "feedback": None}
    run.last = {"seq": 4}
    assert run.ask(cmd="last") == {"ok": True, "feedback": {"seq": 4}}


def test_stop_ends_the_run(run: Run) -> None:
    assert run.ask(cmd="stop") == {"ok": True}
    assert run.stopped == 1


def test_mark_takes_a_label(run: Run) -> None:
    assert run.ask(cmd="mark", label="Reiz 1") == {"ok": True}
    assert run.marks == ["Reiz 1"]


@pytest.mark.parametrize("label", [None, "", 3, ["x"]])
def test_a_mark_without_a_label_is_refused(run: Run, label: Any) -> None:
    answer = run.ask(cmd="mark", label=label)
    assert answer["ok"] is False
    assert "label" in answer["error"]
    assert not run.marks


@pytest.mark.parametrize("command", [None, "", "STOP", "quit", 7, ["stop"], {"cmd": "stop"}])
def test_an_unknown_command_is_refused_with_those_there_are(run: Run, command: Any) -> None:
    answer = run.ask(cmd=command)
    assert answer["ok"] is False
    assert all(name in answer["error"] for name in COMMANDS)
    assert run.stopped == 0


def test_every_command_that_is_named_is_known(run: Run) -> None:
    answers = [run.ask(cmd=name, label="x") for name in COMMANDS]
    assert [answer["ok"] for answer in answers] == [True] * len(COMMANDS)
