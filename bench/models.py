"""The table of docs/models.md: every recipe trained on one simulated store, and measured.

    python -m bench.models [--regions] [--quick] [--recipes NAME ...] [--store FOLDER] [--write]

Simulates and prepares a dataset with whole volumes, trains each shipped recipe on it as it is
(`rtfeedback train`), and reads validation runs alone: the test part is not touched. `--quick`
makes a small dataset and stops after one epoch: then the figures of skill say only that
everything runs. `--regions` trains those of volumes, on volumes that hold the simulated regions
alone. `--write` puts the table into docs/models.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from bench.stepping import trainable
from bench.tables import BENCHMARKS, markdown_table, provenance, put
from bench.zoo import Contender, outcome_in_words, recipes, window_in_words
from offline.prepare import PrepareConfig, prepare
from offline.simulate import SimulateConfig, simulate
from offline.store.dataset import Store
from offline.store.examples import Examples
from offline.train import TrainConfig, train
from offline.training.split_examples import split_store
from offline.training.training_spec import aims_of
from rtfeedback.checkpoint import CheckpointSpec, load_checkpoint
from rtfeedback.models import Shape
from rtfeedback.signals import Float64

SECTION = "bench.models"
MODELS = BENCHMARKS.with_name("models.md")
MASK = "derivatives/simulated/motor_mask.nii.gz"
ATLAS = "derivatives/simulated/atlas.nii.gz"
TARGETS = [{"name": "motor", "mask": MASK}]
PREPARE: dict[str, dict[str, Any]] = {
    "brain": {"volumes": {}, "targets": TARGETS},
    "regions": {"volumes": {"mask": ATLAS}, "targets": TARGETS},
}
FULL = SimulateConfig()
QUICK = SimulateConfig(subjects=1, runs=3, volumes=80)
ROUNDS = 3
HEADER = (
    "recipe", "window", "predicts", "parameters", "training windows/s", "prediction ms",
    "validation r", "validation loss", "best epoch", "trained s",
)  # fmt: skip
NOTE = """{subjects} subjects x {runs} runs x {volumes} volumes, simulated; {epochs}. Rates and
latencies on the CPU, as `bench.zoo` takes them, medians of {rounds} interleaved rounds.
*Validation r* is of the first target, {target}, on the runs that stopped the training and so a
little kind to networks; it includes the task, which the design alone tells a good part of; of
`eegnet-conditions`, of the condition's probability. *Validation loss* is the recipe's own, of
the epoch that was kept; of a model of volumes, over all voxels, those outside the
simulation's regions included.{regions}{warning}
"""
REGIONS = """
Volumes here hold the voxels of the simulated regions alone: all others of a brain, in the
table above, are noise."""
WARNING = """
**Made with --quick: r and loss say that everything runs, and nothing about skill.**"""


@dataclass(frozen=True, slots=True)
class Trained:
    """A recipe's model, as it came out of its training.

    Attributes
    ----------
    name : str
    config : TrainConfig
    shape : Shape
    parameters : int
    r, loss : float
        On the validation runs.
    loss_name : str
    epoch : int
        That was kept; 0 where there are none.
    seconds : float
    """

    name: str
    config: TrainConfig
    shape: Shape
    parameters: int
    r: float
    loss: float
    loss_name: str
    epoch: int
    seconds: float

    def row(self, measured: Contender) -> list[object]:
        """Return its row of the table, with what its speed was measured at."""
        return [
            f"`{self.name}`",
            window_in_words(self.shape),
            outcome_in_words(self.shape),
            f"{self.parameters:,}",
            measured.rate,
            f"{measured.latency():.2f}",
            f"{self.r:.2f}",
            f"{self.loss_name} {self.loss:.3f}",
            self.epoch or "-",
            f"{self.seconds:.0f}",
        ]


def make_store(folder: Path, config: SimulateConfig, of: str) -> Store:
    """Simulate and prepare a dataset in a folder; one that was made there is taken again.

    Its volumes are of the whole `brain`, or of the `regions` alone.
    """
    if not (folder / "bids").exists():
        simulate(folder / "bids", config)
    if not (folder / of).exists():
        prepare(folder / "bids", folder / of, PrepareConfig.model_validate(PREPARE[of]))
    return Store(folder / of)


def trained(store: Store, out: Path, name: str, config: TrainConfig) -> Trained:
    """Train a recipe, and judge it by its validation runs."""
    began = time.perf_counter()
    spec = train(store, out, config)
    seconds = time.perf_counter() - began
    model = load_checkpoint(out).model.eval()
    predicted, measured = on_validation(store, config, spec, model)
    notes, is_stepped = spec.training.notes, "epochs" in spec.training.notes
    return Trained(
        name=name,
        config=config,
        shape=spec.shape,
        parameters=trainable(model),
        r=float(np.corrcoef(predicted[:, 0], measured[:, 0])[0, 1]),
        loss=float(notes["loss"] if is_stepped else np.mean((predicted - measured) ** 2)),
        loss_name=loss_name(config) if is_stepped else "mse",
        epoch=int(notes.get("epochs", 0)),
        seconds=seconds,
    )


def loss_name(config: TrainConfig) -> str:
    """Return what a recipe's loss is called: that of classes is the cross-entropy."""
    of_classes = getattr(config.model, "head", "value") != "value"
    return "cross-entropy" if of_classes else config.fit.loss


@torch.inference_mode()
def on_validation(
    store: Store, config: TrainConfig, spec: CheckpointSpec, model: torch.nn.Module
) -> tuple[Float64, Float64]:
    """Return targets' z of the validation windows, as predicted and as measured."""
    aims = aims_of(store, config.model, config.ahead, split_store(store, config.split))
    runs = spec.training.validation
    windows = Examples(store, runs, spec.model.chain, spec.window, aims=aims)
    parts = np.array_split(np.arange(len(windows)), len(windows) // 32 + 1)
    found = [model(torch.from_numpy(windows.gather(part))).double().numpy() for part in parts]
    return np.concatenate(found), windows.z(spec.targets)


def quick(config: TrainConfig) -> TrainConfig:
    """Return a recipe that stops after one epoch."""
    return config.model_copy(update={"fit": config.fit.model_copy(update={"epochs": 1})})


def report(folder: Path, names: Sequence[str], *, of: str, is_quick: bool) -> str:
    """Train and measure, and return the table and what it says, as Markdown."""
    simulated, every = QUICK if is_quick else FULL, recipes()
    store, done = make_store(folder, simulated, of), []
    with TemporaryDirectory(dir=folder) as out:
        for name in names:
            print(f"{name}", file=sys.stderr, flush=True)  # noqa: T201
            config = quick(every[name]) if is_quick else every[name]
            done.append(trained(store, Path(out) / name, name, config))
    text = table(done, 1 if is_quick else ROUNDS)
    note = NOTE.format(
        subjects=simulated.subjects,
        runs=simulated.runs,
        volumes=simulated.volumes,
        epochs="one epoch each" if is_quick else "epochs by the recipe",
        rounds=1 if is_quick else ROUNDS,
        target=store.manifest.targets[0].name,
        regions=REGIONS if of == "regions" else "",
        warning=WARNING if is_quick else "",
    )
    options = (" --regions" if of == "regions" else "") + (" --quick" if is_quick else "")
    command = f"python -m {SECTION}{options}"
    if len(names) < len(names_of(of)):
        command += f" --recipes {' '.join(names)}"
    return "\n".join((provenance(command), note, text))


def names_of(of: str) -> list[str]:
    """Return the recipes that are for a store: for one of regions, those of volumes."""
    every = recipes().items()
    return [name for name, config in every if of == "brain" or config.model.of_volumes]


def table(done: Sequence[Trained], rounds: int) -> str:
    """Measure the speed of what was trained, and return the table."""
    contenders = [Contender(each.name, each.config, each.shape) for each in done]
    for i in range(rounds + 1):
        for contender in contenders:
            contender.take_turn(counted=i > 0)
    pairs = zip(done, contenders, strict=True)
    return markdown_table(HEADER, [each.row(measured) for each, measured in pairs])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", action="store_true", help="volumes of regions alone")
    parser.add_argument("--quick", action="store_true", help="a small dataset, one epoch each")
    parser.add_argument("--recipes", nargs="+", choices=list(recipes()), metavar="NAME")
    parser.add_argument("--store", type=Path, help="keep dataset and stores in this folder")
    parser.add_argument("--write", action="store_true", help="into docs/models.md")
    given = parser.parse_args()
    of = "regions" if given.regions else "brain"
    names = given.recipes or names_of(of)
    with TemporaryDirectory() as folder:
        if given.store:
            given.store.mkdir(parents=True, exist_ok=True)
        text = report(given.store or Path(folder), names, of=of, is_quick=given.quick)
    print(text)  # noqa: T201
    if given.write:
        put(SECTION if of == "brain" else f"{SECTION}.{of}", text, MODELS)


if __name__ == "__main__":
    main()
