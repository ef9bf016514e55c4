"""What memory a process has held at most, as the kernel knows it."""

from __future__ import annotations

from pathlib import Path

from bench.tables import GIB


def peak_gib(pid: int | str = "self") -> float:
    """Return the most resident memory that a process has held, in GiB.

    Not getrusage's: Linux lets that begin at what the parent held when it started this one.

    Parameters
    ----------
    pid : int or str
        This process itself without.
    """
    facts = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    held = next(line.split()[1] for line in facts if line.startswith("VmHWM:"))
    return int(held) * 1024 / GIB
