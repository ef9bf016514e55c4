"""What tests share: an LSL session of their own, free ports, and the real data."""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path

import pytest

from rtfeedback.online.lsl import isolate, session_config

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def lsl_session() -> str:
    """Keep this test process's streams apart from any other's, and name the session."""
    session = f"test-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    isolate(session)
    return session


@pytest.fixture(scope="session")
def lsl_env(lsl_session: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment in which a subprocess joins this process's LSL session."""
    file = tmp_path_factory.mktemp("lsl") / "lsl_api.cfg"
    file.write_text(session_config(lsl_session))
    return {**os.environ, "LSLAPICFG": str(file), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def free_port() -> int:
    """Return a loopback TCP port that is free, and so is the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data beside the repository, or skip."""
    data = ROOT.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip(f"the real data are not at {data}")
    return data
