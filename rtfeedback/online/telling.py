"""What a run says: to whoever listens, into its folder, and on the terminal."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

from rtfeedback.online import lsl
from rtfeedback.online.publisher import Publisher
from rtfeedback.online.session import SessionFolder
from rtfeedback.signals import SCHEMA, Feedback


class Telling:
    """Publishes messages and keeps them.

    Parameters
    ----------
    publisher : Publisher
    folder : SessionFolder

    Attributes
    ----------
    last : dict or None
        The last feedback message.
    """

    def __init__(self, publisher: Publisher, folder: SessionFolder) -> None:
        self._publisher, self._folder = publisher, folder
        self.last: dict[str, Any] | None = None

    def feedback(self, feedback: Feedback) -> None:
        """Publish a feedback message."""
        self.last = feedback.message()
        self._send("feedback", self.last)
        value = "null" if feedback.value is None else f"{feedback.value:.3f}"
        self.log(
            f"seq={feedback.seq} volume={feedback.volume} value={value}"
            f" reason={feedback.reason} age_ms={feedback.age_ms or 0:.1f}"
            f" infer_ms={feedback.infer_ms or 0:.1f}"
        )

    def status(self, facts: dict[str, Any]) -> None:
        """Publish a heartbeat."""
        self._send("status", self.message(facts))

    def event(self, kind: str, **facts: Any) -> None:
        """Publish that something happened."""
        self._send("event", self.message({"event": kind, **facts}))
        told = (f"{name}={json.dumps(fact)}" for name, fact in facts.items())
        self.log(" ".join([f"event={kind}", *told]))

    def message(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return facts with what every message says."""
        return {
            "schema": SCHEMA,
            "session": self._folder.session,
            "run": self._folder.run,
            **facts,
            "publish_time": lsl.clock(),
        }

    def log(self, line: str) -> None:
        """Append a line to the run's log."""
        self._folder.log(f"{lsl.clock():.6f} {line}")

    def say(self, line: str) -> None:
        """Print a line, and log it."""
        with suppress(OSError):  # whoever read it is gone, or its disk is full
            print(line, file=sys.stderr, flush=True)  # noqa: T201
        self.log(line)

    def _send(self, topic: str, message: dict[str, Any]) -> None:
        self._publisher.send(topic, message)
        self._folder.message(topic, message)
