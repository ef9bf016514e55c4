"""A FieldTrip buffer for tests: real TCP, the part of the protocol that readers use.

https://www.fieldtriptoolbox.org/development/realtime/buffer_protocol
"""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

GET_HDR, GET_DAT, GET_EVT, GET_OK, GET_ERR = 0x201, 0x202, 0x203, 0x204, 0x205
WAIT_DAT, WAIT_OK = 0x402, 0x404
TYPES = {"int8": 5, "int16": 6, "int32": 7, "int64": 8, "float32": 9, "float64": 10}
NAMES = 1  # the header's chunk of channel names


class FieldTripServer:
    """A buffer with the newest `capacity` samples, filled by the test."""

    def __init__(
        self,
        labels: str = "Fp1 Cz ECG",
        *,
        sfreq: float = 250.0,
        dtype: str = "float32",
        capacity: int = 10**6,
        port: int = 0,
    ) -> None:
        self.labels, self.sfreq, self.dtype, self.capacity = labels, sfreq, dtype, capacity
        self.n_channels = len(labels.split()) or 2
        self.samples = np.empty((0, self.n_channels), dtype)
        self.events: list[bytes] = []
        self.answers: dict[int, bytes] = {}  # to be given in place of the true ones
        self.silent = threading.Event()
        self.filled = True  # whether a program has put a header here
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", port), self)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def address(self) -> str:
        return f"fieldtrip://127.0.0.1:{self.port}"

    def put(self, samples: ArrayLike) -> None:
        """Append samples, shape (n_times, n_channels)."""
        with self._changed:
            self.samples = np.concatenate([self.samples, np.asarray(samples, self.dtype)])
            self._changed.notify_all()

    def put_event(self, kind: str, value: str | int, sample: int) -> None:
        content = value.encode() if isinstance(value, str) else struct.pack("=i", value)
        typed = (0, len(content)) if isinstance(value, str) else (TYPES["int32"], 1)
        size = len(kind) + len(content)
        head = struct.pack("=IIIIIiiI", 0, len(kind), *typed, sample, 0, 0, size)
        with self._changed:
            self.events.append(head + kind.encode() + content)

    def restart(self) -> None:
        """Put a new header: all counters begin again."""
        with self._changed:
            self.samples, self.events = self.samples[:0], []

    def close(self) -> None:
        self.silent.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self._server.connections:
            connection.close()
        self._thread.join()

    def answer(self, command: int, payload: bytes) -> tuple[int, bytes]:
        if command == GET_HDR:
            return (GET_OK, self._header()) if self.filled else (GET_ERR, b"")
        if command == WAIT_DAT:
            return WAIT_OK, self._wait(*struct.unpack("=III", payload))
        first, last = struct.unpack("=II", payload)
        if command == GET_EVT:
            return GET_OK, b"".join(self.events[first : last + 1])
        oldest = max(0, len(self.samples) - self.capacity)
        if not oldest <= first <= last < len(self.samples):
            return GET_ERR, b""
        data = self.samples[first : last + 1]
        head = struct.pack("=IIII", data.shape[1], len(data), TYPES[self.dtype], data.nbytes)
        return GET_OK, head + data.tobytes()

    def _header(self) -> bytes:
        names = "".join(f"{label}\0" for label in self.labels.split()).encode()
        chunk = struct.pack("=II", NAMES, len(names)) + names if names else b""
        counts = self.n_channels, len(self.samples), len(self.events)
        return (
            struct.pack("=IIIfII", *counts, self.sfreq, TYPES[self.dtype], len(chunk)) + chunk
        )

    def _wait(self, samples: int, events: int, ms: int) -> bytes:
        with self._changed:
            self._changed.wait_for(
                lambda: len(self.samples) > samples or len(self.events) > events, ms / 1000
            )
            return struct.pack("=II", len(self.samples), len(self.events))


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, where: tuple[str, int], buffer: FieldTripServer) -> None:
        self.buffer, self.connections = buffer, list[socket.socket]()
        super().__init__(where, _Handler)


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server: Any = self.server
        buffer: FieldTripServer = server.buffer
        server.connections.append(self.request)
        while True:
            try:
                _, command, size = struct.unpack("=HHI", self._read(8))
                payload = self._read(size)
                if buffer.silent.is_set():
                    continue
                status, answer = buffer.answer(command, payload)
                whole = struct.pack("=HHI", 1, status, len(answer)) + answer
                self.request.sendall(buffer.answers.get(command, whole))
            except OSError:
                return

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            came = self.request.recv(size - len(content))
            if not came:
                raise OSError
            content += came
        return content
