"""A training's state at the end of each epoch, kept so that one that was killed goes on."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from offline.training.augment import Augment
from offline.training.best import Best
from offline.training.descent import Descent
from rtfeedback.config import Config
from rtfeedback.errors import OutputError

FILE = "state.safetensors"  # tensors, and the rest as JSON in its header: no code in data
FACTS = "facts"
PACKAGES = ("rtfeedback", "numpy", "torch")


def key_of(*depends: Config | str | int) -> str:
    """Return what a training depends on, as a hash: data, recipe and, with them, versions."""
    versions = {name: version(name) for name in PACKAGES}
    told = [e.model_dump(mode="json") if isinstance(e, Config) else e for e in depends]
    return hashlib.sha256(json.dumps([*told, versions], sort_keys=True).encode()).hexdigest()


class Epochs(Protocol):
    """A network on its way, and all that its next epoch depends on.

    Attributes
    ----------
    epoch : int
        How many are done.
    """

    epoch: int

    @property
    def model(self) -> nn.Module:
        """All that is trained."""

    @property
    def descent(self) -> Descent:
        """How it is."""

    @property
    def rng(self) -> np.random.Generator:
        """Return the generator of what is drawn beside torch's own draws."""

    @property
    def augment(self) -> Augment | None:
        """What is done to windows at random."""

    @property
    def best(self) -> Best:
        """The epoch that is kept."""

    def one_epoch(self) -> tuple[float, float, float, float]:
        """Return the loss, the validation's loss and r, and the last learning rate."""


class TrainingState:
    """What a training needs to go on to the same weights.

    Parameters
    ----------
    folder : Path
        Of its own, and of no other training (see `staging.unfinished`).
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def keep(self, fitting: Epochs) -> None:
        """Keep the state as it is now, whole or not at all.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        begun = self._path.with_suffix(".begun")
        facts = json.dumps(_facts(fitting))
        try:
            save_file(dict(_tensors(fitting)), begun, metadata={FACTS: facts})
        except SafetensorError as error:
            begun.unlink(missing_ok=True)
            raise _as_of_the_system(error, begun) from error
        begun.replace(self._path)

    def restore(self, fitting: Epochs) -> None:
        """Bring a training to where it was kept, if it was.

        Raises
        ------
        OutputError
            If what was kept was torn or altered since.
        """
        if not self._path.is_file():
            return
        try:
            with safe_open(self._path, "pt") as file:
                facts = json.loads(file.metadata()[FACTS])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            _restore(fitting, facts, tensors)
        except (
            SafetensorError,
            OSError,
            LookupError,
            TypeError,
            ValueError,
            RuntimeError,
        ) as e:
            raise OutputError(
                "What was kept of the training that was cut off cannot be read",
                found=" ".join(str(e).split()) or type(e).__name__,
                do="It is thrown away: give the same command again, to begin anew",
            ) from e


def _as_of_the_system(error: SafetensorError, path: Path) -> OSError:
    """Return the system's own error, which safetensors tells as text alone."""
    code = re.search(r"os error (\d+)", str(error))
    number = int(code[1]) if code else errno.EIO
    return OSError(number, os.strerror(number), str(path))


def _facts(fitting: Epochs) -> dict[str, Any]:
    best = fitting.best
    return {
        "epoch": fitting.epoch,
        "step": fitting.descent.step,
        "best": {"loss": best.loss, "epoch": best.epoch, "r": best.r},
        "rng": fitting.rng.bit_generator.state,
    }


def _tensors(fitting: Epochs) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in fitting.model.state_dict().items():
        yield f"model.{name}", tensor.cpu().contiguous().clone()
    for name, tensor in fitting.best.weights.items():
        yield f"best.{name}", tensor.cpu().contiguous().clone()
    for index, moments in fitting.descent.optimiser.state_dict()["state"].items():
        for name, tensor in moments.items():
            yield f"optimiser.{index}.{name}", tensor.cpu().contiguous().clone()
    yield "random.torch", torch.get_rng_state()
    if fitting.augment is not None:
        yield "random.augment", fitting.augment.random.get_state()
    if torch.cuda.is_available():
        yield "random.cuda", torch.cuda.get_rng_state()


def _restore(fitting: Epochs, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    fitting.model.load_state_dict(_below("model.", tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below("optimiser.", tensors).items():
        index, moment = name.split(".", 1)
        state.setdefault(int(index), {})[moment] = tensor
    known = fitting.descent.optimiser.state_dict()
    fitting.descent.optimiser.load_state_dict({**known, "state": state})
    fitting.epoch, fitting.descent.step = facts["epoch"], facts["step"]
    fitting.rng.bit_generator.state = facts["rng"]
    best = fitting.best
    best.loss, best.epoch, best.r = (facts["best"][key] for key in ("loss", "epoch", "r"))
    best.weights = _below("best.", tensors)
    torch.set_rng_state(tensors["random.torch"])
    if fitting.augment is not None:
        fitting.augment.random.set_state(tensors["random.augment"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    found = tensors.items()
    return {name.removeprefix(prefix): each for name, each in found if name.startswith(prefix)}
