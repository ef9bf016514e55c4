"""What may be asked of a running daemon: ping, status, last, mark, stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

COMMANDS = ("ping", "status", "last", "mark", "stop")


class Control:
    """Answers commands with `{"ok": true, ...}` or `{"ok": false, "error": ...}`.

    Parameters
    ----------
    status : callable
        Returns the status message.
    last : callable
        Returns the last feedback message, or None.
    mark : callable
        Takes a label and publishes it as an event.
    stop : callable
        Ends the run.
    """

    def __init__(
        self,
        *,
        status: Callable[[], dict[str, Any]],
        last: Callable[[], dict[str, Any] | None],
        mark: Callable[[str], None],
        stop: Callable[[], None],
    ) -> None:
        self._status, self._last, self._mark, self._stop = status, last, mark, stop

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what was asked, and return the answer."""
        command = request.get("cmd")
        if command == "ping":
            return {"ok": True}
        if command == "status":
            return {"ok": True, "status": self._status()}
        if command == "last":
            return {"ok": True, "feedback": self._last()}
        if command == "stop":
            self._stop()
            return {"ok": True}
        if command == "mark":
            label = request.get("label")
            if not isinstance(label, str) or not label:
                return {"ok": False, "error": "mark takes a label, a text that is not empty"}
            self._mark(label)
            return {"ok": True}
        return {
            "ok": False,
            "error": f"{command!r} is no command here; there are {', '.join(COMMANDS)}",
        }
