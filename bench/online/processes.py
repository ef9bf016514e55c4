"""What processes cost, as Linux counts it: CPU seconds, memory, and the machine's load."""

from __future__ import annotations

import os
import time
from pathlib import Path

SCHED = 2  # of the kernel's CPU clocks of a process: the exact one


def tree(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    for each in found:
        for file in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += map(int, file.read_text().split())
            except OSError:
                continue  # its thread has just ended
    return found


def cpu_seconds(pid: int) -> float:
    """Return what a process and those that descend from it have computed, to the ns.

    The ticks of /proc/PID/stat are 10 ms, half a second's worth of the floor.
    """
    total = 0.0
    for each in tree(pid):
        try:
            total += time.clock_gettime((~each << 3) | SCHED)
        except OSError:
            continue  # it has just ended
    return total


def peak_megabytes(pid: int) -> float:
    """Return the largest resident memory that each has had, summed."""
    total = 0.0
    for each in tree(pid):
        try:
            status = Path(f"/proc/{each}/status").read_text()
        except OSError:
            continue
        lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        total += sum(int(line.split()[1]) for line in lines) / 1024
    return total


def machine_seconds() -> float:
    """Return what all processors together have computed since the machine started."""
    user, nice, system, _, _, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
