"""Where the files of a dataset lie, where they are not where BIDS puts them, by settings.

A pattern names files: `derivatives/*/eeg_pp/*{name}_eeg_pp.vhdr`. What stands in braces
is read out of their paths. No dataset is known here by its name.
"""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from mne_bids import get_entities_from_fname
from pydantic import Field, field_validator, model_validator

from rtfeedback.channels import canonical
from rtfeedback.config import Config

BIDS = "bids"
_PLACES = ("name", "subject", "session", "task", "run")
_LABEL = r"[^/_]+"
_PARTS = re.compile(r"(\{\w*\}|\*\*/|\*|\?)")

Positive = Annotated[float, Field(gt=0)]
Kind = Literal["eeg", "eog", "ecg", "emg", "misc"]
Pattern = Annotated[str, Field(min_length=1)]


class RecordingConfig(Config):
    """What an EEG file does not say of itself, or says wrongly.

    Channels are named by their label, or by their place among the file's voltages,
    counted from 1, where none has that label. What a run has not is passed over.
    """

    kinds: dict[str, Kind] = Field(default_factory=dict)
    """What a channel measures: `{ "32" = "ecg" }`."""
    rename: dict[str, str] = Field(default_factory=dict)
    """What a channel is to be called."""
    drop: tuple[str, ...] = ()
    """Channels to leave out."""
    reference: str = ""
    """Of the recording, over what file and sidecars say; `bipolar`: each channel has its
    own, which `reference = "recorded"` of a chain then keeps."""
    channels: tuple[str, ...] = ()
    """Names in the file's order, for a MATLAB file, which has none; what stands after
    these in the file is left out."""
    sfreq: Positive | None = None
    """Samples per second of a MATLAB file, which does not say."""
    variable: str = ""
    """Of a MATLAB file: channels by samples, or samples by channels."""
    unit: str = "microvolts"
    """Of a MATLAB file's values."""


class PairConfig(Config):
    """One run's files, relative to the dataset's folder."""

    eeg: str
    """A recording that MNE or pyxdf reads, or a MATLAB file."""
    bold: str = ""
    """An image of volumes, or none with a course."""
    course: str = ""
    """Courses that are extracted already: a table with a column per region and a row per
    volume."""


class LayoutConfig(Config):
    """Which files of a dataset belong to a run.

    In a pattern, `*` is anything within a name, `**/` any folders, `{name}` a run's name by
    BIDS (`sub-01_task-rest_run-1`), and `{subject}`, `{session}`, `{task}` and `{run}` its
    parts. `bids` stands for BIDS's own places. The first in a list that has a file of the
    run counts.
    """

    eeg: tuple[Pattern, ...] = (BIDS,)
    """The EEG's files."""
    bold: tuple[Pattern, ...] = (BIDS,)
    """The BOLD's: raw, or `*_desc-preproc_bold.nii.gz` of a pipeline."""
    confounds: tuple[Pattern, ...] = (
        "derivatives/**/{name}_desc-confounds_timeseries.tsv",
        "derivatives/**/{name}_desc-confounds_regressors.tsv",
    )
    """Tables of head motion and other confounds of the BOLD."""
    events: tuple[Pattern, ...] = (BIDS,)
    """Tables of the task, in seconds after the first volume's onset."""
    pairs: str = ""
    """A table of runs, in place of all that: `eeg`, `bold` or `course`, and, where they are
    needed, `subject`, `session`, `task`, `run`, `tr`, `onset`, `events`, `confounds`."""
    pair: PairConfig | None = None
    """The files of the only run, in place of all that."""
    tasks: dict[str, str] = Field(default_factory=dict)
    """What a task that files are named after is called by BIDS: `task001 = "oddball"`."""
    exclude: tuple[str, ...] = ()
    """Runs to leave out, by name: `sub-04_*`."""
    tr: Positive | None = None
    """Seconds from volume to volume, over what sidecars say."""
    onset: float | None = None
    """Seconds of the EEG at which the first volume began, where no marker says so."""
    recording: RecordingConfig = RecordingConfig()
    """What the EEG's files do not say of themselves."""

    @field_validator("eeg", "bold", "confounds", "events")
    @classmethod
    def _places_are_known(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if pattern != BIDS:
                _check_pattern(pattern)
        return patterns

    @model_validator(mode="after")
    def _pairs_or_pair(self) -> LayoutConfig:
        if self.pairs and self.pair:
            raise ValueError(
                "pairs is a table of runs, and pair the only one: give one of both"
            )
        return self

    def with_files(
        self,
        *,
        pairs: Path | None = None,
        eeg: Path | None = None,
        bold: Path | None = None,
        course: Path | None = None,
        tr: float | None = None,
        onset: float | None = None,
    ) -> LayoutConfig:
        """Return the layout of files that are named one by one, with absolute paths."""
        stated = {name: x for name, x in (("tr", tr), ("onset", onset)) if x is not None}
        if pairs:
            return self.model_copy(update={"pairs": str(pairs.absolute())})
        if eeg is None:
            return self
        files = {"eeg": eeg, "bold": bold, "course": course}
        pair = PairConfig(
            **{name: str(path.absolute()) for name, path in files.items() if path}
        )
        return self.model_copy(update={"pair": pair, **stated})

    @property
    def all_bids(self) -> bool:
        """Whether EEG and BOLD lie where BIDS puts them."""
        return self.eeg == self.bold == (BIDS,)


class Entities(NamedTuple):
    """What makes files those of one run; numbers without leading zeros, as `1` is `01`."""

    subject: str
    session: str
    task: str
    run: str


class RunFile(NamedTuple):
    """A file of a run.

    Attributes
    ----------
    path : Path
        Which may lead nowhere: a link whose file was not fetched.
    name : str
        The run's, by BIDS, or made of what the path says.
    entities : Entities
    from_bids : bool
        Whether the name is BIDS's.
    """

    path: Path
    name: str
    entities: Entities
    from_bids: bool


def run_name(subject: str, session: str = "", task: str = "", run: str = "") -> str:
    """Return a run's name by BIDS."""
    parts = (("sub", subject), ("ses", session), ("task", task), ("run", run))
    return "_".join(f"{short}-{value}" for short, value in parts if value)


def run_file(path: Path, name: str, *, from_bids: bool = True) -> RunFile:
    """Return a file of the run of a name by BIDS."""
    found = get_entities_from_fname(f"{name}_", on_error="ignore")
    places = ("subject", "session", "task", "run")
    entities = Entities(*(_plain(found.get(place) or "") for place in places))
    return RunFile(path, name, entities, from_bids)


def find_by_pattern(root: Path, pattern: str, tasks: dict[str, str]) -> list[RunFile]:
    """Return the files that a pattern names, in the order of their paths."""
    shape = re.compile(_expression(pattern))
    wild = re.sub(r"\{\w+\}", "*", pattern)
    found = []
    for each in sorted(glob.glob(wild, root_dir=root, recursive=True)):
        match = shape.fullmatch(Path(each).as_posix())
        if match:
            found.append(_of_match(root / each, match.groupdict(), tasks))
    return found


def _check_pattern(pattern: str) -> None:
    places = {part[1:-1] for part in _PARTS.findall(pattern) if part[0] == "{"}
    known = ", ".join(f"{{{place}}}" for place in _PLACES)
    if places.difference(_PLACES) or set("{}") & set(_PARTS.sub("", pattern)):
        raise ValueError(f"'{pattern}' may hold {known}, and nothing else in braces")
    if not {"name", "subject"} & places:
        raise ValueError(f"'{pattern}' has neither {{name}} nor {{subject}} in it")
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise ValueError(f"'{pattern}' leads out of the dataset")


def _of_match(path: Path, places: dict[str, str], tasks: dict[str, str]) -> RunFile:
    if "name" in places:
        return run_file(path, places["name"])
    places["task"] = tasks.get(places.get("task", ""), places.get("task", ""))
    return run_file(path, run_name(**places), from_bids=False)


def _plain(label: str) -> str:
    return (label.lstrip("0") or "0") if label.isdigit() else label


def _expression(pattern: str) -> str:
    """Return a pattern as a regular expression with a group for each place."""
    seen: set[str] = set()
    parts = []
    for part in _PARTS.split(pattern):
        if part == "**/":
            parts.append("(?:.*/)?")
        elif part == "*":
            parts.append("[^/]*")
        elif part == "?":
            parts.append("[^/]")
        elif part.startswith("{"):
            place = part[1:-1]
            inside = rf"sub-{_LABEL}(?:_[a-z]+-{_LABEL})*" if place == "name" else _LABEL
            parts.append(f"(?P={place})" if place in seen else f"(?P<{place}>{inside})")
            seen.add(place)
        else:
            parts.append(re.escape(part))
    return "".join(parts)


def position_or_label(wanted: str, labels: tuple[str, ...]) -> int | None:
    """Return the column of a channel by label, or by its place from 1; None without."""
    if canonical(wanted) in labels:
        return labels.index(canonical(wanted))
    if wanted.isdigit() and 1 <= int(wanted) <= len(labels):
        return int(wanted) - 1
    return None
