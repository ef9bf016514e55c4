"""Early stopping: the epoch whose weights are kept."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn


@dataclass
class Best:
    """The epoch with the lowest validation loss so far; the last one, if none is judged.

    Attributes
    ----------
    loss : float
    epoch : int
        Counted from 1; 0 before the first.
    r : float
        Over the validation part, NaN where that is unknown.
    weights : dict of str to Tensor
        Of the model as it was then.
    """

    loss: float
    epoch: int
    r: float
    weights: dict[str, Tensor]

    @classmethod
    def untrained(cls, model: nn.Module) -> Best:
        """Return a model as it is before its first epoch, which any epoch betters."""
        return cls(np.inf, 0, 0.0, copy.deepcopy(model.state_dict()))

    def see(
        self, model: nn.Module, epoch: int, loss: float, r: float = np.nan, *, judged: bool
    ) -> None:
        """Keep a model's weights if they are better, or if there is nothing to judge by."""
        if judged and loss >= self.loss:
            return
        self.loss, self.epoch, self.r = loss, epoch, r
        self.weights = copy.deepcopy(model.state_dict())

    def waited(self, epoch: int) -> int:
        """Return how many epochs brought nothing better."""
        return epoch - self.epoch
