"""Print what a run publishes, for a person or for another program."""

from __future__ import annotations

import json as jsonlib
from typing import Any

import zmq

from rtfeedback.client import FeedbackClient
from rtfeedback.errors import StreamError


def listen(endpoint: str, *, json: bool = False, count: int | None = None) -> None:
    """Print messages until interrupted, or until `count` feedback messages have come.

    Parameters
    ----------
    endpoint : str
    json : bool
        Every message of every topic whole, with `topic` and `receive_time` (LSL clock)
        added, but for the voxels of a volume; else a line for each feedback message.
    count : int, optional

    Raises
    ------
    StreamError
        If `endpoint` is none.
    """
    topics = ("feedback", "status", "event", "volume") if json else ("feedback",)
    with _client(endpoint, topics) as client:
        received = 0
        while count is None or received < count:
            message = client.receive()
            if message is None:
                continue
            received += message["topic"] == "feedback"
            message.pop("frame", None)  # a volume's: no JSON
            print(jsonlib.dumps(message) if json else line(message), flush=True)  # noqa: T201


def _client(endpoint: str, topics: tuple[str, ...]) -> FeedbackClient:
    try:
        return FeedbackClient(endpoint, topics)
    except zmq.ZMQError as error:
        raise StreamError(
            f"'{endpoint}' is no endpoint to listen to",
            found=str(error),
            do="Name it as the run does, such as tcp://127.0.0.1:5556",
        ) from error


def line(message: dict[str, Any]) -> str:
    """Return a feedback message in one line, its fields always in the same order."""
    age = "null" if message["age_ms"] is None else f"{message['age_ms']:.1f}"
    value = "null" if message["value"] is None else f"{message['value']:+.3f}"
    return (
        f"seq={message['seq']} volume={message['volume']} value={value}"
        f" valid={message['valid']} reason={message['reason']} age_ms={age}"
        f" flags={','.join(message['flags']) or 'none'}"
    )
