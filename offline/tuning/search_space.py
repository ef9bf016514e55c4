"""The recipes that open keys lead to, and which of them a trial is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import optuna

from offline.train import TrainConfig
from offline.tuning.tune_config import Domain, TuneConfig
from rtfeedback.config import parse_config
from rtfeedback.errors import ConfigError

NAME = "model.name"
SECTIONS = ("model", "fit")  # of a recipe, that may be open: other ones say what is judged
WHERE = {"device", "memory", "compile"}  # of [fit]: how, and not what; workers may differ
OTHER_LOSSES = ("fit.loss", "model.head", "model.levels", "model.cut", "model.variance")

Values = Mapping[str, Any]
"""Of open keys, by dotted path."""


class SearchSpace:
    """All the recipes that a recipe's open keys lead to.

    Parameters
    ----------
    config : TuneConfig
    source : str
        Names the recipe in an error.

    Raises
    ------
    ConfigError
        If a key is none, a value is refused by the recipe, or what is compared would not
        be comparable.
    """

    def __init__(self, config: TuneConfig, source: str = "The recipe") -> None:
        self._config, self._source = config, source
        own = config.model.name
        named = config.tune.get(NAME)
        self.models: tuple[str, ...] = tuple(named[0].choices or ()) if named else (own,)
        for path in config.tune:
            self._check_section(path)
        self._check_measure()
        for path, domain in self._domains():
            self._check_models(path, domain)
            for model in domain.of or self.models:
                for value in domain.samples():
                    self._check_value({NAME: model, path: value}, path, value)

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """Return a trial's values of the open keys that its model has."""
        values: dict[str, Any] = {}
        for path, domain in self._domains():
            if not domain.of or values.get(NAME, self._config.model.name) in domain.of:
                values[path] = _suggest(trial, _parameter(path, domain), domain)
        return values

    def own(self) -> dict[str, Any] | None:
        """Return the parameters of the recipe as it stands, if it is in the space."""
        values: dict[str, Any] = {}
        recipe = self.recipe({}).model_dump(mode="json")
        for path, domain in self._domains():
            if domain.of and self._config.model.name not in domain.of:
                continue
            value: Any = recipe
            for key in path.split("."):
                value = value[key]
            if not domain.holds(value):
                return None
            if domain.choices is not None:
                value = _kept(domain.choices[domain.choices.index(value)])
            values[_parameter(path, domain)] = value
        return values

    def recipe(self, values: Values) -> TrainConfig:
        """Return the recipe with values in place of its own.

        Another name begins a section anew: what the others of its keys are, its model says.

        Raises
        ------
        ConfigError
            If it refuses one of them.
        """
        plain = self._config.model_dump(mode="json", exclude={"tune", "study"})
        for path in sorted(values, key=lambda path: (not path.endswith(".name"), path)):
            _put(plain, path, values[path])
        return parse_config(plain, TrainConfig, source=self._source)

    def _domains(self) -> Iterator[tuple[str, Domain]]:
        """Yield paths and their domains, the model's name first: others hang on it."""
        for path in sorted(self._config.tune, key=lambda path: (path != NAME, path)):
            for domain in self._config.tune[path]:
                yield path, domain

    def _check_section(self, path: str) -> None:
        section, _, key = path.partition(".")
        if section not in SECTIONS or not key:
            raise ConfigError(
                f"{self._source}: [tune] cannot open '{path}'",
                found="It is no key of [model] or [fit]; the others say what is judged, and"
                " by which windows",
                do='Name a key by its path, such as "fit.learning_rate"',
            )
        if section == "fit" and key in WHERE:
            raise ConfigError(
                f"{self._source}: [tune] cannot open '{path}'",
                found="It is how a worker computes, which no validation part can choose",
                do="Set it in each worker's own recipe, which may differ in it",
            )

    def _check_models(self, path: str, domain: Domain) -> None:
        if path == NAME and (domain.of or domain.choices is None):
            raise ConfigError(
                f"{self._source}: [tune] opens '{NAME}' to no models",
                do=f'Say "{NAME}" = {{ choices = ["tcn", "eegnet"] }}',
            )
        others = [name for name in domain.of if name not in self.models]
        if others:
            raise ConfigError(
                f"{self._source}: [tune] opens '{path}' of a model that is not tried",
                found=f"{', '.join(others)}, where models are {', '.join(self.models)}",
                do=f"Add it to the choices of '{NAME}', or leave it out",
            )

    def _check_measure(self) -> None:
        others = [path for path in OTHER_LOSSES if path in self._config.tune]
        if self._config.study.measure == "r" or not (others or len(self.models) > 1):
            return
        raise ConfigError(
            f"{self._source}: losses of different kinds cannot be compared",
            found=f"[tune] opens {', '.join(others) or NAME}",
            do="Set study.measure = 'r', or leave that closed",
        )

    def _check_value(self, values: Values, path: str, value: Any) -> None:
        try:
            recipe = self.recipe(values)
        except ConfigError as error:
            raise ConfigError(
                f"{self._source}: [tune] opens '{path}' to {value!r}, which a recipe of"
                f" '{values[NAME]}' cannot have",
                found=str(error),
                do="Open it to other values, or to some models by 'of'",
            ) from error
        own, model = self._config.model, recipe.model
        if (model.of_volumes, model.of_task) != (own.of_volumes, own.of_task):
            raise ConfigError(
                f"{self._source}: [tune] opens '{path}' to {value!r}, which predicts"
                " something else than the recipe does",
                found="Regions, whole volumes and conditions cannot be compared",
                do="Tune a recipe for each",
            )


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    *sections, key = path.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"'{section}' has no keys", found=f"'{path}'", do="Mend the path")
    if key == "name" and values.get(key) != value:
        values.clear()
    values[key] = value


def _parameter(path: str, domain: Domain) -> str:
    """Return a name for Optuna, which wants one domain for each."""
    return f"{path} of {', '.join(domain.of)}" if domain.of else path


def _suggest(trial: optuna.trial.BaseTrial, name: str, domain: Domain) -> Any:
    if domain.choices is not None:
        kept = trial.suggest_categorical(name, [_kept(each) for each in domain.choices])
        return json.loads(kept)
    assert domain.low is not None
    assert domain.high is not None
    if domain.whole:
        return trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log)
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log)


def _kept(choice: Any) -> str:
    """Return a choice as text: a list is none that Optuna would keep."""
    return json.dumps(choice)
