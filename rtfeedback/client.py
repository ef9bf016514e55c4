"""Receive rtfeedback's feedback in a stimulus program.

One file that needs only pyzmq and Python 3.8 or newer: copy it beside your experiment.

    from client import FeedbackClient

    feedback = FeedbackClient()
    while running:
        message = feedback.latest()      # never blocks; None until the first one
        if message is not None and message["value"] is not None:
            bar.height = message["value"]
        window.flip()

A value of None means: do not change what is shown on its account. `valid` and `reason`
say whether the prediction was to be trusted, and why not.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import zmq

ENDPOINT = "tcp://127.0.0.1:5556"

# The daemon stamps with the LSL clock, which on one machine is this one.
lsl_clock = time.perf_counter if sys.platform == "win32" else time.monotonic


class FeedbackClient:
    """A subscription to what a running `rtfeedback run` publishes.

    Parameters
    ----------
    endpoint : str
        Where the daemon publishes.
    topics : tuple of str
        `feedback`, `status`, `event`, `volume`.

    Attributes
    ----------
    missed : int
        `feedback` messages that never arrived, as holes in `seq` tell.
    """

    def __init__(
        self, endpoint: str = ENDPOINT, topics: tuple[str, ...] = ("feedback",)
    ) -> None:
        self.endpoint = endpoint
        self.missed = 0
        self._latest: dict[str, Any] | None = None
        self._volume: tuple[dict[str, Any], bytes] | None = None
        self._topics = set(topics)
        self._seq: int | None = None
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        for topic in topics:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError:
            self.close()
            raise

    def latest(self) -> dict[str, Any] | None:
        """Return the newest feedback message as a dict, or None; never block.

        It is the same one until another comes: its `seq` and `age` tell.
        """
        while True:
            received = self.receive(0.0)
            if received is None:
                return self._latest

    def volume(self) -> tuple[dict[str, Any], bytes] | None:
        """Return the newest whole volume as its header and its voxels, or None; never block.

        The first call subscribes to them, unless `topics` did; a run sends them where its
        config says `[volume] publish = true`. With numpy:

            header, voxels = feedback.volume()
            volume = numpy.frombuffer(voxels, header["dtype"]).reshape(header["shape"])

        It is the same one until another comes: its `seq` is that of the feedback message
        that it goes with. To see each of them, use `receive`.
        """
        if "volume" not in self._topics:
            self._topics.add("volume")
            self._socket.setsockopt(zmq.SUBSCRIBE, b"volume")
        while self.receive(0.0) is not None:
            pass
        return self._volume

    def receive(self, timeout: float | None = None) -> dict[str, Any] | None:
        """Return the next message of any topic, or None when `timeout` seconds are over.

        Returns
        -------
        dict or None
            The message, with `topic` and `receive_time` (LSL clock, seconds) added; to that
            of a volume, the voxels as `frame`, bytes.
        """
        if not self._socket.poll(None if timeout is None else round(timeout * 1000)):
            return None
        topic, body, *frames = self._socket.recv_multipart()
        received = lsl_clock()
        message: dict[str, Any] = json.loads(body.decode("utf-8"))
        message["topic"] = topic.decode()
        message["receive_time"] = received
        if message["topic"] == "feedback":
            self._count(message["seq"])
            self._latest = message
        elif message["topic"] == "volume":
            self._volume = (dict(message), frames[0])
            message["frame"] = frames[0]
        return message

    def age(self) -> float | None:
        """Return the seconds since the newest EEG sample of the latest value was received.

        None where there is no value yet. Both programs have to run on one machine.
        """
        message = self._latest
        if message is None or message["age_ms"] is None:
            return None
        age: float = message["age_ms"] / 1000 + lsl_clock() - message["publish_time"]
        return age

    def close(self) -> None:
        """Leave."""
        self._socket.close()
        self._context.term()

    def __enter__(self) -> FeedbackClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _count(self, seq: int) -> None:
        if self._seq is not None and seq > self._seq + 1:
            self.missed += seq - self._seq - 1
        self._seq = seq
