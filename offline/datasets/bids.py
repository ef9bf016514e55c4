"""A run that has EEG and BOLD, and what its files and sidecars say, by BIDS inheritance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from offline.datasets.layout import RecordingConfig, position_or_label
from offline.datasets.matlab_eeg import read_matlab
from offline.datasets.tables import read_json, read_table
from offline.eeg.recordings import Recording, read_recording
from rtfeedback.channels import canonical, kind_of
from rtfeedback.errors import DatasetError, RtfeedbackError
from rtfeedback.naming import name_channels
from rtfeedback.signals import Marker


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedRun:
    """One run's BOLD, and what was stated of it in place of its sidecars.

    Attributes
    ----------
    name : str
        BIDS entities, such as `sub-01_task-motorimagery_run-01`.
    subject, session, task, run : str
        The entities' values, `""` where there is none.
    bold : Path or None
        None where the regions' course was extracted already, or there is EEG alone.
    course : Path or None
        Table of such courses: a row per volume, a column per region.
    root : Path
        Folder of the dataset: sidecars above it do not apply.
    tr : float or None
        Seconds, where stated; what sidecars say, without.
    events, confounds : Path or None
        Tables of the task, where stated, and of what else moved the BOLD.
    """

    name: str
    subject: str
    session: str
    task: str
    run: str
    bold: Path | None
    root: Path
    course: Path | None = None
    tr: float | None = None
    events: Path | None = None
    confounds: Path | None = None

    @property
    def measured(self) -> Path:
        """The file of what the scanner measured: the BOLD's, or the course's."""
        path = self.course or self.bold
        assert path is not None, "a run has either"
        return path


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRun(ScannedRun):
    """A run that has EEG as well.

    Attributes
    ----------
    eeg : Path
    onset : float or None
        Seconds of the EEG at which volume 0 began, where stated.
    recording : RecordingConfig
        What the EEG's file does not say of itself.
    """

    eeg: Path
    onset: float | None = None
    recording: RecordingConfig = field(default_factory=RecordingConfig)


@dataclass(frozen=True, slots=True)
class Refused:
    """A run that cannot be used, and why."""

    run: str
    error: RtfeedbackError


class FoundRuns(NamedTuple):
    """The runs of a dataset.

    Attributes
    ----------
    runs : list of PairedRun
        Those that have both halves.
    skipped : list of Refused
        Those of which a half is broken.
    scanned : list of ScannedRun
        Those that have BOLD alone: of no window, but a localizer may be fitted on them.
    """

    runs: list[PairedRun]
    skipped: list[Refused]
    scanned: list[ScannedRun]


def read_eeg(run: PairedRun) -> Recording:
    """Read a run's EEG, with the channel types and reference that its sidecars state.

    Raises
    ------
    RecordingError
        If the file is absent, broken or foreign.
    """
    if run.eeg.suffix.lower() == ".mat":
        recording = read_matlab(run.eeg, run.recording, run.name)
    else:
        recording = read_recording(run.eeg)
    types = _of_channels(run, "type")
    info = recording.info
    kinds = tuple(
        kind_of(label, types[label]) if types.get(label) else kind
        for label, kind in zip(info.channels, info.kinds, strict=True)
    )
    stated = str(_sidecar(run, run.eeg, "eeg", "eeg").get("EEGReference", ""))
    if stated.strip().lower() == "n/a":  # BIDS's word for nothing
        stated = ""
    reference = run.recording.reference or info.reference or canonical(stated)
    info = replace(info, kinds=kinds, reference=reference)
    return _as_stated(replace(recording, info=info), run.recording)


def stated_bad(run: PairedRun) -> tuple[str, ...]:
    """Return the channels whose `status` in a run's channels.tsv is `bad`."""
    stated = _of_channels(run, "status")
    return tuple(name for name, status in stated.items() if status.lower() == "bad")


def named_markers(run: PairedRun) -> tuple[Marker, ...]:
    """Return the rows of the events.tsv beside a run's EEG as markers, by their names.

    A file made by mne-bids calls its markers `S  1`; what they mean is in that table only.
    """
    path = run.eeg.parent / f"{run.eeg.name.rpartition('_')[0]}_events.tsv"
    if not path.is_file():
        return ()
    table = read_table(path)
    names = table.get("trial_type") or table.get("value") or []
    try:
        onsets = [float(onset) for onset in table.get("onset", [])]
    except ValueError as error:
        raise DatasetError(
            f"{path} has an onset that is no number", found=str(error), do="Mend the table"
        ) from error
    pairs = zip(onsets, names, strict=False)
    found = [Marker(onset, name) for onset, name in pairs if isfinite(onset)]
    return tuple(sorted(found, key=lambda marker: marker.stamp))


def repetition_time(run: ScannedRun) -> float:
    """Return a run's TR in seconds: what was stated of it, else what its sidecars state.

    Raises
    ------
    DatasetError
        If neither does.
    """
    stated = run.tr or bold_sidecar(run).get("RepetitionTime")
    if not isinstance(stated, int | float) or not stated > 0:
        raise DatasetError(
            f"The BOLD of {run.name} has no RepetitionTime",
            found=f"{stated!r} in its JSON sidecars",
            do="State RepetitionTime, in seconds, in the run's or the task's _bold.json, or"
            " the TR by --tr, a column tr of --pairs, or layout.tr",
        )
    return float(stated)


def events_file(run: ScannedRun) -> Path | None:
    """Return the events that were stated, or those that go with a run's BOLD, or None."""
    if run.events or run.bold is None:
        return run.events
    found = _inherited(run, run.bold, "func", "events.tsv")
    return found[-1] if found else None


def bold_sidecar(run: ScannedRun) -> dict[str, Any]:
    """Return what the JSON sidecars of a run's BOLD say together."""
    return _sidecar(run, run.bold, "func", "bold") if run.bold else {}


def _sidecar(run: ScannedRun, file: Path, modality: str, suffix: str) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for each in _inherited(run, file, modality, f"{suffix}.json"):
        content |= read_json(each)
    return content


def _inherited(run: ScannedRun, file: Path, modality: str, ending: str) -> list[Path]:
    """Return the sidecars that apply to a file, the one that counts most last.

    They lie in the folders of the raw data, and, of a derivative, in its own as well.
    """
    raw = [run.root, run.root / f"sub-{run.subject}"]
    raw += [raw[-1] / f"ses-{run.session}"] if run.session else []
    above = [each for each in reversed(file.parents) if run.root in each.parents]
    folders = dict.fromkeys([*raw, raw[-1] / modality, *above, file.parent])
    entities = {*file.name.split("_")[:-1], *run.name.split("_")}
    found: list[Path] = []
    for folder in folders:
        named = sorted(folder.glob(f"*{ending}"), key=lambda each: (len(each.name), each.name))
        for each in named:
            *labels, last = each.name.split("_")
            if last == ending and entities.issuperset(labels):
                found.append(each)
    return found


def _of_channels(run: PairedRun, column: str) -> dict[str, str]:
    """Return what a column of a run's channels.tsv says of each channel, by its name."""
    found = _inherited(run, run.eeg, "eeg", "channels.tsv")
    table = read_table(found[-1]) if found else {}
    if "name" not in table or column not in table:
        return {}
    types = table.get("type", [""] * len(table["name"]))
    names = name_channels(table["name"], types).channels
    return dict(zip(names, table[column], strict=True))


def _as_stated(recording: Recording, settings: RecordingConfig) -> Recording:
    """Return a recording with its channels renamed, retyped and left out as stated."""
    if not (settings.kinds or settings.rename or settings.drop):
        return recording
    info = recording.info
    kinds, labels = list(info.kinds), list(info.channels)
    for wanted, kind in settings.kinds.items():
        if (column := position_or_label(wanted, info.channels)) is not None:
            kinds[column] = kind
    for wanted, label in settings.rename.items():
        if (column := position_or_label(wanted, info.channels)) is not None:
            labels[column] = canonical(label)
    dropped = {position_or_label(wanted, info.channels) for wanted in settings.drop}
    kept = [column for column in range(len(labels)) if column not in dropped]
    info = replace(
        info,
        channels=tuple(labels[column] for column in kept),
        kinds=tuple(kinds[column] for column in kept),
        units=tuple(info.units[column] for column in kept),
    )
    samples = recording.samples
    if len(kept) < len(labels):
        samples = samples.take(kept, axis=1)
    return replace(recording, info=info, samples=samples)
