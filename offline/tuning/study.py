"""The study of trials in a database: shared by workers, and gone on with after a kill."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from offline.tuning.sampler import SeededSampler
from offline.tuning.tune_config import StudyConfig
from rtfeedback.errors import ConfigError

HEARTBEAT = 5  # s between signs of life of a trial that runs
GRACE = 20  # s without one, after which its worker is taken for dead
POLL = 1.0  # s between looks at the trials of other workers
ATTEMPTS = 3  # at opening a database
LOCKED = 60.0  # s that a SQLite file may be held by another worker
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def open_study(url: str, name: str, config: StudyConfig, seed: int) -> optuna.Study:
    """Open a study, or begin it.

    Parameters
    ----------
    url : str
        Of any database that SQLAlchemy has a driver for.
    name : str
        Of the study in it.
    config : StudyConfig
    seed : int
        Of what is drawn.

    Raises
    ------
    ConfigError
        If there is no such database, or no driver for it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for left in reversed(range(ATTEMPTS)):
        try:
            return optuna.create_study(
                storage=_storage(url),
                study_name=name,
                sampler=SeededSampler(seed, config.random),
                pruner=_pruner(config),
                direction="minimize" if config.measure == "loss" else "maximize",
                load_if_exists=True,
            )
        except (SQLAlchemyError, ImportError, RuntimeError) as error:
            # Workers that make the tables at the same moment are in each other's way.
            if left and isinstance(error, IntegrityError | OperationalError):
                time.sleep(POLL)
                continue
            raise ConfigError(
                f"The storage {shown(url)} cannot be opened",
                found=str(error).splitlines()[0],
                do="Name a database, sqlite:///FILE or mysql://..., and install its driver",
            ) from error
    raise AssertionError("the last attempt returns or raises")


def _storage(url: str) -> RDBStorage:
    patient = {"connect_args": {"timeout": LOCKED}} if url.startswith("sqlite") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats, since 2021
        return RDBStorage(
            url,
            patient,
            heartbeat_interval=HEARTBEAT,
            grace_period=GRACE,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        )


def _pruner(config: StudyConfig) -> optuna.pruners.BasePruner:
    if not config.pruning:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(config.unpruned, config.epochs)


def shown(url: str) -> str:
    """Return a database's URL as it may be read by anyone: without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "that was named"


def begin_with(study: optuna.Study, params: dict[str, Any]) -> None:
    """Have a trial of given parameters come first, in a study that has none."""
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(params)


def run_trials(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float],
    n_trials: int,
    show: Callable[[int | None, str], None],
) -> None:
    """Run trials until so many are finished, by this worker and by others.

    A trial whose worker died counts as failed, and its parameters are tried again.
    """
    while _finished(counts := _counts(study)) < n_trials:
        if _finished(counts) + counts[TrialState.RUNNING] < n_trials:
            study.optimize(_again_if_interrupted(study, objective), n_trials=1)
            show(_finished(_counts(study)), "")
        else:
            show(_finished(counts), "waiting for other workers' trials, or their end")
            time.sleep(POLL)


def _again_if_interrupted(
    study: optuna.Study, objective: Callable[[optuna.Trial], float]
) -> Callable[[optuna.Trial], float]:
    def run(trial: optuna.Trial) -> float:
        try:
            return objective(trial)
        except KeyboardInterrupt:
            study.enqueue_trial(trial.params)
            raise

    return run


def _counts(study: optuna.Study) -> Counter[TrialState]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    return Counter(each.state for each in study.get_trials(deepcopy=False))


def _finished(counts: Counter[TrialState]) -> int:
    return sum(counts[state] for state in FINISHED)
