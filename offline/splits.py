"""Which runs are for training, validation and test: whole runs, and only by name.

Knows nothing of what a run holds; what reads the runs has to keep to the parts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

from pydantic import Field

from rtfeedback.config import Config
from rtfeedback.errors import DatasetError

VALIDATION_SHARE = 6  # one run in six: enough to stop a training by, little to lose


class SplitConfig(Config):
    """How the runs of a dataset are parted."""

    kind: Literal["run"] = "run"
    """`run`: whole runs of every subject are held out."""
    test: int = Field(default=1, ge=1)
    """Runs held out of each subject, its last ones."""
    validation: int = Field(default=1, ge=0)
    """Runs for validation out of a subject that gives any, the last before its test runs;
    as few subjects give as make a sixth of all runs. 0: no validation part."""


class RunKey(NamedTuple):
    """What a split knows of a run: its name, whose it is and when it was recorded.

    `order` is the run's position within its session (or within its subject).
    """

    name: str
    subject: str
    session: str
    order: int


@dataclass(frozen=True, slots=True)
class Split:
    """Names of runs by what they are for, each part in order of subject and recording.

    Attributes
    ----------
    train, validation, test : tuple of str
        No run is in two of them.
    notes : tuple of str
        Sentences a report has to print: what the rule could not give.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = self.train + self.validation + self.test
        if len(set(names)) != len(names):
            raise ValueError("a run is in two parts of a split")


def split_runs(runs: Sequence[RunKey], config: SplitConfig) -> Split:
    """Part runs into training, validation and test, whatever order they come in.

    Test takes the last runs of each subject. Validation takes the last remaining ones of
    as few subjects as make a sixth of all runs, last subject first, and passes over a
    subject that would be left without a training run. A number in a name counts as a
    number: session 10 comes after session 2.

    Raises
    ------
    DatasetError
        When two runs share a name, or nothing remains for training or for test.
    """
    by_subject = _by_subject(runs)
    held_out = {subject: names[-config.test :] for subject, names in by_subject.items()}
    rest = {subject: names[: -config.test] for subject, names in by_subject.items()}
    chosen, notes = _validation(rest, len(runs), config.validation)
    kept = {
        subject: [name for name in names if name not in chosen]
        for subject, names in rest.items()
    }
    lone = [subject for subject, names in kept.items() if not names]
    split = Split(
        train=tuple(name for names in kept.values() for name in names),
        validation=tuple(n for names in rest.values() for n in names if n in chosen),
        test=tuple(name for names in held_out.values() for name in names),
        notes=(*notes, *(_lone_note(subject) for subject in lone)),
    )
    _check_parts(split, len(by_subject), config)
    return split


def _by_subject(runs: Sequence[RunKey]) -> dict[str, list[str]]:
    """Return the names of each subject's runs, both in order."""
    names = [run.name for run in runs]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DatasetError(
            "Two runs have one name, so a split cannot keep them apart",
            found=f"More than one of each of: {', '.join(doubled)}",
            do="Prepare the dataset again with runs that differ in subject, session or run",
        )
    ordered = sorted(runs, key=_recording_order)
    return {
        subject: [run.name for run in group]
        for subject, group in groupby(ordered, key=lambda run: run.subject)
    }


def _validation(
    rest: dict[str, list[str]], n_runs: int, n_each: int
) -> tuple[set[str], list[str]]:
    """Return the runs for validation, and what is to be said of them."""
    chosen: set[str] = set()
    if n_each == 0:
        return chosen, []
    for names in reversed(rest.values()):
        if VALIDATION_SHARE * len(chosen) >= n_runs:
            break
        if len(names) > n_each:
            chosen.update(names[-n_each:])
    if not chosen:
        return chosen, [
            "There is no validation part: it would leave a subject without a training run"
        ]
    if VALIDATION_SHARE * len(chosen) < n_runs:
        return chosen, [f"Validation has {len(chosen)} of {n_runs} runs, less than a sixth"]
    return chosen, []


def _lone_note(subject: str) -> str:
    return f"Subject {subject} has no training run: its test is that of a new subject"


def _check_parts(split: Split, n_subjects: int, config: SplitConfig) -> None:
    empty = [part for part in ("train", "test") if not getattr(split, part)]
    if not empty:
        return
    n_runs = len(split.train + split.validation + split.test)
    raise DatasetError(
        f"The split leaves no run for {' and '.join(empty)}",
        found=(
            f"There are {n_runs} runs of {n_subjects} subjects, and test takes the last "
            f"{config.test} of each subject"
        ),
        do="Record or simulate at least two runs of a subject, or hold out fewer",
    )


def _recording_order(run: RunKey) -> tuple[object, ...]:
    # The bare names decide between `1` and `01`, so that the order is always total.
    return (
        _natural(run.subject),
        run.subject,
        _natural(run.session),
        run.session,
        run.order,
        _natural(run.name),
        run.name,
    )


def _natural(label: str) -> tuple[object, ...]:
    """Return a key that sorts `ses-2` before `ses-10`: text and numbers by turns."""
    parts = re.split(r"(\d+)", label)
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts))
