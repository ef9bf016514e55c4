"""What a run says: to whoever listens, into its folder, and on the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from typing import Any

from rtfeedback.online import lsl
from rtfeedback.online.encoding import FeedbackEncoder, encode
from rtfeedback.online.outlets import FeedbackOutlet
from rtfeedback.online.publisher import Publisher
from rtfeedback.online.session import SessionFolder
from rtfeedback.online.whole_volume import WholeVolume
from rtfeedback.signals import SCHEMA, Feedback

BEHIND = 5.0  # s that something waits for the disk, from which that is told
KEEP = 0.3  # s between two times that what was told and received goes to the disk


class Telling:
    """Publishes messages and keeps them.

    Parameters
    ----------
    publisher : Publisher
    folder : SessionFolder
    rois : sequence of str
        In the order of every feedback message.
    outlet : FeedbackOutlet, optional
        Where feedback is offered over LSL as well.

    Attributes
    ----------
    last : Feedback or None
        The last that was published.
    """

    def __init__(
        self,
        publisher: Publisher,
        folder: SessionFolder,
        rois: Sequence[str],
        outlet: FeedbackOutlet | None = None,
    ) -> None:
        self._publisher, self._folder, self._outlet = publisher, folder, outlet
        self._encode = FeedbackEncoder(rois)
        self.last: Feedback | None = None
        self._recording, self._kept = "ok", -inf
        self._held = False  # whether volumes are kept from clients, as one takes none

    def feedback(self, feedback: Feedback) -> None:
        """Publish a feedback message."""
        self._send("feedback", self._encode(feedback))
        self.last = feedback
        if self._outlet:
            self._outlet.push(feedback)

    def volume(self, volume: WholeVolume) -> None:
        """Publish a whole volume, and keep its header, and its voxels where that is asked."""
        encoded = encode({**volume.header, "publish_time": lsl.clock()})
        sent = self._publisher.send_frame("volume", encoded, volume.frame)
        self._folder.frame(volume.frame)
        self._folder.message("volume", encoded.decode())
        if sent == self._held:
            self._held = not sent
            self.event("volumes_resumed" if sent else "volumes_held", seq=volume.header["seq"])

    def status(self, facts: dict[str, Any]) -> None:
        """Publish a heartbeat."""
        self._send("status", encode(self.message(facts)))

    def event(self, kind: str, **facts: Any) -> None:
        """Publish that something happened."""
        self._send("event", encode(self.message({"event": kind, **facts})))
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

    def keep(self, now: float) -> None:
        """Hand over what is to be written, several times a second; tell once if it cannot be.

        Parameters
        ----------
        now : float
            Monotonic clock.
        """
        if now < self._kept + KEEP:
            return
        self._kept = now
        self._folder.record.flush()
        self.tell_of_record()

    @property
    def recording(self) -> str:
        """Return what every status says of the record: ok, behind or lost."""
        record = self._folder.record
        if record.lost:
            return "lost"
        return "behind" if record.behind > BEHIND else "ok"

    def tell_of_record(self) -> None:
        """Say once that the record is behind, and once that it is lost."""
        state, record = self.recording, self._folder.record
        if state == self._recording:
            return
        self._recording = state
        if state == "lost":
            self.event("recording_lost", reason=record.lost)
            self.say(f"RECORDING LOST: {record.lost}")
        elif state == "behind":
            self.event("recording_behind", seconds=record.behind)

    def _send(self, topic: str, encoded: bytes) -> None:
        self._publisher.send(topic, encoded)
        self._folder.message(topic, encoded.decode())
