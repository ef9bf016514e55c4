"""The online job, measured: the floor, a run, MNE-LSL, timeflux and NeuXus in turn.

python -m bench.online [--rounds N] [--seconds S] [--shapes NAME ...] \
    [--contenders NAME ...] [--write]

Some ten minutes; `--shapes all --contenders all` takes an hour, and is all: the models
on the real chain, StreamLSL with its own thread, timeflux and NeuXus as well. Rivals are
installed into build/rivals when first asked for. `--write` puts the tables into
docs/benchmarks.md: those of the models on the real chain into a section of their own.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

from bench.online.contenders import CONTENDERS, FLOOR, OURS
from bench.online.report import report
from bench.online.rounds import run_rounds
from bench.online.shapes import SHAPES
from bench.tables import put

USUAL = (FLOOR, OURS, "mne-lsl-manual")
SECTIONS = {"bench.online": True, "bench.online.chains": False}
USUAL_SHAPES = [name for name, shape in SHAPES.items() if shape.trivial]


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--shapes", nargs="+", choices=[*SHAPES, "all"], default=USUAL_SHAPES)
    parser.add_argument("--contenders", nargs="+", choices=[*CONTENDERS, "all"], default=USUAL)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    names = list(SHAPES) if "all" in asked.shapes else asked.shapes
    contenders = list(CONTENDERS) if "all" in asked.contenders else asked.contenders
    with tempfile.TemporaryDirectory() as scratch:
        results = run_rounds(
            [SHAPES[name] for name in names], contenders,
            rounds=asked.rounds, seconds=asked.seconds, folder=Path(scratch),
        )  # fmt: skip
    command = shlex.join(["python", "-m", "bench.online", *sys.argv[1:]])
    for section, trivial in SECTIONS.items():
        chosen = [result for result in results if result.shape.trivial == trivial]
        if not chosen:
            continue
        text = report(chosen, command)
        print(text)  # noqa: T201
        if asked.write:
            put(section, text)


if __name__ == "__main__":
    main()
