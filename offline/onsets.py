"""When each volume of a run began, by the markers in its EEG, and the TR that they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from offline.bids import PairedRun, named_markers
from offline.progress import console
from offline.recordings import Recording
from rtfeedback.errors import DatasetError
from rtfeedback.online.trclock import CONFIRMED, TRClock, Volume
from rtfeedback.signals import Float64, Marker

FALSE_TR = 0.05  # of the header's TR: markers that differ more are of another scan


@dataclass(frozen=True, slots=True)
class MarkedVolumes:
    """What a run's markers say.

    Attributes
    ----------
    onsets : float64, shape (n_volumes,)
        In seconds from the recording's first sample.
    tr : float
        That the daemon would go by after the run's markers, in seconds.
    source : str
        Where the markers were found.
    """

    onsets: Float64
    tr: float
    source: str


def marked_volumes(
    run: PairedRun, recording: Recording, tr: float, n_volumes: int, labels: Sequence[str]
) -> MarkedVolumes:
    """Return a run's volumes, numbered as the daemon numbers them.

    Where the recording names none, the events.tsv beside it may: a file that mne-bids
    wrote calls its markers `S  1`, and only that table says what they are.

    Parameters
    ----------
    run : PairedRun
    recording : Recording
    tr : float
        As the BOLD's header states it, in seconds.
    n_volumes : int
    labels : sequence of str

    Raises
    ------
    DatasetError
        If there are no volume markers, or they are not those of the BOLD.
    """
    clock, found = _number(recording.markers, tr, labels)
    source = "markers in the EEG"
    if not found:
        clock, found = _number(named_markers(run), tr, labels)
        source = "the events.tsv beside the EEG"
    if not found:
        named = sorted({marker.label for marker in recording.markers})
        raise DatasetError(
            f"The EEG of {run.name} has no volume markers, so it cannot be laid on the BOLD",
            found=f"Its markers are: {', '.join(named) or 'none'}",
            do=f"Name the scanner's in volume_labels (now {', '.join(labels)})",
        )
    _check_tr(run, clock.tr, tr)
    if [volume.number for volume in found] != list(range(n_volumes)):
        raise DatasetError(
            f"EEG and BOLD of {run.name} do not overlap volume by volume",
            found=f"{len(found)} volume markers in the EEG, by their times those of volumes"
            f" 0 to {found[-1].number}, and {n_volumes} volumes in the BOLD",
            do="Cut the BOLD to the marked volumes, or mend the markers",
        )
    return MarkedVolumes(np.array([volume.onset for volume in found]), clock.tr, source)


def _number(
    markers: Sequence[Marker], tr: float, labels: Sequence[str]
) -> tuple[TRClock, list[Volume]]:
    clock = TRClock(tr, labels)
    marked = [clock.push(marker) for marker in markers]
    return clock, [volume for volume in marked if volume is not None]


def _check_tr(run: PairedRun, marked: float, stated: float) -> None:
    off = abs(marked / stated - 1)
    if off > FALSE_TR:
        raise DatasetError(
            f"EEG and BOLD of {run.name} differ in their TR",
            found=f"The markers come every {marked:.4g} s, and the BOLD states {stated:.4g} s",
            do="Mend RepetitionTime, or pair the EEG with the BOLD of its own scan",
        )
    if off > CONFIRMED:
        text = (
            f"{run.name}: the markers show a TR of {marked:.5g} s, the BOLD states {stated:g}"
        )
        console.print(text, markup=False, highlight=False, soft_wrap=True)
