"""Frozen configuration out of TOML, and the one way to say what is wrong with it.

Knows nothing of what is configured: each part keeps its own model beside its code.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

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
        text = path.read_text(encoding="utf-8-sig")  # Notepad writes a byte-order mark
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The config {path} cannot be read", found=_reason(error), do="Check the file"
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
    models, parts = _walk(model, item["loc"])
    key, kind, context = ".".join(parts), item["type"], item.get("ctx", {})
    if kind.startswith("union_tag"):
        key += f".{context['discriminator'].strip(chr(39))}"
    if kind in ("missing", "union_tag_not_found"):
        return f"{source}: '{key}' is missing"
    if kind == "union_tag_invalid":
        allowed = context["expected_tags"].replace("'", "").split(", ")
        return f"{source}: '{key}' is '{context['tag']}'.{_hint(context['tag'], allowed)}"
    if kind == "extra_forbidden":
        return (
            f"{source}: '{key}' (value {item['input']!r}) is not a key."
            f"{_hint(parts[-1], _keys(models))}"
        )
    message = item["msg"].removeprefix("Value error, ")
    if isinstance(item["input"], dict) or not key:  # the fault is in how the keys go together
        return f"{source}: {message}" if not key else f"{source}: '{key}': {message}"
    return f"{source}: '{key}' is {item['input']!r}. {message}"


def _hint(word: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(word, allowed, n=1)
    meant = f" Did you mean '{near[0]}'?" if near else ""
    return f"{meant} Allowed here: {', '.join(allowed) or 'nothing'}"


def _walk(
    model: type[BaseModel], location: tuple[int | str, ...]
) -> tuple[list[Any], list[str]]:
    """Return the types around a location's last part, and the location without tags."""
    around, parts = [model], []
    for part in location[:-1]:
        below = [each for one in around for each in _below(one, part)]
        if below:
            around = below
            parts.append(str(part))
        else:  # no key, so the tag by which a union was told apart
            around = [one for one in around if part in _tags(one)] or around
    return around, [*parts, *(str(part) for part in location[-1:])]


def _below(annotation: Any, part: int | str) -> list[Any]:
    """Return the types of what stands at a key or index of a type."""
    if _is_model(annotation):
        field = annotation.model_fields.get(part)
        return _alternatives(field.annotation) if field else []
    inner = [arg for arg in get_args(annotation) if arg is not Ellipsis]
    return _alternatives(inner[-1]) if inner else []


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [each for arg in get_args(annotation) for each in _alternatives(arg)]
    return [annotation]


def _keys(around: list[Any]) -> list[str]:
    fields = [item for one in around if _is_model(one) for item in one.model_fields.items()]
    return sorted({field.alias or name for name, field in fields})


def _tags(annotation: Any) -> list[str]:
    fields = annotation.model_fields.values() if _is_model(annotation) else ()
    return [field.default for field in fields if isinstance(field.default, str)]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
