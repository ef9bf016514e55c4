"""Fit a network by gradient descent, stopped early by the validation runs."""

from __future__ import annotations

from offline.training.epochs import run_epochs
from offline.training.fit_config import FitConfig
from offline.training.fitting import Fitting, Supervised
from offline.training.training_log import Log
from offline.training.training_state import TrainingState
from rtfeedback.models import Network


def fit_network(
    model: Network,
    config: FitConfig,
    train: Supervised,
    validation: Supervised | None,
    *,
    seed: int,
    waveforms: bool = True,
    n_bands: int = 1,
    log: Log | None = None,
    state: TrainingState | None = None,
) -> dict[str, float | int | str]:
    """Train a network; return what it reached.

    The weights kept are those of the epoch with the lowest validation loss, or of the
    last epoch where there is no validation part.

    Parameters
    ----------
    model : Network
    config : FitConfig
    train, validation : Supervised
    seed : int
        Of the order of the windows, of what is done to them, and of dropout.
    waveforms : bool
        Whether windows are of samples, whose sign may be turned, and not of log power.
    n_bands : int
        Features that each channel has.
    log : Log, optional
        Who is told of each epoch.
    state : TrainingState, optional
        Where each epoch's end is kept.

    Raises
    ------
    ConfigError
        If the training diverges, there is no such device, or the model does not go with
        the loss.
    """
    fitting = Fitting(
        model, config, train, validation, seed=seed, waveforms=waveforms, n_bands=n_bands
    )
    run_epochs(fitting, log, state, epochs=config.epochs, patience=config.patience)
    model.load_state_dict(fitting.best.weights)
    model.cpu()
    notes: dict[str, float | int | str] = {
        "epochs": fitting.best.epoch,
        "loss": fitting.best.loss,
    }
    if validation is not None:
        notes["validation_r"] = fitting.best.r
    return notes
