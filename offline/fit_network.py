"""Fit a network by gradient descent, stopped early by the validation runs."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from offline.examples import Examples
from offline.metrics import pearson
from offline.progress import epochs_bar
from rtfeedback.config import Config
from rtfeedback.models.eegnet import EEGNet
from rtfeedback.signals import Float64


class FitConfig(Config):
    """How a network is fitted; closed-form models have no use for it."""

    epochs: Annotated[int, Field(gt=0)] = 20
    """At most so many passes over the training windows."""
    patience: Annotated[int, Field(gt=0)] = 8
    """Stop after so many epochs without a lower validation loss."""
    batch: Annotated[int, Field(gt=1)] = 32
    """Windows per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Peak of AdamW's rate; it rises over the first tenth, then falls as a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Weight decay of AdamW."""


@dataclass
class _Best:
    loss: float
    epoch: int
    r: float
    weights: dict[str, Tensor]


def fit_network(
    model: EEGNet,
    config: FitConfig,
    train: Examples,
    validation: Examples | None,
    *,
    z: Float64,
    z_validation: Float64 | None,
    seed: int,
) -> dict[str, float | int | str]:
    """Train a network on mean squared error; return what it reached.

    The weights kept are those of the epoch with the lowest validation loss, or of the
    last epoch where there is no validation part.

    Parameters
    ----------
    model : EEGNet
    config : FitConfig
    train, validation : Examples
    z, z_validation : float64, shape (n, n_targets)
    seed : int
        Of the order of the windows and of dropout.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model.scaler.fit(*train.statistics())
    optimiser = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    n_steps = config.epochs * max(1, len(train) // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=n_steps, pct_start=0.1
    )
    best = _Best(np.inf, 0, 0.0, copy.deepcopy(model.state_dict()))
    with epochs_bar(config.epochs) as show:
        for epoch in range(1, config.epochs + 1):
            order = rng.permutation(len(train))
            loss = _one_epoch(model, optimiser, schedule, train, z, order, config.batch)
            reached, r = loss, float("nan")
            if validation is not None and z_validation is not None:
                reached, r = _validate(model, validation, z_validation)
            show(epoch, loss, reached, r)
            if validation is None or reached < best.loss:
                best = _Best(reached, epoch, r, copy.deepcopy(model.state_dict()))
            elif epoch - best.epoch >= config.patience:
                break
    model.load_state_dict(best.weights)
    notes: dict[str, float | int | str] = {"epochs": best.epoch, "loss": best.loss}
    if validation is not None:
        notes["validation_r"] = best.r
    return notes


def _one_epoch(
    model: EEGNet,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    train: Examples,
    z: Float64,
    order: np.ndarray[tuple[int], np.dtype[np.int64]],
    batch: int,
) -> float:
    model.train()
    losses = []
    for first in range(0, max(1, len(order) // batch) * batch, batch):
        which = order[first : first + batch]
        x = torch.from_numpy(train.gather(which))
        y = torch.from_numpy(z[which]).float()
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        model.constrain()
        losses.append(loss.item())
    return float(np.mean(losses))


@torch.inference_mode()
def _validate(model: EEGNet, validation: Examples, z: Float64) -> tuple[float, float]:
    model.eval()
    parts = np.array_split(np.arange(len(validation)), max(1, len(validation) // 32))
    predicted = np.concatenate(
        [model(torch.from_numpy(validation.gather(part))).numpy() for part in parts]
    ).astype(np.float64)
    loss = float(np.mean((predicted - z) ** 2))
    r = np.mean([pearson(z[:, i], predicted[:, i]) for i in range(z.shape[1])])
    return loss, float(r)
