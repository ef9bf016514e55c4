"""When the scanner began, by an anchor in the protocol or an onset that is stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from offline.alignment.alignment_config import BoldRun
from rtfeedback.errors import DatasetError
from rtfeedback.online.trclock import OFF_GRID, plain_label
from rtfeedback.signals import Marker


@dataclass(frozen=True, slots=True)
class ScannerStart:
    """When the BOLD's first volume began, by something other than volume markers.

    Attributes
    ----------
    onset : float
        In seconds from the recording's first sample; below 0 where the EEG began later.
    source : str
    notes : tuple of str
        What is to be told of it.
    """

    onset: float
    source: str
    notes: tuple[str, ...] = ()


def find_start(
    run: BoldRun, markers: Sequence[Marker], stated: float | None
) -> ScannerStart | None:
    """Return what anchors and a stated onset say together, if there is either.

    Raises
    ------
    DatasetError
        If they differ by more than a quarter of a TR.
    """
    source = run.config.source
    anchored = _anchored(run, markers) if source != "stated" else None
    known = None
    if stated is not None and source != "anchor":
        known = ScannerStart(stated, f"the stated onset of {stated:g} s")
    if anchored and known and abs(anchored.onset - known.onset) > OFF_GRID * run.tr:
        raise DatasetError(
            f"The anchor and the stated onset of {run.name} differ",
            found=f"By {anchored.source} the first volume began at {anchored.onset:.3f} s, and"
            f" {known.source} is stated",
            do="Mend one of them, or say in [alignment] which counts: source = 'anchor' or"
            " 'stated'",
        )
    return known or anchored


def _anchored(run: BoldRun, markers: Sequence[Marker]) -> ScannerStart | None:
    found = []
    for anchor in run.config.anchor:
        label = plain_label(anchor.label)
        stamps = [marker.stamp for marker in markers if plain_label(marker.label) == label]
        if stamps:
            words = f"the anchor {label} at {min(stamps):.3f} s"
            found.append(ScannerStart(min(stamps) - anchor.at, words))
    if not found:
        return None
    first = min(found, key=lambda start: start.onset)
    late = [each for each in found if each.onset - first.onset > OFF_GRID * run.tr]
    notes = tuple(
        f"{each.source} would put the first volume {each.onset - first.onset:.3f} s later than"
        f" {first.source}: its first marker is taken to be missing"
        for each in late
    )
    return replace(first, notes=notes)
