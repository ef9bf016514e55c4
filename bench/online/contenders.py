"""Who does the job, and how each is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.online.job import Job
from bench.online.shapes import Shape
from bench.online.trial import ROOT, Command
from bench.rivals.environments import python_of

FLOOR, OURS = "floor", "rtfeedback"
PYTHON = (sys.executable, "-P", "-m")  # -P: no file of the working folder stands in for ours

RIVALS = {
    "mne-lsl": ("mne-lsl", "streamlsl"),
    "mne-lsl-manual": ("mne-lsl", "streamlsl", "--manual"),
    "timeflux": ("timeflux", "timeflux_graph"),
    "neuxus": ("neuxus", "neuxus_pipeline"),
}
CONTENDERS = (FLOOR, OURS, *RIVALS)


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint for a shape, and the channels that it was made for."""

    path: Path
    labels: Sequence[str]

    @classmethod
    def make(cls, shape: Shape, folder: Path) -> Model:
        """Write a shape's checkpoint."""
        path = folder / f"{shape.model}-{shape.n_channels}-{shape.rate:g}"
        said = _run(
            *(*PYTHON, "bench.checkpoint", str(path), "--model", shape.model),
            *("--channels", str(shape.n_channels), "--rate", f"{shape.rate:g}"),
            *("--window", f"{shape.window:g}", "--print-labels"),
        )
        return cls(path, json.loads(said))


def command_of(contender: str, shape: Shape, model: Model) -> Command:
    """Return what makes a contender's command line.

    Raises
    ------
    NotInstallableError
        If it is a rival that does not install.
    """
    if contender == OURS:
        return lambda stream, endpoint, folder: [
            *(*PYTHON, "rtfeedback", "run", "--stream", stream, "--model", str(model.path)),
            *("--hop", f"{shape.hop:g}", "--tr", f"{_tr(shape):g}", "--publish", endpoint),
            *("--out", str(folder), "--device", "cpu"),
        ]
    if contender == FLOOR:
        start: tuple[str, ...] = (*PYTHON, "bench.online.floor")
        more: tuple[str, ...] = ()
    else:
        environment, module, *options = RIVALS[contender]
        start = (str(python_of(environment)), "-P", "-m", f"bench.rivals.{module}")
        more = tuple(options)

    def command(stream: str, endpoint: str, folder: Path) -> list[str]:
        job = Job(stream, endpoint, shape.rate, shape.chunk, shape.window, shape.hop)
        return [*start, *job.arguments(), *more]

    return command


def arithmetic_of(
    shape: Shape, model: Model, block: int, seconds: float
) -> tuple[list[float], float]:
    """Return the seconds of each hop's chain and model, and CPU seconds per second."""
    said = _run(
        *(*PYTHON, "bench.online.arithmetic", str(model.path)),
        *("--rate", f"{shape.rate:g}", "--block", str(block), "--hop", f"{shape.hop:g}"),
        *("--seconds", str(seconds)),
    )
    result = json.loads(said)
    return result["seconds"], result["cpu"]


def _tr(shape: Shape) -> float:
    """Return a TR whose volumes' windows all end at hops, and are then no further ones."""
    return max(2.0, 2 * shape.hop)


def _run(*argv: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise RuntimeError(f"{argv} ended with {ended.returncode}: {ended.stderr[-800:]}")
    return ended.stdout
