"""Fit a network by gradient descent, stopped early by the validation runs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from offline.evaluation.metrics import pearson
from offline.progress import epochs_bar
from offline.store.batches import Windows, batches, windows_of
from offline.store.examples import Examples, Shifted
from offline.training.augment import Augment, AugmentConfig
from rtfeedback.config import Config
from rtfeedback.errors import ConfigError
from rtfeedback.models import Network
from rtfeedback.signals import Float32, Float64, Int64

LARGEST_GRADIENT = 1.0  # norm to which gradients are clipped


class FitConfig(Config):
    """How a network is fitted; closed-form models have no use for it."""

    epochs: Annotated[int, Field(gt=0)] = 24
    """At most so many passes over the training windows."""
    patience: Annotated[int, Field(gt=0)] = 8
    """Stop after so many epochs without a lower validation loss."""
    batch: Annotated[int, Field(gt=1)] = 32
    """Windows per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Peak of AdamW's rate; it rises over the first tenth, then falls as a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Weight decay of AdamW."""
    jitter: Annotated[float, Field(ge=0)] = 1.0
    """Seconds by which a training window may end earlier or later, its target then
    interpolated between volumes. 0: none."""
    flip: bool = True
    """Turn the sign of half of the training windows: power has no polarity. Windows of
    band-power tokens, which have a sign, are never turned."""
    augment: AugmentConfig = AugmentConfig()
    """What else is done to training windows at random."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the network is trained; the checkpoint runs on either."""
    memory: Annotated[float, Field(ge=0)] = 1.0
    """GiB of features, of a part of the split, that are kept in memory on a CPU: more is
    read from the store's files as it is needed. A GPU gives half of what is free on it."""


@dataclass
class _Best:
    loss: float
    epoch: int
    r: float
    weights: dict[str, Tensor]


def fit_network(
    model: Network,
    config: FitConfig,
    train: Examples,
    validation: Examples | None,
    *,
    z: Float64,
    z_validation: Float64 | None,
    seed: int,
    waveforms: bool = True,
    n_bands: int = 1,
) -> dict[str, float | int | str]:
    """Train a network on mean squared error; return what it reached.

    The weights kept are those of the epoch with the lowest validation loss, or of the
    last epoch where there is no validation part.

    Parameters
    ----------
    model : Network
    config : FitConfig
    train, validation : Examples
    z, z_validation : float64, shape (n, n_targets)
    seed : int
        Of the order of the windows, of what is done to them, and of dropout.
    waveforms : bool
        Whether windows are of samples, whose sign may be turned, and not of log power.
    n_bands : int
        Features that each channel has.

    Raises
    ------
    ConfigError
        If the training diverges, or there is no such device.
    """
    config = config.model_copy(update={"flip": config.flip and waveforms})
    device = _device(config)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model.scaler.fit(*train.statistics())
    model.to(device)
    augment = None
    if config.augment.does_anything:
        sd, log_power = model.scaler.sd, not waveforms
        augment = Augment(config.augment, sd, n_bands=n_bands, log_power=log_power, seed=seed)
    optimiser = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    # At least 11: torch divides by zero where the rising tenth is a single step.
    n_steps = max(11, config.epochs * max(1, len(train) // config.batch))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=n_steps, pct_start=0.1
    )
    windows = windows_of(train, device, config.memory)
    held = windows_of(validation, device, config.memory) if validation else None
    best = _Best(np.inf, 0, 0.0, copy.deepcopy(model.state_dict()))
    with epochs_bar(config.epochs) as show:
        for epoch in range(1, config.epochs + 1):
            steps = _steps(train, z, rng, config)
            made = _on_device(batches(windows, steps, device), augment)
            loss = _one_epoch(model, optimiser, schedule, made)
            reached, r = loss, float("nan")
            if validation is not None and held is not None and z_validation is not None:
                reached, r = _validate(model, held, validation, z_validation)
            show(epoch, loss, reached, r)
            if validation is None or reached < best.loss:
                best = _Best(reached, epoch, r, copy.deepcopy(model.state_dict()))
            elif epoch - best.epoch >= config.patience:
                break
    model.load_state_dict(best.weights)
    model.cpu()
    notes: dict[str, float | int | str] = {"epochs": best.epoch, "loss": best.loss}
    if validation is not None:
        notes["validation_r"] = best.r
    return notes


@dataclass(frozen=True, slots=True)
class _Step:
    """The windows of a training step, their targets, and the sign that each is given."""

    shifted: Shifted
    sign: Float32 | None

    @property
    def run(self) -> Int64:
        return self.shifted.run

    @property
    def ends(self) -> Int64:
        return self.shifted.ends


def _steps(
    train: Examples, z: Float64, rng: np.random.Generator, config: FitConfig
) -> Iterator[_Step]:
    """Yield the training windows once, in random order, moved and turned at random.

    Without that, a network learns the waveforms of a few hundred windows by heart.
    """
    order = rng.permutation(len(train))
    reach = round(config.jitter * train.rate)
    for first in range(0, max(1, len(order) // config.batch) * config.batch, config.batch):
        which = order[first : first + config.batch]
        shift = rng.integers(-reach, reach + 1, size=len(which))
        sign = None
        if config.flip:
            sign = rng.choice(np.array([-1, 1], dtype=np.float32), size=(len(which), 1, 1))
        yield _Step(train.shift(which, shift, z), sign)


def _on_device(
    made: Iterator[tuple[Tensor, _Step]], augment: Augment | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the windows of each step as they are trained on, and their targets."""
    for x, step in made:
        if step.sign is not None:
            x *= torch.from_numpy(step.sign).to(x.device, non_blocking=True)
        if augment is not None:
            augment(x)
        yield x, torch.from_numpy(step.shifted.y).float().to(x.device, non_blocking=True)


def _one_epoch(
    model: Network,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    made: Iterator[tuple[Tensor, Tensor]],
) -> float:
    model.train()
    losses = []
    for x, y in made:
        loss = model.loss(x, y, torch.nn.functional.mse_loss)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        model.constrain()
        losses.append(loss.detach())  # to ask for its value would make a GPU wait
    return _finite(float(np.mean(torch.stack(losses).tolist())))


@torch.inference_mode()
def _validate(
    model: Network, windows: Windows, validation: Examples, z: Float64
) -> tuple[float, float]:
    model.eval()
    device = next(model.parameters()).device
    parts = np.array_split(np.arange(len(validation)), max(1, len(validation) // 32))
    steps = (validation.shift(part, np.zeros_like(part), z) for part in parts)
    predicted = np.concatenate(
        [model(x).cpu().numpy() for x, _ in batches(windows, steps, device)]
    ).astype(np.float64)
    loss = _finite(float(np.mean((predicted - z) ** 2)))
    r = np.mean([pearson(z[:, i], predicted[:, i]) for i in range(z.shape[1])])
    return loss, float(r)


def _device(config: FitConfig) -> torch.device:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "There is no CUDA device to train on",
            found="[fit] device is 'cuda'",
            do="Train on the CPU, or install a torch that finds the GPU",
        )
    return torch.device(config.device)


def _finite(loss: float) -> float:
    if not np.isfinite(loss):
        raise ConfigError(
            "The training diverged",
            found=f"Its loss became {loss}",
            do="Lower fit.learning_rate in the recipe",
        )
    return loss
