"""What a check found: a subject, a verdict, the facts and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from rtfeedback.errors import RtfeedbackError

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    subject : str
        What was looked at, in a word.
    verdict : str
        `ok`; `warn`, where a run would start, but something deserves a look; `fail`, where
        it would be refused, or none of its values would be valid.
    found : str
        The facts.
    do : str
        What to do about them; empty where there is nothing.
    """

    subject: str
    verdict: Verdict
    found: str
    do: str = ""


def ok(subject: str, found: str) -> Finding:
    """Return that all is well."""
    return Finding(subject, "ok", found)


def warn(subject: str, found: str, do: str = "") -> Finding:
    """Return what deserves a look."""
    return Finding(subject, "warn", found, do)


def fail(subject: str, found: str, do: str) -> Finding:
    """Return what would keep a run from giving any valid value."""
    return Finding(subject, "fail", found, do)


def refusal(subject: str, error: RtfeedbackError) -> Finding:
    """Return the error by which a run would be refused."""
    return fail(subject, ". ".join(filter(None, (error.wrong, error.found))), error.do)


def found_by(subject: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yield what a check finds; where it is refused that, so that the others go on."""
    try:
        yield from check()
    except RtfeedbackError as error:
        yield refusal(subject, error)
