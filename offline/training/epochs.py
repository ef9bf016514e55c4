"""The loop of every training by gradient descent: epoch after epoch, told, and kept."""

from __future__ import annotations

from offline.training.training_log import Log
from offline.training.training_state import Epochs, TrainingState


def run_epochs(
    fitting: Epochs,
    log: Log | None,
    state: TrainingState | None,
    *,
    epochs: int,
    patience: int,
) -> None:
    """Go through the epochs that are left, until too many in a row brought nothing better.

    Parameters
    ----------
    fitting : Epochs
    log : Log or None
        Who is told of each epoch.
    state : TrainingState or None
        Where each epoch's end is kept, and gone on from: to the same weights as of a
        training that was not killed.
    epochs : int
        At most, in all.
    patience : int
        Epochs without a better one, which are the last.
    """
    if state is not None:
        state.restore(fitting)
    while fitting.epoch < epochs and fitting.best.waited(fitting.epoch) < patience:
        loss, reached, r, rate = fitting.one_epoch()
        if log is not None:
            log.epoch(fitting.epoch, loss, reached, r, rate)
        if state is not None:
            state.keep(fitting)
