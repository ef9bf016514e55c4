"""One connection to a FieldTrip buffer that waits no longer than it is told.

mne-realtime's `Client` speaks the protocol. Its own socket would block for ever on a server
that froze, spin on one that ended, and allocate what a broken answer asks for; and so would
its `FieldTripClient`, which makes that socket itself. So the client gets this one.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from rtfeedback.errors import RtfeedbackError
from rtfeedback.online.source import Idle

AnswerT = TypeVar("AnswerT")
AskedT = TypeVar("AskedT")
Place = tuple[int, tuple[Any, ...]]
"""An address family, and an address in it."""

SLICE = 0.04  # s between two calls of `idle`
MOST = 2**26  # bytes that an answer may have: 1 s of 1024 channels at 5 kHz, and headers
SILENT = 2.0  # s without an answer after which a server counts as gone
_BROKEN = (OSError, struct.error, ValueError, TypeError, IndexError)
_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY)


class NotYet(Exception):  # noqa: N818 (nothing is wrong)
    """The answer has not come; asking the same again goes on waiting for it."""


class Connection:
    """A connection on which one thing is asked at a time.

    Parameters
    ----------
    place : Place
        Where the server is; see `resolve`.
    idle : callable
        Called at least every 50 ms while connecting.

    Raises
    ------
    OSError
        Nobody is there.
    RtfeedbackError
        The extra `fieldtrip` is not installed.
    """

    def __init__(self, place: Place, idle: Idle = lambda: None) -> None:
        self._client = _client_class()()
        self._socket = AskingSocket(_connected(place, idle))
        self.took = 0.0  # s that the last answer took to be asked for and to come
        self._client.sock, self._client.isConnected = self._socket, True

    def ask(self, question: Callable[[Any], AnswerT], timeout: float) -> AnswerT:
        """Return what the server answers.

        Parameters
        ----------
        question : callable
            Calls one method of the client it is given.
        timeout : float
            Seconds to wait.

        Raises
        ------
        NotYet
            It has not come in time. The same question has to be asked again.
        ConnectionError
            The server has ended, is silent for 2 s, or answers what cannot be.
        """
        self._socket.deadline = time.monotonic() + timeout
        try:
            answer = question(self._client)
        except TimeoutError as error:
            if self._socket.asked_for > SILENT:
                raise ConnectionError(f"It has not answered for {SILENT:g} s") from error
            raise NotYet from error
        except _BROKEN as error:
            raise ConnectionError(str(error) or type(error).__name__) from error
        self.took = self._socket.asked_for
        self._socket.answered()
        return answer

    def close(self) -> None:
        """Leave the server."""
        self._socket.close()


class AskingSocket:
    """What the client takes for its socket: a question is sent once, an answer is read whole.

    Where the answer is not whole by the deadline, `TimeoutError` comes out of the client.
    What came of it is kept, and the client may ask again: then nothing is sent, and it
    reads the answer from the start.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.deadline = 0.0
        self._socket = connected
        self._question = self._unsent = b""
        self._asked = 0.0
        self._answer, self._read = bytearray(), 0

    @property
    def asked_for(self) -> float:
        """Seconds for which the current answer has been waited for."""
        return time.monotonic() - self._asked if self._question else 0.0

    def send(self, question: bytes) -> int:
        """Send a question, unless it is the one that is not answered yet."""
        self._read = 0
        if question != self._question:
            if self._question:
                raise OSError("another question was asked before the last was answered")
            self._question, self._asked, self._unsent = question, time.monotonic(), question
        return len(question)

    def recv(self, size: int) -> bytes:
        """Return exactly `size` bytes of the answer."""
        if size > MOST:
            raise OSError(f"an answer of {size} bytes is more than there can be")
        self._flush()
        while len(self._answer) < self._read + size:
            missing = self._read + size - len(self._answer)
            came = self._in_time(self._socket.recv, min(missing, 2**18))
            if not came:
                raise OSError("it closed the connection")
            self._answer += came
        self._read += size
        return bytes(self._answer[self._read - size : self._read])

    def answered(self) -> None:
        """Forget the question: the answer was whole."""
        self._question, self._answer = b"", bytearray()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _flush(self) -> None:
        while self._unsent:
            sent = self._in_time(self._socket.send, self._unsent)
            self._unsent = self._unsent[sent:]

    def _in_time(self, act: Callable[[AskedT], AnswerT], what: AskedT) -> AnswerT:
        self._socket.settimeout(max(0.0, self.deadline - time.monotonic()))
        try:
            return act(what)
        except BlockingIOError as error:  # what a socket says whose time-out is 0
            raise TimeoutError from error


def resolve(host: str, port: int) -> Place:
    """Return where a host is. It may take seconds, so it is asked for once.

    Raises
    ------
    OSError
        Nobody knows it.
    """
    family, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return family, where


def _connected(place: Place, idle: Idle) -> socket.socket:
    """Return a socket that is connected within 2 s."""
    family, where = place
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        state = connecting.connect_ex(where)
        deadline = time.monotonic() + SILENT
        while state in _UNDER_WAY:
            idle()
            if select.select([], [connecting], [connecting], SLICE)[1]:
                state = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            elif time.monotonic() > deadline:
                state = errno.ETIMEDOUT
        if state:
            raise OSError(state, os.strerror(state))
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connecting.close()
        raise
    return connecting


def _client_class() -> Any:
    """Return mne-realtime's client, which tells at each import that it is discontinued."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mne_realtime.externals.FieldTrip import Client
    except ImportError as error:
        raise RtfeedbackError(
            "Reading a FieldTrip buffer needs mne-realtime",
            found=str(error),
            do="pip install 'rtfeedback[fieldtrip]'",
        ) from error
    return Client
