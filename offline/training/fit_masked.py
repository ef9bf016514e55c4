"""Fit a transformer to continuous EEG features by hiding patches of windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from offline.store.batches import made_ahead
from offline.store.dataset import window_at
from offline.store.examples import feature_statistics
from offline.training.best import Best
from offline.training.descent import Descent, mean_loss
from offline.training.epochs import run_epochs
from offline.training.masked_patches import MaskConfig, MaskedPatches
from offline.training.training_log import Log
from offline.training.training_state import TrainingState
from rtfeedback.config import Config
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.models.patch_transformer import PatchTransformer
from rtfeedback.signals import Float32

LARGEST_GRADIENT = 1.0  # norm to which gradients are clipped
WARM_UP = 0.1  # share of the steps over which the learning rate rises


class PretrainFit(Config):
    """How the weights are found."""

    epochs: Annotated[int, Field(gt=0)] = 40
    """At most so many."""
    windows: Annotated[int, Field(gt=0)] = 512
    """Windows of an epoch, from anywhere in the recordings."""
    patience: Annotated[int, Field(gt=0)] = 8
    """Stop after so many epochs without a lower validation loss."""
    batch: Annotated[int, Field(gt=1)] = 16
    """Windows per step."""
    length: Annotated[float, Field(gt=0)] = 32.0
    """Seconds of a window: what the newest output sees, and as much to tell patches in."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak of AdamW's rate; it rises over the first tenth, then falls as a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Weight decay of AdamW."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the network is trained."""


class Stretches(NamedTuple):
    """Continuous features, each float32 of shape (n_times, n_features), by what they are for.

    Attributes
    ----------
    names : tuple of str
        Of the recordings that are trained on.
    stopped_by : tuple of str
        Of others, by which it is seen when to stop.
    """

    names: tuple[str, ...]
    train: list[Float32]
    validation: list[Float32]
    stopped_by: tuple[str, ...] = ()


def fit_masked(
    model: PatchTransformer,
    stretches: Stretches,
    fit: PretrainFit,
    mask: MaskConfig,
    *,
    rate: float,
    seed: int,
    log: Log | None = None,
    state: TrainingState | None = None,
) -> dict[str, float | int | str]:
    """Fit a transformer by hiding patches; return what it reached.

    The weights kept are those of the epoch with the lowest validation loss, always over the
    same windows and masks; of the last one where there is no validation part.

    Parameters
    ----------
    model : PatchTransformer
    stretches : Stretches
    fit : PretrainFit
    mask : MaskConfig
    rate : float
        Of the features, in hertz.
    seed : int
        Of windows and masks.
    log, state : optional
        As `run_epochs`.

    Raises
    ------
    DatasetError
        If no stretch holds a whole window.
    ConfigError
        If windows are shorter than what the model sees, or the training diverges.
    """
    fitting = MaskedFitting(model, stretches, fit, mask, rate=rate, seed=seed)
    run_epochs(fitting, log, state, epochs=fit.epochs, patience=fit.patience)
    model.load_state_dict(fitting.best.weights)
    model.cpu()
    return {"epochs": fitting.best.epoch, "loss": fitting.best.loss}


class MaskedFitting:
    """A transformer on its way, epoch by epoch; see `Epochs`."""

    augment = None

    def __init__(
        self,
        transformer: PatchTransformer,
        stretches: Stretches,
        fit: PretrainFit,
        mask: MaskConfig,
        *,
        rate: float,
        seed: int,
    ) -> None:
        n_patches = round(fit.length * rate) // transformer.stride
        _check_length(transformer, n_patches, fit.length)
        self._fit, self._n_times = fit, n_patches * transformer.stride
        self._train, self._validation = (
            [each for each in part if len(each) >= self._n_times]
            for part in (stretches.train, stretches.validation)
        )
        if not self._train:
            raise DatasetError(
                "No recording holds a whole window",
                found=f"{fit.length:g} s of settled EEG in none of {len(stretches.train)}",
                do="Shorten fit.length, or record for longer",
            )
        transformer.scaler.fit(*feature_statistics(lambda: self._train))
        self._transformer = transformer
        self.model = MaskedPatches(transformer, mask).to(fit.device)
        self.descent = Descent(
            self.model,
            fit.epochs * -(-fit.windows // fit.batch),
            optimiser="adamw",
            largest=fit.learning_rate,
            warm_up=WARM_UP,
            weight_decay=fit.weight_decay,
            clip=LARGEST_GRADIENT,
        )
        self.rng = np.random.default_rng(seed)
        self.epoch, self.best = 0, Best.untrained(transformer)

    def one_epoch(self) -> tuple[float, float, float, float]:
        """Return the loss, the validation's loss, NaN for its r, and the last learning rate."""
        windows = _anywhere(self._train, self._n_times, self.rng, self._fit.windows)
        loss = reached = self._descend(_batches(self.model, windows, self.rng, self._fit))
        self.epoch += 1
        if self._validation:
            same = np.random.default_rng(0)
            held = _in_turn(self._validation, self._n_times)
            reached = _validate(self.model, _batches(self.model, held, same, self._fit))
        self.best.see(self._transformer, self.epoch, reached, judged=bool(self._validation))
        return loss, reached, np.nan, self.descent.rate

    def _descend(self, made: Iterator[tuple[Tensor, Tensor]]) -> float:
        self.model.train()
        losses = []
        for x, hidden in made_ahead(made):
            loss = self.model(x, hidden)
            self.descent(loss)
            losses.append(loss.detach())
        return mean_loss(losses)


def _check_length(model: PatchTransformer, n_patches: int, length: float) -> None:
    if n_patches < model.config.reach:
        raise ConfigError(
            f"Windows of {length:g} s are too short to pretrain on",
            found=f"They hold {n_patches} patches, and the newest output sees"
            f" {model.config.reach}",
            do="Lengthen fit.length: patches are told in what is more than that",
        )


def _in_turn(stretches: Sequence[Float32], n_times: int) -> Iterator[Float32]:
    """Yield windows side by side, (n_features, n_times)."""
    for each in stretches:
        for end in range(n_times - 1, len(each), n_times):
            yield window_at(each, end, n_times)


def _anywhere(
    stretches: Sequence[Float32], n_times: int, rng: np.random.Generator, n: int
) -> Iterator[Float32]:
    """Yield windows from places drawn at random, each as likely as any."""
    places = np.cumsum([len(each) - n_times + 1 for each in stretches])
    for drawn in rng.integers(places[-1], size=n):
        which = int(np.searchsorted(places, drawn, side="right"))
        end = len(stretches[which]) - 1 - int(places[which] - 1 - drawn)
        yield window_at(stretches[which], end, n_times)


def _batches(
    network: MaskedPatches,
    windows: Iterator[Float32],
    rng: np.random.Generator,
    fit: PretrainFit,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield windows and which of their patches to hide, on the device."""
    while batch := list(islice(windows, fit.batch)):
        n_patches = batch[0].shape[1] // network.model.stride
        hidden = network.draw(rng, len(batch), n_patches)
        yield (
            torch.from_numpy(np.stack(batch)).to(fit.device),
            torch.from_numpy(hidden).to(fit.device),
        )


@torch.inference_mode()
def _validate(network: MaskedPatches, held: Iterator[tuple[Tensor, Tensor]]) -> float:
    network.eval()
    return mean_loss([network(x, hidden) for x, hidden in held])
