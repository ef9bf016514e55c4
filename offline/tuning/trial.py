"""A trial: a recipe trained by `train`'s own loop, and judged by its validation part."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from statistics import median

import numpy as np
import optuna
import torch

from offline.store.batches import CPU, batches, windows_of
from offline.store.dataset import Store
from offline.train import Planned, TrainConfig, fit, plan
from offline.training.fitting import mean_r
from offline.tuning.search_space import SearchSpace
from offline.tuning.tune_config import StudyConfig
from rtfeedback.errors import ConfigError, RtfeedbackError
from rtfeedback.models import Ridge

BATCH = 32  # windows of a closed-form model's validation
REFUSED, WINDOWS = "refused", "windows"  # what is noted of a trial
Show = Callable[[str], None]


class Trial:
    """Trains the recipe of an Optuna trial and returns what it reached.

    Parameters
    ----------
    store : Store
    space : SearchSpace
    study : StudyConfig
    show : callable
        Is given a line for each epoch.
    """

    def __init__(
        self, store: Store, space: SearchSpace, study: StudyConfig, show: Show
    ) -> None:
        self._store, self._space, self._study, self._show = store, space, study, show

    def __call__(self, trial: optuna.Trial) -> float:
        """Return the median over seeds of what is compared.

        Raises
        ------
        optuna.TrialPruned
            If the trial is worse than most, or its recipe is refused: open keys may be at
            odds with each other, as a window with what a network sees.
        """
        try:
            recipe = self._space.recipe(self._space.suggest(trial))
            planned = planned_within(self._store, recipe, self._study)
            trial.set_user_attr(WINDOWS, len(planned.validation or ()))
            return self._reached(trial, planned)
        except (RtfeedbackError, torch.OutOfMemoryError) as error:
            trial.set_user_attr(REFUSED, str(error))
            raise optuna.TrialPruned(str(error)) from error

    def _reached(self, trial: optuna.Trial, planned: Planned) -> float:
        reached, first = [], planned.config.seed
        for seed in range(first, first + self._study.seeds):
            config = planned.config.model_copy(update={"seed": seed})
            ended = trial if self._study.pruning and seed == first else None
            watch = Watch(self._study, ended, f"trial {trial.number}", self._show)
            again = replace(planned, config=config)
            spec, model = fit(again, nullcontext(watch))
            if isinstance(model, Ridge):
                loss, r = judged(model, again)
            else:
                loss = float(spec.training.notes["loss"])
                r = float(spec.training.notes["validation_r"])
            reached.append(loss if self._study.measure == "loss" else r)
        trial.set_user_attr("seeds", reached)
        return median(reached)


class Watch:
    """Reports a training's epochs to its trial, which may end it.

    Parameters
    ----------
    study : StudyConfig
    trial : optuna.Trial or None
        None: nothing ends it.
    name : str
        Of the trial.
    show : callable
    """

    def __init__(
        self, study: StudyConfig, trial: optuna.Trial | None, name: str, show: Show
    ) -> None:
        self._study, self._trial, self._name, self._show = study, trial, name, show
        self._loss, self._r = np.inf, float("nan")

    def epoch(self, epoch: int, loss: float, validation: float, r: float, rate: float) -> None:
        """Hear what an epoch reached; what counts is the best one so far.

        Raises
        ------
        optuna.TrialPruned
            If the trial is worse than most were after as many epochs.
        """
        if validation < self._loss:
            self._loss, self._r = validation, r
        self._show(f"{self._name}, epoch {epoch}: validation {validation:.3f} r {r:.2f}")
        if self._trial is None:
            return
        self._trial.report(self._loss if self._study.measure == "loss" else self._r, epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned(f"worse than most after {epoch} epochs")


def planned_within(store: Store, recipe: TrainConfig, study: StudyConfig) -> Planned:
    """Plan a training that enough validation windows will judge.

    Raises
    ------
    DatasetError, ConfigError
        As `offline.train.plan`, or if there are fewer of them than the study asks for.
    """
    planned = plan(store, recipe)
    n = len(planned.validation) if planned.validation else 0
    if n < study.windows:
        raise ConfigError(
            "There are too few validation windows to choose a recipe by",
            found=f"{n} of them, where study.windows asks for {study.windows}",
            do="Prepare more runs, give [split] validation more of them, or lower"
            " study.windows",
        )
    return planned


@torch.inference_mode()
def judged(model: Ridge, planned: Planned) -> tuple[float, float]:
    """Return the mean squared error and r of a closed-form model over the validation part."""
    assert planned.validation is not None
    examples = planned.validation
    windows = windows_of(examples, CPU, planned.config.fit.memory)
    parts = np.array_split(np.arange(len(examples)), max(1, len(examples) // BATCH))
    steps = (examples.shift(part, np.zeros_like(part)) for part in parts)
    z = np.concatenate([model(x).numpy() for x, _ in batches(windows, steps, CPU)])
    measured = examples.z(planned.spec.targets).astype(np.float32)
    return float(np.nanmean((z - measured) ** 2)), mean_r(z, measured)
