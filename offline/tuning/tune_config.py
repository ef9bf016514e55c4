"""A recipe some of whose keys are open: `[tune]` says which, `[study]` how they are chosen."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from offline.train import TrainConfig
from rtfeedback.config import Config

Count = Annotated[int, Field(ge=0)]


class Domain(Config):
    """Where the value of a key is looked for: between two numbers, or among some values."""

    low: int | float | None = None
    """The least value; whole numbers where this and `high` are."""
    high: int | float | None = None
    """The largest."""
    log: bool = False
    """Whether a factor is what counts, as for learning rates."""
    choices: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    """The values, in place of `low` and `high`."""
    of: tuple[str, ...] = ()
    """Names of the models for which the key is open; none: for all of them."""

    @field_validator("of", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _says_where(self) -> Domain:
        ends = self.low is not None, self.high is not None
        if all(ends) is (self.choices is not None) or any(ends) is not all(ends):
            raise ValueError("give either 'choices', or 'low' and 'high'")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"{self.low:g} is not below {self.high:g}")
        if self.log and (self.low is None or self.low <= 0):
            raise ValueError("'log' goes with a 'low' above 0")
        return self

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def samples(self) -> tuple[Any, ...]:
        """Return values to try a recipe with: all choices, or the ends and one between."""
        if self.choices is not None:
            return self.choices
        assert self.low is not None
        assert self.high is not None
        between = self.low + 0.382 * (self.high - self.low)
        return (self.low, round(between) if self.whole else between, self.high)

    def holds(self, value: Any) -> bool:
        """Return whether a value may be chosen."""
        if self.choices is not None:
            return value in self.choices
        assert self.low is not None
        assert self.high is not None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high


class StudyConfig(Config):
    """How the values of open keys are chosen."""

    measure: Literal["loss", "r"] = "loss"
    """What is compared: the lowest validation loss of a training, or the validation r of
    that epoch. Of recipes with different losses, only r can be."""
    seeds: Annotated[int, Field(gt=0)] = 1
    """Trainings of each trial, by `seed`, `seed + 1`...; their median is compared."""
    windows: Annotated[int, Field(gt=0)] = 100
    """The fewest validation windows by which a recipe is chosen. Neighbours share most of
    their EEG and BOLD: a hundred say as much as some tens that do not."""
    random: Count = 10
    """Trials that are drawn at random, before others are drawn near the best ones."""
    pruning: bool = True
    """Whether a training is ended that is worse, after as many epochs, than the median."""
    unpruned: Count = 5
    """Trials before which none is ended so."""
    epochs: Count = 5
    """Epochs of a training before which it is not."""


class TuneConfig(TrainConfig):
    """A recipe, the keys of it that are open, and how they are chosen."""

    tune: Annotated[dict[str, tuple[Domain, ...]], Field(min_length=1)]
    """By dotted path, `"fit.learning_rate"`: where the key's value is looked for. A list of
    domains is one for each of several models, told apart by `of`."""
    study: StudyConfig = StudyConfig()

    @field_validator("tune", mode="before")
    @classmethod
    def _by_path(cls, value: Any) -> Any:
        return _flat(value) if isinstance(value, dict) else value


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Return domains by dotted path, whether or not the paths were quoted in the TOML."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = before + key
        if isinstance(value, dict) and not set(value) & set(Domain.model_fields):
            found |= _flat(value, f"{path}.")
        else:
            found[path] = value if isinstance(value, list | tuple) else (value,)
    return found
