"""Frozen configuration out of TOML, and the one way to say what is wrong with it.

Knows nothing of what is configured: each part keeps its own model beside its code.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from rtfeedback.errors import ConfigError


class Config(BaseModel):
    """A frozen set of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=Config)


def load_config(path: Path, model: type[ConfigT]) -> ConfigT:
    """Read a TOML file into a config.

    Raises
    ------
    ConfigError
        Names the file, the key, the value, what is allowed and the nearest key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The config {path} cannot be read", found=_reason(error), do="Check the path"
        ) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"The config {path} is not valid TOML", found=str(error), do="Mend that line"
        ) from error
    return parse_config(values, model, source=str(path))


def parse_config(values: dict[str, Any], model: type[ConfigT], *, source: str) -> ConfigT:
    """Validate plain values as a config; `source` names them in an error."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, model, source)) from error


def explain(error: ValidationError, model: type[BaseModel], source: str) -> str:
    """Return what a validation error means to someone who wrote the file."""
    return "; ".join(_explain_one(item, model, source) for item in error.errors())


def _explain_one(item: Any, model: type[BaseModel], source: str) -> str:
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    if item["type"] == "extra_forbidden":
        allowed = _allowed_keys(model, location[:-1])
        near = difflib.get_close_matches(location[-1], allowed, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        return (
            f"{source}: '{key}' (value {item['input']!r}) is not a key."
            f"{hint} Allowed here: {', '.join(allowed) or 'nothing'}"
        )
    if item["type"] == "missing":
        return f"{source}: '{key}' is missing"
    message = item["msg"].removeprefix("Value error, ")
    return f"{source}: '{key}' is {item['input']!r}. {message}"


def _allowed_keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """Return the keys allowed at `path`, following nested and tagged models."""
    models = [model]
    for part in path:
        below = [child for parent in models for child in _children(parent, part)]
        # A part that is no field is a list index, a dict key or a union's tag.
        models = below or [m for m in models if part in _tags(m)] or models
    return sorted({name for each in models for name in each.model_fields})


def _children(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    if field not in model.model_fields:
        return []
    return _models_in(model.model_fields[field].annotation)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, dict, tuple, list) or get_args(annotation):
        return [found for arg in get_args(annotation) for found in _models_in(arg)]
    return []


def _tags(model: type[BaseModel]) -> list[str]:
    return [str(f.default) for f in model.model_fields.values() if isinstance(f.default, str)]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
