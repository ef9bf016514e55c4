"""A network on its way: epochs of steps, each epoch judged by the validation part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from offline.store.batches import batches, windows_of
from offline.store.examples import Examples, Shifted
from offline.training.augment import Augment
from offline.training.best import Best
from offline.training.descent import Descent, mean_loss
from offline.training.fit_classes import fit_classes
from offline.training.fit_config import FitConfig
from offline.training.losses import LOSSES
from offline.training.outcomes import Outcomes, RegionOutcomes
from rtfeedback.errors import ConfigError
from rtfeedback.models import EEGNet, Network
from rtfeedback.signals import Float32, Int64


@dataclass(frozen=True, slots=True)
class Supervised:
    """Windows, and what each is to be answered by."""

    examples: Examples
    outcomes: Outcomes


class Fitting:
    """A network on its way, epoch by epoch.

    Attributes
    ----------
    epoch : int
        How many are done.
    best : Best
    rng : numpy.random.Generator
        Of the order of the windows, and of how they are moved and turned.
    augment : Augment or None
    descent : Descent
    """

    def __init__(
        self,
        model: Network,
        config: FitConfig,
        train: Supervised,
        validation: Supervised | None,
        *,
        seed: int,
        waveforms: bool,
        n_bands: int,
    ) -> None:
        _check_loss(model, config)
        self.model, self.config = model, config
        self._flip = config.flip and waveforms
        self._train, self._validation = train, validation
        self._measure = LOSSES[config.loss]
        self._device = device_of(config)
        torch.manual_seed(seed)
        self.rng = np.random.default_rng(seed)
        model.scaler.fit(*train.examples.statistics())
        if isinstance(model, EEGNet) and isinstance(train.outcomes, RegionOutcomes):
            fit_classes(model, train.outcomes.z)
        model.to(self._device)
        self.augment: Augment | None = None
        if config.augment.does_anything:
            sd = model.scaler.sd
            self.augment = Augment(
                config.augment, sd, n_bands=n_bands, log_power=not waveforms, seed=seed
            )
        self._steps_each = max(1, len(train.examples) // config.batch)
        self.descent = Descent.of(model, config.epochs * self._steps_each, config)
        self._windows = windows_of(train.examples, self._device, config.memory)
        self._held = (
            windows_of(validation.examples, self._device, config.memory) if validation else None
        )
        if config.compile:
            model.compile()
        self.epoch = 0
        self.best = Best.untrained(model)

    def one_epoch(self) -> tuple[float, float, float, float]:
        """Return the loss, the validation's loss and r, and the last learning rate."""
        loss = self._descend()
        self.epoch += 1
        self.model.after_epoch()
        reached, r = loss, float("nan")
        if self._validation is not None:
            reached, r = self._validate()
        self.best.see(self.model, self.epoch, reached, r, judged=self._validation is not None)
        return loss, reached, r, self.descent.rate

    def _descend(self) -> float:
        self.model.train()
        losses = []
        for x, y in self._made():
            with self._precision():
                loss = self.model.loss(x, y, self._measure)
            self.descent(loss)
            self.model.constrain()
            losses.append(loss.detach())
        return mean_loss(losses)

    def _made(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the windows of each step as they are trained on, and their outcomes."""
        for x, step in batches(self._windows, self._steps(), self._device):
            if step.sign is not None:
                x *= torch.from_numpy(step.sign).to(x.device, non_blocking=True)
            if self.augment is not None:
                self.augment(x)
            yield x, torch.from_numpy(step.y).to(x.device, non_blocking=True)

    def _steps(self) -> Iterator[_Step]:
        """Yield the training windows once, in random order, moved and turned at random.

        Without that, a network learns the waveforms of a few hundred windows by heart.
        """
        examples, batch = self._train.examples, self.config.batch
        order = self.rng.permutation(len(examples))
        reach = round(self.config.jitter * examples.rate)
        for first in range(0, self._steps_each * batch, batch):
            which = order[first : first + batch]
            shift = self.rng.integers(-reach, reach + 1, size=len(which))
            sign = None
            if self._flip:
                signs = np.array([-1, 1], dtype=np.float32)
                sign = self.rng.choice(signs, size=(len(which), 1, 1))
            shifted = examples.shift(which, shift)
            yield _Step(shifted, self._train.outcomes.at(shifted), sign)

    @torch.inference_mode()
    def _validate(self) -> tuple[float, float]:
        """Return loss and mean r over the validation part."""
        assert self._validation is not None
        assert self._held is not None
        self.model.eval()
        examples, outcomes = self._validation.examples, self._validation.outcomes
        parts = np.array_split(np.arange(len(examples)), max(1, len(examples) // 32))
        steps = (examples.shift(part, np.zeros_like(part)) for part in parts)
        found, measured = [], []
        for x, shifted in batches(self._held, steps, self._device):
            with self._precision():
                found.append(self.model.outcome(x).float().cpu())
            measured.append(torch.from_numpy(outcomes.at(shifted)))
        outcome, y = torch.cat(found), torch.cat(measured)
        model = self.model.cpu() if self._device.type != "cpu" else self.model
        loss = mean_loss([model.loss_of(outcome, y, self._measure)])
        r = mean_r(model.z_of(outcome).numpy(), y.numpy())
        self.model.to(self._device)
        return loss, r

    def _precision(self) -> torch.autocast:
        enabled = self.config.precision == "bfloat16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=enabled)


@dataclass(frozen=True, slots=True)
class _Step:
    """The windows of a training step, what was measured, and the sign that each is given."""

    shifted: Shifted
    y: Float32
    sign: Float32 | None

    @property
    def run(self) -> Int64:
        return self.shifted.run

    @property
    def ends(self) -> Int64:
        return self.shifted.ends


def mean_r(predicted: Float32, measured: Float32) -> float:
    """Return the mean over outputs of their correlation, where measured is known."""
    known = np.isfinite(measured)
    n = np.maximum(known.sum(axis=0), 1)
    x, y = (np.where(known, each, 0.0) for each in (predicted, measured))
    x, y = (np.where(known, each - each.sum(axis=0) / n, 0.0) for each in (x, y))
    spread = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    return float(np.mean((x * y).sum(axis=0) / np.where(spread > 0, spread, 1.0)))


def _check_loss(model: Network, config: FitConfig) -> None:
    if model.gaussian is (config.loss == "nll"):
        return
    raise ConfigError(
        f"The loss '{config.loss}' does not go with the model",
        found="The model predicts a variance as well"
        if model.gaussian
        else "The model predicts no variance",
        do="Set fit.loss = 'nll' and the model's variance = true together, or neither",
    )


def device_of(config: FitConfig) -> torch.device:
    """Return where a network is trained.

    Raises
    ------
    ConfigError
        If there is no such device.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "There is no CUDA device to train on",
            found="[fit] device is 'cuda'",
            do="Train on the CPU, or install a torch that finds the GPU",
        )
    return torch.device(config.device)
