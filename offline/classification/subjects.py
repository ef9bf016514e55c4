"""Recordings into one row a subject: predicted, and of the EEG itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from offline.classification.band_means import BandMeans
from offline.classification.folds import number_of_folds
from offline.classification.labels import Labels
from offline.classification.listened import OK, Listened
from offline.classification.moments import Moments, mean_and_sd
from offline.datasets.bids import PairedRun, read_eeg
from offline.datasets.fetched import check_fetched
from offline.eeg.recordings import Recording
from offline.progress import progress, say
from rtfeedback.errors import ChannelError, DatasetError, RecordingError, RtfeedbackError
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float64

LEAST = 2  # valid windows of a recording: of one there is no sd
TRAINED = "was in the model's training"
UNRECORDED = "has no recording of those that were asked for"

Scaled = Callable[[Recording], Predictor]


@dataclass(frozen=True, slots=True)
class Summary:
    """A recording that was passed along the line.

    Attributes
    ----------
    name : str
    seconds : float
    verdicts : Counter of str
        How many windows a run would have answered, by reason.
    predicted, eeg : Moments
        Over the valid windows.
    """

    name: str
    seconds: float
    verdicts: Counter[str]
    predicted: Moments
    eeg: Moments


@dataclass(slots=True)
class Subject:
    """A subject, whose recordings stay together.

    Attributes
    ----------
    name, label : str
    recordings : list of Summary
    """

    name: str
    label: str
    recordings: list[Summary] = field(default_factory=list)

    def row(self, of: str) -> Float64:
        """Return mean and sd over time, of what is `predicted` or of the `eeg`."""
        return mean_and_sd([getattr(each, of) for each in self.recordings])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A subject or recording that was not classified, and why.

    Attributes
    ----------
    name, label, why : str
    broken : bool
        Whether it could not be used, and not: was not to be.
    """

    name: str
    label: str
    why: str
    broken: bool = False


def gather(
    runs: Sequence[PairedRun],
    labels: Labels,
    trained: frozenset[str],
    scaled: Scaled,
    hop: float | None = None,
) -> tuple[list[Subject], list[LeftOut]]:
    """Return the subjects that can be classified, by name, and what was left out.

    Parameters
    ----------
    runs : sequence of PairedRun
    labels : Labels
    trained : frozenset of str
        Subjects to leave out, as the model was trained on them.
    scaled : callable
        Returns the predictor that goes for a recording.
    hop : float, optional
        As `Listened`.

    Raises
    ------
    DatasetError
        If a subject has no row in the labels' table, or too few of a group are left: both
        before a recording is read.
    RtfeedbackError
        Why the first recording could not be used, where none could.
    """
    recorded = {run.subject for run in runs}
    labels.check_rows(recorded)
    out = [
        LeftOut(f"sub-{name}", labels.of.get(name, ""), why)
        for names, why in (
            (recorded.intersection(labels.unknown), f"has no '{labels.column}'"),
            (recorded.intersection(labels.of) & trained, TRAINED),
            (labels.of.keys() - recorded, UNRECORDED),
        )
        for name in sorted(names)
    ]
    kept = [run for run in runs if run.subject in labels.of and run.subject not in trained]
    if not kept:
        raise DatasetError(
            "There is no subject to classify",
            found="; ".join(f"{each.name} {each.why}" for each in out),
            do="Name subjects in the table that the model was not trained on",
        )
    number_of_folds([labels.of[name] for name in {run.subject for run in kept}])
    found: dict[str, Subject] = {}
    errors: list[RtfeedbackError] = []
    for run in progress(kept, "Recordings"):
        label = labels.of[run.subject]
        try:
            summary = summarise(run, scaled, hop)
        except (RecordingError, ChannelError, DatasetError) as error:
            errors.append(error)
            out.append(LeftOut(run.name, label, str(error), broken=True))
            say(f"left out: {run.name}: {error}")
        else:
            subject = found.setdefault(run.subject, Subject(run.subject, label))
            subject.recordings.append(summary)
    if not found:
        raise errors[0]
    return [found[name] for name in sorted(found)], out


def summarise(run: PairedRun, scaled: Scaled, hop: float | None) -> Summary:
    """Return what a recording comes to.

    Raises
    ------
    RecordingError, ChannelError, DatasetError
        If it is broken, is not what the checkpoint needs, or has too few valid windows.
    """
    check_fetched(run.eeg)
    recording = read_eeg(run)
    predictor = scaled(recording)
    listened = Listened(predictor, recording, hop)
    eeg_of = BandMeans(predictor.spec.chain, predictor.shape[1])
    predicted: Moments | None = None
    eeg = Moments(eeg_of.n)
    for heard in listened:
        predicted = predicted or Moments(len(heard.predicted))
        predicted.push(heard.predicted)
        eeg.push(eeg_of(heard.window))
    if predicted is None or listened.verdicts[OK] < LEAST:
        raise listened.too_few(LEAST)
    seconds = len(recording.samples) / recording.info.sfreq
    return Summary(run.name, seconds, listened.verdicts, predicted, eeg)


def rows_of(subjects: Sequence[Subject], of: str) -> Float64:
    """Return a row of each subject, shape (n_subjects, 2 * n_columns)."""
    return np.stack([each.row(of) for each in subjects])
