"""Which runs, or which times of each run, are for training, validation and test.

Knows nothing of what a run holds; what reads the runs has to keep to the parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from pydantic import Field

from offline.splits.blocks import Part
from offline.splits.parts import Split
from rtfeedback.checkpoint import SplitKind
from rtfeedback.config import Config
from rtfeedback.errors import ConfigError, DatasetError

__all__ = ["RunKey", "Split", "SplitConfig", "split_runs"]

VALIDATION_SHARE = 6  # one run in six: enough to stop a training by, little to lose
EVERYONE = ""  # in place of a subject, where subjects are what is held out


class SplitConfig(Config):
    """How a dataset is parted."""

    kind: SplitKind = "run"
    """`run`: whole runs of every subject are held out; `session`: whole sessions of every
    subject; `subject`: whole subjects; `block`: blocks of every run, with a gap of window,
    lead and 20 s on either side; `shuffled`: volumes at random, which measures memory."""
    test: int = Field(default=1, ge=1)
    """Runs, sessions or blocks held out of each subject or run, its last ones; of `subject`,
    the last subjects."""
    validation: int = Field(default=1, ge=0)
    """As many again for validation, the last before the test's. Of runs and sessions, as few
    subjects give any as make a sixth of all runs. 0: no validation part."""
    leave_out: tuple[str, ...] = ()
    """Test on these in place of the last ones: names of runs, sessions or subjects, or the
    numbers of blocks that lie side by side, from 1."""
    blocks: int = Field(default=5, ge=2)
    """`block` and `shuffled`: equal parts that a run is cut into."""
    reach: float = Field(default=30.0, ge=0)
    """`block`: the longest window and lead together, in seconds, that a model may have.
    What `prepare` fits keeps away from the test by so much, and `train` refuses more."""
    allow_shuffled: bool = False
    """`shuffled` is refused without; with it, all that is reported says so."""


class RunKey(NamedTuple):
    """What a split knows of a run: its name, whose it is and when it was recorded.

    `order` is the run's position within its session (or within its subject).
    """

    name: str
    subject: str
    session: str
    order: int


def split_runs(runs: Sequence[RunKey], config: SplitConfig) -> Split:
    """Part runs into training, validation and test, whatever order they come in.

    Test takes the last runs, or sessions, of each subject, or the last subjects. Validation
    takes the last remaining ones of as few subjects as make a sixth of all runs, last
    subject first, and passes over a subject that would be left without a training run. A
    number in a name counts as a number: session 10 comes after session 2.

    Raises
    ------
    DatasetError
        When two runs share a name, nothing remains for training or for test, or there is
        nothing of a name that is to be left out.
    ConfigError
        When windows are to be shuffled without leave, or blocks cannot be held out so.
    """
    _check_names(runs)
    runs = sorted(runs, key=_recording_order)
    if config.kind in ("block", "shuffled"):
        return _cut(runs, config)
    whole = _units(runs, config)
    held_out = {name: _test(units, config) for name, units in whole.items()}
    rest = {
        name: [u for u in units if u not in held_out[name]] for name, units in whole.items()
    }
    chosen, notes = _validation(rest, len(runs), config.validation)
    kept = {name: [u for u in units if u not in chosen] for name, units in rest.items()}
    lone = [name for name, units in kept.items() if not units]
    split = Split(
        train=_names(kept.values()),
        validation=_names([u for u in units if u in chosen] for units in rest.values()),
        test=_names(held_out.values()),
        notes=(*notes, *(_lone_note(name) for name in lone)),
        kind=config.kind,
    )
    _check_left_out(whole, config)
    _check_parts(split, len({run.subject for run in runs}), config)
    return split


class _Unit(NamedTuple):
    """What is held out whole: a run, a session or a subject."""

    name: str
    runs: tuple[str, ...]


def _units(runs: Sequence[RunKey], config: SplitConfig) -> dict[str, list[_Unit]]:
    """Return what can be held out, by subject, or all of it where that is the subjects."""
    if config.kind == "subject":
        return {EVERYONE: _grouped(runs, "subject")}
    label = "name" if config.kind == "run" else "session"
    return {
        subject: _grouped(tuple(group), label)
        for subject, group in groupby(runs, key=lambda run: run.subject)
    }


def _grouped(runs: Sequence[RunKey], label: str) -> list[_Unit]:
    groups = groupby(runs, key=lambda run: str(getattr(run, label)))
    return [_Unit(name, tuple(run.name for run in group)) for name, group in groups]


def _test(units: list[_Unit], config: SplitConfig) -> list[_Unit]:
    if config.leave_out:
        return [unit for unit in units if unit.name in config.leave_out]
    return units[-config.test :]


def _validation(
    rest: dict[str, list[_Unit]], n_runs: int, n_each: int
) -> tuple[set[_Unit], list[str]]:
    """Return what is for validation, and what is to be said of it."""
    chosen: set[_Unit] = set()
    if n_each == 0:
        return chosen, []
    for units in reversed(rest.values()):
        if VALIDATION_SHARE * _count(chosen) >= n_runs:
            break
        if len(units) > n_each:
            chosen.update(units[-n_each:])
    if not chosen:
        whom = (
            "no subject to train on" if EVERYONE in rest else "a subject without a training run"
        )
        return chosen, [f"There is no validation part: it would leave {whom}"]
    if VALIDATION_SHARE * _count(chosen) < n_runs:
        return chosen, [f"Validation has {_count(chosen)} of {n_runs} runs, less than a sixth"]
    return chosen, []


def _count(units: Iterable[_Unit]) -> int:
    return sum(len(unit.runs) for unit in units)


def _names(parts: Iterable[list[_Unit]]) -> tuple[str, ...]:
    return tuple(name for units in parts for unit in units for name in unit.runs)


def _lone_note(subject: str) -> str:
    return f"Subject {subject} has no training run: its test is that of a new subject"


def _cut(runs: Sequence[RunKey], config: SplitConfig) -> Split:
    """Return a split that cuts every run."""
    if config.kind == "shuffled" and not config.allow_shuffled:
        raise ConfigError(
            "Windows may be shuffled only with leave: neighbours share EEG and BOLD, so the"
            " test would be of windows that the model has all but seen",
            found="[split] kind is 'shuffled', and allow_shuffled is not set",
            do="Hold out runs, sessions, subjects or blocks; or set allow_shuffled, or"
            " give --allow-shuffled, and have every report say so",
        )
    if not runs:
        raise DatasetError("There is no run to split", do="Prepare a dataset that has some")
    names = tuple(run.name for run in runs)
    inside = _inside(config)
    return Split(
        train=names,
        validation=names if "validation" in inside else (),
        test=names,
        kind=config.kind,
        inside=inside,
        reach=config.reach,
    )


def _inside(config: SplitConfig) -> tuple[Part, ...]:
    """Return what each block is for: test, before it validation, and the rest training."""
    test = _test_blocks(config)
    before = [i for i in range(config.blocks) if i not in test]
    before.sort(key=lambda i: (i > test[0], abs(i - test[0])))  # nearest first, ends last
    validation = before[: config.validation]
    if len(validation) == len(before):
        raise ConfigError(
            "The split leaves no block for training",
            found=f"Each run has {config.blocks} blocks, {len(test)} are for test and"
            f" {config.validation} for validation",
            do="Cut runs into more blocks, or hold out fewer",
        )
    return tuple(
        "test" if i in test else "validation" if i in validation else "train"
        for i in range(config.blocks)
    )


def _test_blocks(config: SplitConfig) -> list[int]:
    """Return the indices of the blocks for test, side by side."""
    n, every = config.blocks, {str(i + 1): i for i in range(config.blocks)}
    if not config.leave_out:
        return list(range(max(0, n - config.test), n))
    found = sorted(every[each] for each in config.leave_out if each in every)
    beside = found == list(range(found[0], found[0] + len(found))) if found else False
    if config.kind == "shuffled" or len(found) != len(config.leave_out) or not beside:
        raise ConfigError(
            f"[split] leave_out cannot hold out {', '.join(config.leave_out)}",
            found=f"Of '{config.kind}' there are blocks 1 to {n}",
            do="Name blocks that lie side by side with 'block', and none with 'shuffled'",
        )
    return found


def _check_names(runs: Sequence[RunKey]) -> None:
    names = [run.name for run in runs]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DatasetError(
            "Two runs have one name, so a split cannot keep them apart",
            found=f"More than one of each of: {', '.join(doubled)}",
            do="Prepare the dataset again with runs that differ in subject, session or run",
        )


def _check_left_out(whole: dict[str, list[_Unit]], config: SplitConfig) -> None:
    known = {unit.name: None for units in whole.values() for unit in units}
    unknown = [name for name in config.leave_out if name not in known]
    if unknown:
        raise DatasetError(
            f"There is no {config.kind} {', '.join(unknown)} to leave out",
            found=f"There is {', '.join(known)}",
            do="Mend [split] leave_out",
        )


def _check_parts(split: Split, n_subjects: int, config: SplitConfig) -> None:
    empty = [part for part in ("train", "test") if not getattr(split, part)]
    if not empty:
        return
    n_runs = len(split.train + split.validation + split.test)
    if config.leave_out or config.kind == "subject":
        test = ", ".join(config.leave_out) or f"the last {config.test}"
    else:
        sessions = " sessions" if config.kind == "session" else ""
        test = f"the last {config.test}{sessions} of each subject"
    raise DatasetError(
        f"The split leaves no run for {' and '.join(empty)}",
        found=f"There are {n_runs} runs of {n_subjects} subjects, and test takes {test}",
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
