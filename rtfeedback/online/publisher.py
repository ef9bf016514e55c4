"""ZeroMQ: a PUB socket for what is told; beside it a REP socket for what is asked."""

from __future__ import annotations

import re
import time
from collections import deque
from typing import Any

import zmq

from rtfeedback.errors import PublishError
from rtfeedback.online.questions import LINGER, Answer, Questions

PATIENCE = 3.0  # s that a taken port is tried: its last owner may be closing
UNDER_WAY = 64 * 2**20  # bytes of voxels that may wait for a client that does not take them
LARGEST = 2**18  # bytes of a question; who sends more is cut off
_ENDPOINT = re.compile(r"tcp://(127\.\d+\.\d+\.\d+|localhost):(\d+)")


class Publisher:
    """Publishes messages as two frames, topic and JSON, and is asked on the next port.

    Parameters
    ----------
    endpoint : str
        `tcp://127.0.0.1:PORT`; only the loopback interface is bound.

    Raises
    ------
    PublishError
        If the endpoint is not on loopback, or a port stays taken.
    """

    def __init__(self, endpoint: str) -> None:
        host, port = _parse(endpoint)
        self.endpoint = f"tcp://{host}:{port}"
        self.control_endpoint = f"tcp://{host}:{port + 1}"
        self._context = zmq.Context()
        try:
            self._pub = self._bind(zmq.PUB, self.endpoint)
            self._rep = self._bind(zmq.REP, self.control_endpoint)
            self._questions: Questions | None = None
            self._under_way: deque[tuple[zmq.MessageTracker, int]] = deque()
            self._waiting = 0  # bytes of those
        except PublishError:
            self._context.destroy(linger=0)
            raise

    def send(self, topic: str, encoded: bytes) -> None:
        """Publish a message, as it is encoded; it never blocks, whoever listens."""
        self._pub.send(topic.encode(), zmq.SNDMORE)
        self._pub.send(encoded)

    def send_frame(self, topic: str, encoded: bytes, frame: bytes) -> bool:
        """Publish a message with a third frame of bytes, which is not copied; it never blocks.

        What a client does not take is kept for it, a thousand messages long: of frames that
        would be gigabytes, so while 64 MiB still wait no more are sent, to anyone.

        Returns
        -------
        bool
            Whether it was sent.
        """
        while self._under_way and self._under_way[0][0].done:
            self._waiting -= self._under_way.popleft()[1]
        if self._under_way and self._waiting + len(frame) > UNDER_WAY:
            return False
        parts = [topic.encode(), encoded, frame]
        tracker = self._pub.send_multipart(parts, copy=False, track=True)
        self._under_way.append((tracker, len(frame)))
        self._waiting += len(frame)
        return True

    def listen(self, answer: Answer) -> Questions:
        """Have questions answered from now on; see `Questions`."""
        self._questions = Questions(self._rep, answer)
        return self._questions

    def close(self) -> None:
        """Close both sockets once what is under way has gone out."""
        if self._context.closed:
            return
        self._pub.close(LINGER)
        if self._questions:
            self._questions.finish()
        else:
            self._rep.close(0)
        self._context.term()

    def _bind(self, kind: int, endpoint: str) -> Any:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.bind(endpoint)
                return socket
            except zmq.ZMQError as error:
                if error.errno != zmq.EADDRINUSE or time.monotonic() > deadline:
                    socket.close(0)
                    raise PublishError(
                        f"{endpoint} cannot be bound",
                        found=str(error),
                        do="End the other run, or choose another port with --publish;"
                        " a run takes that port and the next one",
                    ) from error
                time.sleep(0.05)


def _parse(endpoint: str) -> tuple[str, int]:
    match = _ENDPOINT.fullmatch(endpoint)
    if match is None or not 0 < int(match[2]) < 65535:
        raise PublishError(
            f"'{endpoint}' is no endpoint to publish at",
            found="Only the loopback interface is bound, and two ports in a row are taken",
            do="Use tcp://127.0.0.1:PORT, with PORT from 1 to 65534",
        )
    return match[1].replace("localhost", "127.0.0.1"), int(match[2])
