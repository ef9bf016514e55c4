"""How fast windows come to a training, against torch's DataLoader, and what memory they take.

    python -m bench.batches [--subjects 1,4,16] [--rounds N] [--write]

A store of the shape of ds000116 (16 subjects, 6 runs each, 34 channels at 1000 Hz, windows of
30 s for 155 volumes of a run) is made of noise in a temporary folder: 4.6 GB, removed again.
All contenders read the same files in the same run and take turns in each round. `--write` puts
the tables into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.noise_store import CHAIN, Shape, make_store
from bench.tables import GIB, markdown_table, provenance, put
from offline.store.batches import Mapped, Resident, batches
from offline.store.dataset import Store, window_at
from offline.store.examples import Examples
from offline.training.fit_config import FitConfig
from offline.training.fit_network import fit_network
from offline.training.fitting import Supervised
from offline.training.outcomes import RegionOutcomes
from offline.training.training_process import training_process
from rtfeedback.models import EEGNetConfig, Network, build_model
from rtfeedback.models import Shape as WindowShape
from rtfeedback.signals import Float32
from rtfeedback.windows import WindowSpec

SECTION = "bench.batches"
BATCH = 32
WORKERS = 2
HEADER = (
    "subjects", "windows", "as arrays GiB", "windows GiB", "DataLoader /s", "memory maps /s",
    "ratio", "in memory /s", "ratio",
)  # fmt: skip
NOTE = """Windows per second to a training on the CPU, batches of {batch} in random order,
median of {rounds} interleaved rounds of {n} batches. `DataLoader`: {workers} workers over the
same memory maps, each window a copy; its first batch, and so its start, is not counted. *memory
maps*: `Mapped`, read ahead by one thread. *in memory*: `Resident`, one copy. Ratios are of the
medians, to the DataLoader's. The files lie in the page cache for all of them.
"""
EPOCH = """One epoch of `fit_network` over {windows:,} windows of {features} x {n_times}
({gib:.1f} GiB if they were materialised), {model}: {seconds:.0f} s, {rate:.0f} windows/s with
forward, backward and step; peak RSS {rss:.2f} GiB, of which {bare:.2f} were taken before.
"""


def examples_of(store: Store, subjects: int, shape: Shape) -> Examples:
    """Return the windows of the first subjects."""
    names = [run.name for run in store.manifest.runs][: subjects * shape.runs]
    return Examples(store, names, CHAIN, WindowSpec(length=shape.length))


class WindowDataset(Dataset[tuple[Float32, Float32]]):
    """What one would hand to a DataLoader: a window out of a memory map, and its target."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples
        self._features = [examples.features(i) for i in range(len(examples.runs))]
        self._y = examples.targets.astype(np.float32)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, i: int) -> tuple[Float32, Float32]:
        every = self._examples
        rows = self._features[every.run[i]]
        return window_at(rows, int(every.ends[i]), every.n_times), self._y[i]


Batches = Callable[[Examples, torch.Generator], Iterator[Tensor]]


def by_dataloader(examples: Examples, random: torch.Generator) -> Iterator[Tensor]:
    """Yield windows as torch's DataLoader does."""
    loader = DataLoader(
        WindowDataset(examples), BATCH, shuffle=True, num_workers=WORKERS, generator=random
    )
    for x, _ in loader:
        yield x


def by_maps(examples: Examples, random: torch.Generator) -> Iterator[Tensor]:
    """Yield windows out of memory maps, read ahead."""
    return _ours(Mapped(examples, torch.device("cpu")), examples, random)


def in_memory() -> Batches:
    """Return what yields windows out of one copy, which is made once for all rounds."""
    copies: dict[int, Resident] = {}

    def resident(examples: Examples, random: torch.Generator) -> Iterator[Tensor]:
        if id(examples) not in copies:
            copies.clear()
            copies[id(examples)] = Resident(examples, torch.device("cpu"))
        return _ours(copies[id(examples)], examples, random)

    return resident


def _ours(
    windows: Mapped | Resident, examples: Examples, random: torch.Generator
) -> Iterator[Tensor]:
    order = torch.randperm(len(examples), generator=random).numpy()
    parts = (order[i : i + BATCH] for i in range(0, len(order), BATCH))
    steps = (examples.shift(part, np.zeros_like(part)) for part in parts)
    for x, _ in batches(windows, steps, torch.device("cpu")):
        yield x


@dataclass
class Contender:
    """A way to get windows, and how many came in a second in each round."""

    name: str
    make: Batches
    rates: list[float] = field(default_factory=list)

    def take_turn(self, examples: Examples, n_batches: int, seed: int) -> None:
        """Measure for some batches, after one that is not counted."""
        made = self.make(examples, torch.Generator().manual_seed(seed))
        next(made)
        began, n = time.perf_counter(), 0
        for _, x in zip(range(n_batches), made, strict=False):
            n += len(x)
        self.rates.append(n / (time.perf_counter() - began))
        del made


def speed(
    store: Store, subjects: Sequence[int], shape: Shape, rounds: int, n_batches: int
) -> str:
    """Return the table of windows per second."""
    rows = []
    for count in subjects:
        examples = examples_of(store, count, shape)
        contenders = [
            Contender("loader", by_dataloader),
            Contender("maps", by_maps),
            Contender("memory", in_memory()),
        ]
        for seed in range(rounds):
            for contender in contenders:
                contender.take_turn(examples, n_batches, seed)
        loader, maps, memory = (median(contender.rates) for contender in contenders)
        rows.append([count, f"{len(examples):,}", *_sizes(examples), f"{loader:,.0f}",
                     f"{maps:,.0f}", f"{maps / loader:.1f}", f"{memory:,.0f}",
                     f"{memory / loader:.1f}"])  # fmt: skip
    note = NOTE.format(batch=BATCH, rounds=rounds, n=n_batches, workers=WORKERS)
    return f"{note}\n{markdown_table(HEADER, rows)}"


def _sizes(examples: Examples) -> tuple[str, str]:
    arrays = sum(examples.features(i).nbytes for i in range(len(examples.runs)))
    n_features = examples.features(0).shape[1]
    windows = 4 * len(examples) * n_features * examples.n_times
    return f"{arrays / GIB:.2f}", f"{windows / GIB:.1f}"


def epoch(store: Store, shape: Shape) -> dict[str, float]:
    """Train a small EEGNet for one epoch on all there is; return what that took."""
    with training_process():
        bare = _peak()
        examples = examples_of(store, len(store.runs), shape)
        model = build_model(
            small_eegnet(shape),
            WindowShape(
                n_features=shape.channels,
                n_times=examples.n_times,
                n_targets=1,
                rate=examples.rate,
            ),
        )
        assert isinstance(model, Network)
        fit, began = FitConfig(epochs=1, batch=BATCH), time.perf_counter()
        told = Supervised(examples, RegionOutcomes(examples.targets))
        fit_network(model, fit, told, None, seed=0)
        seconds = time.perf_counter() - began
    return {"windows": len(examples), "seconds": seconds, "rss": _peak(), "bare": bare}


def small_eegnet(shape: Shape) -> EEGNetConfig:
    """Return a network whose step is short, so that data are what a step may wait for."""
    return EEGNetConfig(length=shape.length, f1=2, depth=1, f2=4, kernel=0.05)


def _peak() -> float:
    """Return the most memory that this process has held, in GiB.

    Not getrusage's: Linux lets that begin at what the parent held when it started this one.
    """
    facts = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    held = next(line.split()[1] for line in facts if line.startswith("VmHWM:"))
    return int(held) * 1024 / GIB


def epoch_in_a_process(store: Path, shape: Shape) -> str:
    """Return a sentence on an epoch in a process of its own, whose peak is then its own."""
    command = [sys.executable, "-m", SECTION, "--epoch", str(store)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    took = json.loads(done.stdout.splitlines()[-1])
    config = small_eegnet(shape)
    n_times = round(shape.length * shape.rate)
    size = 4 * took["windows"] * shape.channels * n_times / GIB
    return EPOCH.format(
        **took,
        features=shape.channels,
        n_times=f"{n_times:,}",
        gib=size,
        rate=took["windows"] / took["seconds"],
        model=f"EEGNet with f1 = {config.f1}, depth = {config.depth}, f2 = {config.f2},"
        f" kernel {config.kernel:g} s",
    )


def report(folder: Path, subjects: Sequence[int], rounds: int, n_batches: int) -> str:
    """Measure, and return the tables and what they say, as Markdown."""
    shape = Shape()
    store = make_store(folder / "store", max(subjects), shape)
    parts = [speed(store, subjects, shape, rounds, n_batches)]
    parts.append(epoch_in_a_process(store.path, shape))
    listed = ",".join(map(str, subjects))
    command = f"python -m {SECTION} --subjects {listed} --rounds {rounds}"
    return "\n".join((provenance(command), *parts))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subjects", default="1,4,16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=20, help="of a turn")
    parser.add_argument("--folder", type=Path, help="where to put the store for a while")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--epoch", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.epoch:
        print(json.dumps(epoch(Store(given.epoch), Shape())))  # noqa: T201
        return
    subjects = [int(each) for each in given.subjects.split(",")]
    with TemporaryDirectory(dir=given.folder) as folder:
        text = report(Path(folder), subjects, given.rounds, given.batches)
    print(text)  # noqa: T201
    if given.write:
        put(SECTION, text)


if __name__ == "__main__":
    main()
