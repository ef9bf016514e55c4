"""Gradient descent: the optimiser, the course of its rate, and the clipping of a step."""

from __future__ import annotations

from math import isfinite
from typing import Literal

import torch
from torch import Tensor, nn

from offline.training.fit_config import FitConfig
from offline.training.learning_rate import learning_rate
from rtfeedback.errors import ConfigError

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
}


class Descent:
    """Steps down the gradient of a model's loss, at a rate that rises and then falls.

    Parameters
    ----------
    model : nn.Module
        On the device by now that it is trained on.
    n_steps : int
        That are to be taken in all; the rate is 0 after them.
    optimiser : str
        A key of `OPTIMISERS`.
    largest : float
        Peak of the rate.
    warm_up : float
        Share of the steps over which it rises.
    weight_decay : float
    clip : float
        Norm to which the gradient is clipped.

    Attributes
    ----------
    step : int
        How many were taken.
    rate : float
        Of the last of them.
    optimiser : torch.optim.Optimizer
    """

    def __init__(
        self,
        model: nn.Module,
        n_steps: int,
        *,
        optimiser: Literal["adamw", "adam"],
        largest: float,
        warm_up: float,
        weight_decay: float,
        clip: float,
    ) -> None:
        self._parameters = list(model.parameters())
        self._n_steps, self._largest, self._warm_up = n_steps, largest, warm_up
        self._clip = clip
        self.step, self.rate = 0, 0.0
        self.optimiser = OPTIMISERS[optimiser](
            self._parameters,
            lr=largest,  # type: ignore[call-arg]
            weight_decay=weight_decay,
            fused=True,
        )

    @classmethod
    def of(cls, model: nn.Module, n_steps: int, fit: FitConfig) -> Descent:
        """Return the descent that a recipe asks for."""
        return cls(
            model,
            n_steps,
            optimiser=fit.optimiser,
            largest=fit.learning_rate,
            warm_up=fit.warm_up,
            weight_decay=fit.weight_decay,
            clip=fit.clip,
        )

    def __call__(self, loss: Tensor) -> None:
        """Take a step from the loss that the model has now."""
        self.rate = learning_rate(
            self.step, self._n_steps, largest=self._largest, warm_up=self._warm_up
        )
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self.optimiser.step()
        self.step += 1


def mean_loss(losses: list[Tensor]) -> float:
    """Return the mean of an epoch's losses, which are asked for only here.

    To ask each for its value as it comes would make a GPU wait.

    Raises
    ------
    ConfigError
        If it is not finite: the training diverged.
    """
    mean = float(torch.stack(losses).double().mean())
    if not isfinite(mean):
        raise ConfigError(
            "The training diverged",
            found=f"Its loss became {mean}",
            do="Lower fit.learning_rate in the recipe",
        )
    return mean
