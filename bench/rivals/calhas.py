"""Our `calhas`, or its plain twin, at the paper's shapes, told over stdin what to do.

    python -m bench.rivals.calhas ours|ours-of-spectra|twin --threads N [--keep-memory]

A line of stdin is `train N` or `predict N`; the answer is a line of JSON, what each took in
seconds. Ours begins with windows of samples and makes its spectra itself, unless it is given
them as the twin and the original are.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from bench.paper import PAPER
from bench.rivals.calhas_twin import EEG, FMRI, Twin
from bench.stepping import Prediction, Step, made, timed, trainable
from offline.training.fit_config import FitConfig
from offline.training.training_process import keep_memory
from rtfeedback.arithmetic import fix_arithmetic
from rtfeedback.models import Calhas

LEARNING_RATE = 2.98e-3
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Contender:
    """What is timed."""

    parameters: int
    train: Callable[[], float]
    """Take a step; return the seconds that it took."""
    predict: Callable[[], float]
    """Predict one volume; return the seconds that it took."""


class Given(nn.Module):
    """Spectra that are there already, whatever the samples."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.spectra = torch.randn(batch, *EEG)

    def forward(self, x: Tensor) -> Tensor:
        """Return as many as there are windows."""
        return self.spectra[: len(x)]


def ours(batch: int, *, of_spectra: bool = False) -> Contender:
    """Return `rtfeedback.models.Calhas`, stepped as `fit_network` steps it."""
    case = PAPER["calhas"]
    model = made(case.config, case.shape)
    assert isinstance(model, Calhas)
    if of_spectra:
        model.spectra = Given(batch)  # type: ignore[assignment]
    fit = FitConfig(
        batch=batch, loss="mae", optimiser="adam", learning_rate=LEARNING_RATE, weight_decay=0.0
    )
    step, prediction = Step(model, case.shape, fit), Prediction(model, case.shape, CPU)
    return Contender(trainable(model), step.seconds, prediction.seconds)


def twin(batch: int) -> Contender:
    """Return the twin, stepped by plain Adam."""
    torch.manual_seed(0)
    model = Twin()
    optimiser = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    x, y = torch.randn(batch, *EEG), torch.randn(batch, *FMRI)

    def step() -> Tensor:
        optimiser.zero_grad()
        loss = model.loss(x, y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss

    def train() -> float:
        model.train()
        return timed(step, CPU)

    @torch.inference_mode()
    def predict() -> float:
        model.eval()
        return timed(lambda: model(x[:1])[0].numpy(), CPU)

    return Contender(trainable(model), train, predict)


CONTENDERS = {"ours": ours, "ours-of-spectra": partial(ours, of_spectra=True), "twin": twin}


def main() -> None:
    """Read the command line, then stdin to its end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", choices=CONTENDERS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--keep-memory", action="store_true", help="as `train` does")
    given = parser.parse_args()
    if given.keep_memory:
        keep_memory()
    fix_arithmetic(given.threads)
    contender = CONTENDERS[given.which](given.batch)
    print(json.dumps({"parameters": contender.parameters}), flush=True)  # noqa: T201
    for line in sys.stdin:
        what, n = line.split()
        job = contender.train if what == "train" else contender.predict
        print(json.dumps([job() for _ in range(int(n))]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
