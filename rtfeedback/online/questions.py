"""Questions, answered in a thread of their own at the moments at which a run only waits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Any

import zmq

from rtfeedback.online.encoding import encode

LINGER = 1000  # ms for the last answer when the run ends
REST = 0.02  # s after an answer: who asks without a pause must not keep the run waiting

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Questions:
    """Answers what is asked within `with`, which the thread that made it enters to wait.

    A run waits for EEG nearly always, in liblsl, which nothing wakes but EEG: without a
    thread a question would wait with it. One of the two has the turn at any time, so what
    an answer reads and does is whole, and nothing else in the run needs a lock.

    Parameters
    ----------
    socket : zmq.Socket
        A bound REP socket; from here on it belongs to the thread, which closes it once its
        context is terminated.
    answer : callable
        Takes a command and returns what is answered.
    """

    def __init__(self, socket: Any, answer: Answer) -> None:
        self._socket, self._answer = socket, answer
        self._turn, self._answered = Lock(), Event()
        self._turn.acquire()
        self._answered.set()
        self._over = False
        Thread(target=self._work, name="questions", daemon=True).start()

    def __enter__(self) -> None:
        self._turn.release()

    def __exit__(self, *_: object) -> None:
        self._turn.acquire()

    def finish(self) -> None:
        """Give the turn up for good, and wait until what was asked so far is answered."""
        if not self._over:
            self._over = True
            self._turn.release()
        self._answered.wait(LINGER / 1000)

    def _work(self) -> None:
        try:
            with suppress(zmq.ContextTerminated):
                while True:
                    request = _command(self._socket.recv_multipart())
                    self._answered.clear()
                    with self._turn:
                        answer = self._encoded(request)
                    self._socket.send(answer)
                    self._answered.set()
                    time.sleep(REST)
        finally:
            self._socket.close(LINGER)

    def _encoded(self, request: dict[str, Any]) -> bytes:
        try:
            return encode(self._answer(request))
        except Exception as error:  # a bug, or a run that is over; who asked is told
            return encode({"ok": False, "error": f"{type(error).__name__}: {error}"})


def _command(frames: Sequence[bytes]) -> dict[str, Any]:
    """Return a command; what is none becomes one that nobody knows."""
    try:
        request = json.loads(b"".join(frames))
    except (ValueError, RecursionError):
        return {"cmd": ""}
    return request if isinstance(request, dict) else {"cmd": ""}
