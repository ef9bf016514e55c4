"""Choose what a recipe leaves open by the validation part, and write the best one."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import optuna
from optuna.trial import FrozenTrial, TrialState

from offline.progress import say, trials_bar
from offline.store.dataset import Store
from offline.train import TrainConfig
from offline.training.fitting import device_of
from offline.tuning.recipe_file import check_free_file, write_recipe
from offline.tuning.search_space import WHERE, SearchSpace
from offline.tuning.study import begin_with, open_study, run_trials, shown
from offline.tuning.trial import REFUSED, WINDOWS, Trial, planned_within
from offline.tuning.tune_config import TuneConfig
from rtfeedback.errors import ConfigError
from rtfeedback.folders import check_new, unwritable

DATABASE = "trials.db"  # beside the recipes, one for all studies


def tune(
    store: Store,
    out: Path,
    config: TuneConfig,
    n_trials: int,
    *,
    storage: str | None = None,
    source: str = "The recipe",
) -> TrainConfig:
    """Run trials until a study has so many, and write the best one's recipe.

    Each is trained by `train`'s own loop and judged by the validation part; the test part is
    not read. The study is named by store and recipe: who calls with the same, again after a
    kill or on another machine at once, goes on with it.

    Parameters
    ----------
    store : Store
    out : Path
        New file, for the recipe as TOML.
    config : TuneConfig
    n_trials : int
        Of the study, whoever runs them.
    storage : str, optional
        URL of a database; a SQLite file beside `out` without.
    source : str
        Names the recipe in errors and in what is written.

    Returns
    -------
    TrainConfig
        The best recipe.

    Raises
    ------
    ConfigError
        If an open key is none, or is open to what is refused, the storage cannot be opened,
        there is no such device to train on, there are too few validation windows, or no
        trial could be trained.
    DatasetError
        As `offline.train.plan`.
    OutputError
        If the file is there already or cannot be written.
    """
    check_free_file(out)
    check_new(out)
    device_of(config.fit)  # a trial that is refused for it would count as the recipe's
    space = SearchSpace(config, source)
    first = planned_within(store, space.recipe({}), config.study)
    say(f"judged by {len(first.validation or ())} validation windows")
    url = storage or _beside(out)
    study = open_study(url, study_name(store, config), config.study, config.seed)
    if n_known := len(study.get_trials(deepcopy=False)):
        say(f"going on with {study.study_name} in {shown(url)}: {n_known} trials so far")
    if (own := space.own()) is not None:
        begin_with(study, own)
    with trials_bar(n_trials) as show:
        trial = Trial(store, space, config.study, lambda text: show(None, text))
        run_trials(study, _Told(trial, config.study.measure), n_trials, show)
    best = _best(study)
    recipe = space.recipe(space.suggest(optuna.trial.FixedTrial(best.params)))
    write_recipe(out, recipe, _comment(store, config, study, best, source, url))
    return recipe


def study_name(store: Store, config: TuneConfig) -> str:
    """Return the name that all workers on a store and recipe come to."""
    values = config.model_dump(mode="json", exclude={"fit": WHERE})
    depends = json.dumps([store.hash, values], sort_keys=True)
    return f"rtfeedback-{hashlib.sha256(depends.encode()).hexdigest()[:12]}"


def _beside(out: Path) -> str:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error
    return f"sqlite:///{(out.parent / DATABASE).absolute()}"


class _Told:
    """Says what each trial came to."""

    def __init__(self, trial: Trial, measure: str) -> None:
        self._trial, self._measure = trial, measure

    def __call__(self, trial: optuna.Trial) -> float:
        try:
            value = self._trial(trial)
        except optuna.TrialPruned as error:
            say(f"trial {trial.number}: {error}")
            raise
        params = ", ".join(f"{name} {_short(each)}" for name, each in trial.params.items())
        say(f"trial {trial.number}: validation {self._measure} {value:.4f} by {params}")
        return value


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _best(study: optuna.Study) -> FrozenTrial:
    trials = study.get_trials(deepcopy=False)
    if any(each.state is TrialState.COMPLETE for each in trials):
        return study.best_trial
    refused = [each.user_attrs[REFUSED] for each in trials if REFUSED in each.user_attrs]
    raise ConfigError(
        f"None of {len(trials)} trials could be trained",
        found=refused[-1] if refused else "",
        do="Open keys to what goes together",
    )


def _comment(
    store: Store,
    config: TuneConfig,
    study: optuna.Study,
    best: FrozenTrial,
    source: str,
    url: str,
) -> list[str]:
    """Return where a recipe came from, in lines."""
    trials = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    complete = [
        t.value for t in trials if t.state is TrialState.COMPLETE and t.value is not None
    ]
    refused = sum(1 for each in trials if REFUSED in each.user_attrs)
    pruned = sum(1 for each in trials if each.state is TrialState.PRUNED) - refused
    seeds = f", the median of {config.study.seeds} seeds" if config.study.seeds > 1 else ""
    return [
        f"`rtfeedback tune` of {source}, {datetime.now(UTC):%Y-%m-%d}.",
        f"Trial {best.number}: validation {config.study.measure} {best.value:.4f}{seeds}, over"
        f" {best.user_attrs[WINDOWS]} validation windows;",
        f"the best of {len(complete)} trials, whose median is {median(complete):.4f}; {pruned}"
        f" more were ended early and {refused} refused.",
        "So chosen, that value is flattering. The test part was not read.",
        f"Store {store.path.name} ({store.hash[:12]}), study {study.study_name} in",
        f"{shown(url)}; what was open:",
        *(f"{name} = {value}" for name, value in best.params.items()),
    ]
