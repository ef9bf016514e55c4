"""Every fault by its name: out of the command line's words, and as a table for people."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Literal, get_args, get_origin

import numpy as np
from pydantic.fields import FieldInfo

from offline.faults.artefacts import Blink, Flat, Movement, Muscle, NaN, Pop, Repeat
from offline.faults.fault import Fault
from offline.faults.outlets import Missing, Permute, Restart, Unit
from offline.faults.plan import Plan
from offline.faults.timing import Bursts, Clock, Drift, Drop, Freeze, Jitter, Rate
from offline.faults.triggers import (
    MarkerAstray,
    MarkerDoubled,
    MarkerLate,
    MarkerMissing,
    MarkerSlices,
    MarkerThin,
    ScannerStop,
)
from rtfeedback.config import parse_config
from rtfeedback.errors import ConfigError

_ALL: tuple[type[Fault], ...] = (
    *(Drop, Freeze, Bursts, Jitter, Drift, Rate, Clock),
    *(Restart, Permute, Missing, Unit),
    *(NaN, Flat, Repeat, Blink, Pop, Movement, Muscle),
    *(MarkerMissing, MarkerDoubled, MarkerLate, MarkerAstray),
    *(MarkerThin, MarkerSlices, ScannerStop),
)
FAULTS: dict[str, type[Fault]] = {fault.name: fault for fault in _ALL}
"""Every fault by its name."""


def parse_fault(text: str) -> Fault:
    """Return the fault that `NAME[:key=value,...]` names.

    Raises
    ------
    ConfigError
        Names what is not known or not allowed, and what is.
    """
    name, _, rest = text.partition(":")
    if name not in FAULTS:
        near = difflib.get_close_matches(name, FAULTS, n=1)
        raise ConfigError(
            f"There is no fault '{name}'",
            found=f"Known are {', '.join(FAULTS)}",
            do=f"Did you mean {near[0]}?" if near else "Name one of these",
        )
    return parse_config(_values(text, rest), FAULTS[name], source=f"--fault {text}")


def _values(text: str, rest: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in rest.split(",") if rest else ():
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value) or key in values:
            raise ConfigError(
                f"--fault {text}: '{pair}' does not set a key once",
                do="Write NAME:key=value,key=value",
            )
        values[key] = value
    return values


def harm(plan: Plan, faults: Sequence[Fault], seed: int = 0) -> Plan:
    """Return a plan with all the faults in it.

    They are done in their order, restarts first. The same plan, faults and seed give the
    same bits; a further fault at the end changes nothing that the others draw.

    Raises
    ------
    RtfeedbackError
        If the recording has no such time, channel or marker.
    """
    numbered = sorted(enumerate(faults), key=lambda each: not each[1].first)
    for i, fault in numbered:
        plan = fault.apply(plan, np.random.default_rng([seed, i]))
    return plan


def fault_table() -> str:
    """Return every fault with its keys, and what each key means, in Markdown."""
    lines = ["| fault | what happens | keys and defaults |", "|---|---|---|"]
    meant: dict[str, list[str]] = {}
    for name, fault in FAULTS.items():
        keys = {_key(*item): item for item in fault.model_fields.items()}
        shown = " ".join(f"`{key}`" for key in keys)
        lines.append(f"| `{name}` | {_plain(fault.__doc__)} | {shown} |")
        for key, each in keys.values():
            meant.setdefault(f"`{key}`: {_plain(each.description)}", []).append(f"`{name}`")
    lines.append("")
    for meaning, names in sorted(meant.items()):
        lines.append(f"- {meaning} ({', '.join(names)})")
    return "\n".join(lines)


def _key(key: str, field: FieldInfo) -> str:
    """Return a key as it is written, with its default and what else it may be."""
    default = field.default
    if default is None:
        return key
    if get_origin(field.annotation) is Literal:
        others = (each for each in get_args(field.annotation) if each != default)
        return f"{key}={' or '.join([default, *others])}"
    if isinstance(default, bool):
        return f"{key}={'yes or no' if default else 'no or yes'}"
    return f"{key}={default:g}" if isinstance(default, float) else f"{key}={default}"


def _plain(text: str | None) -> str:
    return " ".join((text or "").split())
