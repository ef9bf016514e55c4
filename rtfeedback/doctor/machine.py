"""The machine that a run would take: versions, ports, and the disk of the sessions."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from rtfeedback.doctor.finding import Finding, fail, ok, warn
from rtfeedback.online.offsets import liblsl_version
from rtfeedback.online.publisher import Publisher
from rtfeedback.online.session import SessionFolder
from rtfeedback.online.settings import RunConfig
from rtfeedback.provenance import versions

HOUR = 3600.0  # s
SAMPLE_BYTES = 4  # float32, as received
BLOCK, BLOCKS = 128 * 1024, 8  # bytes written and made safe at a time, and how often
MARGIN = 4.0  # times faster than the stream that a disk should be


def describe_versions() -> Finding:
    """Say what a report of a fault should say."""
    named = ", ".join(f"{name} {number}" for name, number in versions().items())
    return ok("versions", f"Python {platform.python_version()}, {named}, {liblsl_version()}")


def check_ports(endpoint: str) -> Finding:
    """Bind what a run would bind, and let go of it again.

    Raises
    ------
    PublishError
        As a run would be refused.
    """
    publisher = Publisher(endpoint)
    publisher.close()
    return ok(
        "ports",
        f"{publisher.endpoint} and {publisher.control_endpoint} are free, on this machine only",
    )


def check_disk(
    out: Path,
    config: RunConfig,
    *,
    checkpoint: Path | None,
    bytes_per_s: float | None,
    now: Callable[[], float] = time.perf_counter,
) -> Finding:
    """Write where a run would write, measure how fast, and remove it again.

    Parameters
    ----------
    out : Path
        Folder of the sessions.
    config : RunConfig
    checkpoint : Path or None
        What a run would copy into its folder.
    bytes_per_s : float or None
        What the stream sends.
    now : callable
        A clock, in seconds.

    Raises
    ------
    OutputError
        As a run would be refused.
    """
    with _trial_run(out, config, checkpoint) as folder:
        free = shutil.disk_usage(folder).free
        try:
            seconds = [_write_block(folder / f"trial-{i}", now) for i in range(BLOCKS)]
        except OSError as error:
            return fail(
                "disk",
                f"{out} does not take {BLOCK * BLOCKS // 2**20} MiB: {error.strerror}",
                "Free some space, or choose another folder with --out",
            )
    speed = BLOCK * BLOCKS / max(sum(seconds), 1e-9)
    return _judge_disk(out, free, speed, max(seconds), bytes_per_s)


def _judge_disk(
    out: Path, free: int, speed: float, slowest: float, bytes_per_s: float | None
) -> Finding:
    found = (
        f"{out} has {free / 1e9:.1f} GB free and takes {speed / 1e6:.0f} MB/s;"
        f" {BLOCK // 1024} KiB are safe within {1000 * slowest:.0f} ms"
    )
    if bytes_per_s is None:
        return ok("disk", found)
    hours = free / bytes_per_s / HOUR
    found += f". The stream is {bytes_per_s / 1e6:.2f} MB/s: room for {hours:.1f} h"
    if hours < 1:
        return warn("disk", found, "Free some space, or choose another folder with --out")
    if speed < MARGIN * bytes_per_s:
        return warn("disk", found, "Choose a faster disk with --out: a local one, say")
    return ok("disk", found)


@contextmanager
def _trial_run(out: Path, config: RunConfig, checkpoint: Path | None) -> Iterator[Path]:
    """Give the folder that the next run would get, and leave no trace of it."""
    made = [path for path in (out, *out.parents) if not path.exists()]
    where = config.session.model_dump(exclude={"environment"})
    try:
        folder = SessionFolder(out, **where)
        try:
            if checkpoint is not None:
                folder.lock({}, checkpoint, torch.device("cpu"))
            yield folder.path
        finally:
            folder.close()
            folder.discard()
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()


def _write_block(path: Path, now: Callable[[], float]) -> float:
    """Write a block that a loss of power would not undo; return the seconds it took."""
    block = os.urandom(BLOCK)  # what a file system cannot make smaller
    began = now()
    with path.open("wb") as file:
        file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return now() - began
