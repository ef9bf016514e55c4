"""Training windows per second and latency of every recipe, on the simulated store's shapes.

    python -m bench.zoo [--rounds N] [--device cpu|cuda|all] [--write]

Every `configs/train-*.toml` is taken as it is shipped; windows are what a store of the
simulation (64 channels at 250 Hz, behind the default chains) has, filled with noise. The
recipes take turns in each round, so that what else the machine does falls on all of them.
`--write` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch

from bench.stepping import Prediction, Step, made, trainable
from bench.tables import markdown_table, provenance, put
from offline.simulation.haemodynamics import load_brain
from offline.train import TrainConfig
from offline.training.training_process import training_process
from rtfeedback.arithmetic import fix_arithmetic
from rtfeedback.config import load_config
from rtfeedback.models import AnyModelConfig, Network, Shape
from rtfeedback.models.volume import VolumeSpec
from rtfeedback.windows import WindowSpec

SECTION = "bench.zoo"
CONFIGS = Path(__file__).resolve().parents[1] / "configs"
CHANNELS = 64
CHAINS = {"samples": (125.0, 44, 1), "tokens": (4.0, 1, 8)}
"""Of a store that `configs/prepare.toml` makes of 250 Hz: rate in hertz, samples that are
held out before a masked one, features of each channel."""
STEPS, PREDICTIONS = 2, 10  # of a turn
HEADER = (
    "recipe", "window", "predicts", "parameters", "device", "batch", "training windows/s",
    "p50 ms", "p90 ms",
)  # fmt: skip
NOTE = """Shipped recipes at their own batch and precision, medians over {rounds} interleaved
rounds of {steps} training steps and {predictions} single predictions, after one of each that is
not counted. Training by as many threads as `train` takes ({threads}), prediction by one, as in
a run; the windows lie in memory already. `closed form`: nothing is stepped.
"""


def recipes() -> dict[str, TrainConfig]:
    """Return every recipe that is shipped, by its file's name."""
    files = sorted(CONFIGS.glob("train-*.toml"))
    return {path.stem.removeprefix("train-"): load_config(path, TrainConfig) for path in files}


def simulated_volumes() -> VolumeSpec:
    """Return the volumes of a simulated dataset, at the images' own resolution."""
    brain = load_brain()
    x, y, z = brain.mask.shape
    a, b, c, d = ((r[0], r[1], r[2], r[3]) for r in brain.affine.tolist())
    n_voxels = int(brain.mask.sum())
    unit = "percent signal change"
    return VolumeSpec(grid=(x, y, z), affine=(a, b, c, d), n_voxels=n_voxels, unit=unit)


def shape_of(config: AnyModelConfig, channels: int = CHANNELS) -> Shape:
    """Return what a recipe's model is fed with and what it predicts: one region."""
    rate, hold, n_bands = CHAINS[config.chain]
    n_times = WindowSpec(length=config.length, lead=config.lead).n_times(rate)
    volume = simulated_volumes() if config.of_volumes else None
    return Shape(channels * n_bands, n_times, 1, rate, hold, n_bands, volume)


@dataclass
class Contender:
    """A recipe on a device, and what its steps and predictions took, in seconds."""

    name: str
    config: TrainConfig
    shape: Shape
    device: str = "cpu"
    steps: list[float] = field(default_factory=list)
    predictions: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._model = made(self.config.model, self.shape)
        self.parameters = trainable(self._model)
        self.batch = self.config.fit.batch
        self._step: Step | None = None
        if isinstance(self._model, Network):
            fit = self.config.fit.model_copy(update={"device": self.device})
            self._step = Step(self._model, self.shape, fit)
        # A model of its own: on a GPU, kernels that were captured know one set of weights.
        device = torch.device(self.device)
        self._prediction = Prediction(made(self.config.model, self.shape), self.shape, device)

    def take_turn(self, *, counted: bool = True) -> None:
        """Measure some steps and predictions."""
        if self._step is not None:
            with training_process():
                steps = [self._step.seconds() for _ in range(STEPS if counted else 1)]
            self.steps += steps if counted else []
        fix_arithmetic()
        predictions = [self._prediction.seconds() for _ in range(PREDICTIONS if counted else 1)]
        self.predictions += predictions if counted else []

    @property
    def rate(self) -> str:
        """Training windows per second, in words."""
        return f"{self.batch / median(self.steps):,.0f}" if self.steps else "closed form"

    def latency(self, share: float = 0.5) -> float:
        """Return a quantile of a prediction's time, in milliseconds."""
        return 1e3 * sorted(self.predictions)[int(share * (len(self.predictions) - 1) + 0.5)]

    def row(self) -> list[object]:
        """Return its row of the table."""
        return [
            self.name,
            window_in_words(self.shape),
            outcome_in_words(self.shape),
            f"{self.parameters:,}",
            self.device,
            self.batch if self.steps else "-",
            self.rate,
            f"{self.latency():.2f}",
            f"{self.latency(0.9):.2f}",
        ]


def window_in_words(shape: Shape) -> str:
    """Return how large a window is: channels, bands where it is of them, and samples."""
    bands = f" x {shape.n_bands}" if shape.n_bands > 1 else ""
    return f"{shape.n_channels}{bands} x {shape.n_times:,} at {shape.rate:g} Hz"


def outcome_in_words(shape: Shape) -> str:
    """Return what is predicted."""
    return f"{shape.volume.n_voxels:,} voxels" if shape.volume else "a region"


def report(
    rounds: int, devices: Sequence[str], names: Sequence[str], channels: int = CHANNELS
) -> str:
    """Measure, and return the table and what it says, as Markdown."""
    every = recipes()
    contenders = [
        Contender(name, every[name], shape_of(every[name].model, channels), device)
        for name in names
        for device in devices
    ]
    for i in range(rounds + 1):
        for contender in contenders:
            contender.take_turn(counted=i > 0)
    with training_process():
        threads = torch.get_num_threads()
    note = NOTE.format(rounds=rounds, steps=STEPS, predictions=PREDICTIONS, threads=threads)
    table = markdown_table(HEADER, [contender.row() for contender in contenders])
    command = f"python -m {SECTION} --rounds {rounds}"
    if len(names) < len(every):
        command += f" --recipes {' '.join(names)}"
    return "\n".join((provenance(command), note, table))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = list(recipes())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda", "all"), default="all")
    parser.add_argument("--recipes", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    given = parser.parse_args()
    every = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    devices = every if given.device == "all" else (given.device,)
    text = report(given.rounds, devices, given.recipes)
    print(text)  # noqa: T201
    if given.write:
        put(SECTION, text)


if __name__ == "__main__":
    main()
