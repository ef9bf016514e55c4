"""How long things take to start: `--help`, and a run up to READY.

python -m bench.startup [--rounds N] [--write]

A run is started on the CPU with its stream there already, so that it waits for nobody. What
of it is imports, its READY line says. `--write` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from threading import Timer
from typing import NamedTuple

from bench.online.contenders import OURS, Model, command_of
from bench.online.shapes import SHAPES, Shape
from bench.online.trial import ROOT
from bench.tables import markdown_table, provenance, put
from offline.rehearsal import two_free_ports, write_lsl_config
from rtfeedback.online.lsl import EEGOutlet, isolate
from rtfeedback.signals import StreamInfo

HELP, HELPS = 0.4, 10  # s; how often it is asked for
READY = 3.0  # s beyond the imports
PATIENCE = 60.0  # s that a run may take to be ready
STARTED = ("fast", "ridge", "tcn", "eegnet")  # shapes, each with another model


class Start(NamedTuple):
    """One start of a run: seconds until READY, and those of them that were imports."""

    ready: float
    imports: float

    @property
    def beyond(self) -> float:
        """Seconds beyond the imports; Python's own start is among them."""
        return self.ready - self.imports


def time_of_help() -> float:
    """Return how long `rtfeedback --help` takes, in seconds."""
    argv = [str(Path(sys.executable).with_name("rtfeedback")), "--help"]
    began = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    return time.perf_counter() - began


def start_of(shape: Shape, model: Model, lsl_config: Path, folder: Path) -> Start:
    """Start a run on a stream that is there, and wait until it is ready.

    Raises
    ------
    RuntimeError
        If it does not get ready.
    """
    n = len(model.labels)
    info = StreamInfo("", shape.rate, tuple(model.labels), ("eeg",) * n, ("microvolts",) * n)
    outlet = EEGOutlet(info, stream := f"EEG-{uuid.uuid4().hex[:8]}")
    endpoint = f"tcp://127.0.0.1:{two_free_ports()}"
    argv = command_of(OURS, shape, model)(stream, endpoint, folder)
    argv += ["--duration", "0.1"]
    environment = {**os.environ, "LSLAPICFG": str(lsl_config), "PYTHONPATH": str(ROOT)}
    began, said = time.perf_counter(), ""
    process = subprocess.Popen(
        argv, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    overdue = Timer(PATIENCE, process.kill)
    overdue.start()
    try:
        for line in process.stderr:
            if line.startswith("READY"):
                return Start(time.perf_counter() - began, _imports(line))
            said += line
    finally:
        process.stderr.close()
        process.wait()
        overdue.cancel()
        outlet.close()
    raise RuntimeError(f"the run did not get ready: {said.strip()[-500:]}")


def _imports(line: str) -> float:
    found = re.search(r"imports_s=([\d.]+)", line)
    if found is None:
        raise RuntimeError(f"READY does not say what of it was imports: {line.strip()}")
    return float(found[1])


def measure(rounds: int, folder: Path) -> tuple[list[float], dict[str, list[Start]]]:
    """Return the times of `--help`, and each model's starts, in interleaved rounds."""
    isolate(session := f"bench-{uuid.uuid4().hex[:12]}")
    lsl_config = write_lsl_config(folder / "lsl_api.cfg", session)
    shapes = [SHAPES[name] for name in STARTED]
    models = {shape.model: Model.make(shape, folder) for shape in shapes}
    starts: dict[str, list[Start]] = {shape.model: [] for shape in shapes}
    for i in range(rounds):
        for shape in shapes:
            where = folder / f"{shape.model}-{i}"
            start = start_of(shape, models[shape.model], lsl_config, where)
            starts[shape.model].append(start)
    return [time_of_help() for _ in range(HELPS)], starts


def report(helps: Sequence[float], starts: dict[str, list[Start]], command: str) -> str:
    """Return the table and whether the bars are met."""
    rows, verdicts = [], []
    rows.append(["`rtfeedback --help`", f"{median(helps):.2f}", "-", "-"])
    met = median(helps) < HELP
    verdicts.append(_verdict(met, f"--help {median(helps):.2f} s, under {HELP:g} s"))
    for model, each in starts.items():
        ready, imports, beyond = (
            median(getattr(start, what) for start in each)
            for what in ("ready", "imports", "beyond")
        )
        row = [f"`rtfeedback run` to READY, {model}"]
        rows.append([*row, *(f"{s:.2f}" for s in (ready, imports, beyond))])
        said = f"READY with {model} {beyond:.2f} s beyond the imports, at most {READY:g} s"
        verdicts.append(_verdict(beyond <= READY, said))
    header = ("what", "s", "of these imports", "beyond them")
    return "\n".join(
        [
            provenance(command),
            "Medians, files in the page cache. 64 channels, 1000 Hz; the stream is there.\n",
            markdown_table(header, rows),
            *verdicts,
        ]
    )


def _verdict(met: bool, said: str) -> str:
    return f"- {'pass' if met else '**FAIL**'}: {said}"


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        helps, starts = measure(asked.rounds, Path(folder))
    command = shlex.join(["python", "-m", "bench.startup", *sys.argv[1:]])
    print(text := report(helps, starts, command))  # noqa: T201
    if asked.write:
        put("bench.startup", text)


if __name__ == "__main__":
    main()
