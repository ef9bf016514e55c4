"""Optuna's tree-structured Parzen estimator, seeded anew for each trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class SeededSampler(BaseSampler):
    """Draws a trial by the seed, the trial's number, and the trials before it.

    So a study that was killed goes on as it would have gone on, and workers that share one
    do not all begin with the same trials.

    Parameters
    ----------
    seed : int
    random : int
        Trials that are drawn at random, before others are drawn near the best ones.

    References
    ----------
    Bergstra et al. 2011, Algorithms for hyper-parameter optimization, NeurIPS 24.
    Akiba et al. 2019, doi:10.1145/3292500.3330701 (Optuna).
    """

    def __init__(self, seed: int, random: int) -> None:
        self._seed, self._random = seed, random
        self._tpe = TPESampler(seed=seed, n_startup_trials=random)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Begin a trial's own draws."""
        seed = int(np.random.SeedSequence((self._seed, trial.number)).generate_state(1)[0])
        self._tpe = TPESampler(seed=seed, n_startup_trials=self._random)
        self._tpe.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that are drawn together."""
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw those."""
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one of the others."""
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """End a trial's draws."""
        self._tpe.after_trial(study, trial, state, values)
