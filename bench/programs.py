"""Programs beside this one: in an LSL session of their own, what they say in files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from offline.rehearsal import write_lsl_config

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60.0  # s that anything may take that is waited for

Program = subprocess.Popen[bytes]


class Programs:
    """Starts Python modules that see each other's streams, and no others.

    Parameters
    ----------
    folder : Path
        For what they print: `NAME.out` and `NAME.err`. Made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        config = write_lsl_config(folder / "lsl_api.cfg", f"bench-{uuid.uuid4().hex[:12]}")
        self._environment = {
            **os.environ,
            "LSLAPICFG": str(config.resolve()),
            "PYTHONPATH": str(ROOT),
        }

    @contextmanager
    def started(self, name: str, module: str, *arguments: object) -> Iterator[Program]:
        """Run a module; it is killed on the way out, with all that it has started."""
        # -P: a file in the working folder must not stand in for one of our modules.
        argv = [sys.executable, "-P", "-m", module, *map(str, arguments)]
        with (
            self._file(name, "out").open("wb") as out,
            self._file(name, "err").open("wb") as err,
        ):
            program = subprocess.Popen(
                argv, stdout=out, stderr=err, env=self._environment, start_new_session=True
            )
        try:
            yield program
        finally:
            kill(program)

    def said(self, name: str) -> str:
        """Return what a program has printed so far."""
        return self._file(name, "out").read_text(encoding="utf-8", errors="replace")

    def complained(self, name: str) -> str:
        """Return what a program has printed on stderr so far."""
        return self._file(name, "err").read_text(encoding="utf-8", errors="replace")

    def _file(self, name: str, kind: str) -> Path:
        return self.folder / f"{name}.{kind}"


def kill(program: Program) -> None:
    """Kill a program, and all that it has started, at once (SIGKILL)."""
    if program.poll() is None:
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()


def until(done: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait until something is so.

    Raises
    ------
    TimeoutError
        If it takes longer than `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} took longer than {patience:g} s")
        time.sleep(0.02)


def resident_megabytes(pid: int) -> float:
    """Return the memory that a process has resident now, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
