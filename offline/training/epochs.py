"""The loop of every training by gradient descent: epoch after epoch, told, and kept."""

from __future__ import annotations

from offline.training.training_log import Log
from offline.training.training_state import Epochs, TrainingState


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
