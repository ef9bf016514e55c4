"""The loop of every training by gradient descent: epoch after epoch, told, and kept."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import nn

from offline.training.augment import Augment
from offline.training.best import Best
from offline.training.descent import Descent
from offline.training.training_log import Log
from offline.training.training_state import TrainingState


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

    @property
    def over(self) -> bool:
        """Whether all epochs are done, or too many without getting better."""

    def one_epoch(self) -> tuple[float, float, float, float]:
        """Return the loss, the validation's loss and r, and the last learning rate."""


def run_epochs(
    fitting: Epochs, log: Log | None = None, state: TrainingState | None = None
) -> None:
    """Go through the epochs that are left.

    Parameters
    ----------
    fitting : Epochs
    log : Log, optional
        Who is told of each epoch.
    state : TrainingState, optional
        Where each epoch's end is kept, and gone on from: to the same weights as of a
        training that was not killed.
    """
    if state is not None:
        state.restore(fitting)
    while not fitting.over:
        loss, reached, r, rate = fitting.one_epoch()
        if log is not None:
            log.epoch(fitting.epoch, loss, reached, r, rate)
        if state is not None:
            state.keep(fitting)
