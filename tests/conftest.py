"""What tests share: an LSL session of their own, free ports, small models, the real data."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from offline.rehearsal import two_free_ports
from rtfeedback import cli
from rtfeedback.arithmetic import fix_arithmetic
from rtfeedback.chain import ChainConfig, ChainSpec
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.checkpoint import CheckpointSpec, Target, Training
from rtfeedback.models import EEGNetConfig, RidgeConfig, TCNConfig
from rtfeedback.online.lsl import isolate, session_config
from rtfeedback.windows import WindowSpec

BAR = re.compile(r"━|──|\d+% -:--:--")  # bars and titles, which are no part of a message
ROOT = Path(__file__).resolve().parents[1]


SIDE_BY_SIDE = ("chain", "models", "offline")  # folders whose tests wait for no clock
LIVE = ("test_faults_over_lsl.py", "test_play.py")  # but for these


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what has the machine to itself: over LSL and sockets, time goes on by itself."""
    for item in items:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        if folder not in SIDE_BY_SIDE or item.path.name in LIVE:
            item.add_marker("alone")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Compute as a run does: for small shapes more threads only wait for each other."""
    fix_arithmetic()


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
    return two_free_ports()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data beside the repository, or skip."""
    data = ROOT.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip(f"the real data are not at {data}")
    return data


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 256 KiB, or skip where this user cannot mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None or sys.platform != "linux":
        pytest.skip("file systems are mounted on Linux only")
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system takes root")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture(scope="session")
def untrained() -> Callable[..., tuple[CheckpointSpec, nn.Module]]:
    """Return what makes a small checkpoint's spec and model, its weights drawn by seed."""

    def make(
        model: RidgeConfig | EEGNetConfig | TCNConfig,
        *,
        channels: int = 3,
        sfreq: float = 250.0,
    ) -> tuple[CheckpointSpec, nn.Module]:
        names = ("Cz", "C3", "C4", *(f"E{i}" for i in range(100, 100 + channels - 3)))
        tokens = BandPowerConfig(bands=((8, 13), (13, 30)))
        spec = CheckpointSpec(
            model=model,
            chain=ChainSpec(
                config=ChainConfig(band_power=tokens if model.chain == "tokens" else None),
                channels=names,
                sfreq=sfreq,
            ),
            window=WindowSpec(length=model.length, lead=model.lead),
            targets=(
                Target(name="motor", unit="percent signal change", mean=0.1, sd=0.7),
                Target(name="visual", unit="percent signal change", mean=-0.2, sd=1.3),
            ),
            tr=2.0,
            environment="scanner",
            training=Training(
                store="0" * 64,
                subjects=("01",),
                train=("a",),
                validation=(),
                test=("b",),
                seed=0,
            ),
        )
        torch.manual_seed(7)
        return spec, spec.build().eval()

    return make


@pytest.fixture
def rtfeedback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, list[str]]]:
    """Return what calls the command line in an empty folder.

    It returns the exit code, what went to stdout, and the lines that went to stderr but
    for bars of progress: one line where there is one paragraph.
    """
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["rtfeedback", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert isinstance(caught.value.code, int)
        said = [line for line in err.splitlines() if line.strip() and not BAR.search(line)]
        return caught.value.code, out, said

    return call
