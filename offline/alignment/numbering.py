"""Which of the BOLD's volumes the markers in its EEG begin, and when that cannot be told."""

from __future__ import annotations

import numpy as np

from offline.alignment.alignment_config import BoldRun
from offline.alignment.scanner_start import ScannerStart
from offline.alignment.scans import Scan
from rtfeedback.errors import DatasetError
from rtfeedback.online.trclock import OFF_GRID

FALSE_TR = 0.05  # of the header's TR: markers that differ more are of another scan


def number_volumes(
    run: BoldRun, scans: list[Scan], source: str, start: ScannerStart | None
) -> tuple[Scan, int]:
    """Return the scan that is the BOLD's, and which of its volumes the first marker begins.

    The whole of the markers is preferred to its parts, where it keeps to one grid.

    Parameters
    ----------
    run : BoldRun
    scans : list of Scan
        All markers as one, then each part between pauses.
    source : str
        Where they were found.
    start : ScannerStart or None

    Raises
    ------
    DatasetError
        If the markers are not the BOLD's, or nothing says which of them are.
    """
    usable = [scan for scan in scans if scan.grid and not _is_of_another_tr(run, scan)]
    if not usable:
        raise _not_of_this_scan(run, scans)
    parts = usable[:1] if usable[0] is scans[0] else usable
    fitting = [scan for scan in usable if scan.span == run.n_volumes]
    first = run.config.first_marker
    if first is not None and -parts[0].span < first < run.n_volumes:
        return parts[0], first
    if first is None and start is not None:
        near = min(parts, key=lambda scan: np.abs(scan.onsets - start.onset).min())
        return near, _number_by(run, near, start)
    whole_fits = bool(fitting) and fitting[0] is scans[0]
    if first is None and (whole_fits or len(fitting) == 1):
        return fitting[0], 0
    raise _undecided(run, max(parts, key=lambda scan: scan.span), source, len(fitting))


def _is_of_another_tr(run: BoldRun, scan: Scan) -> bool:
    return abs(scan.tr / run.tr - 1) > FALSE_TR


def _number_by(run: BoldRun, scan: Scan, start: ScannerStart) -> int:
    """Return which volume the first marker begins, by when the scanner began."""
    assert scan.grid is not None
    nearest = int(np.abs(scan.onsets - start.onset).argmin())
    step = float(scan.onsets[nearest] - start.onset) / scan.grid.tr
    first = round(step) - int(scan.numbers[nearest])
    fits = scan.span == run.n_volumes and first != 0
    if abs(step - round(step)) > OFF_GRID or fits or not -scan.span < first < run.n_volumes:
        raise DatasetError(
            f"The volume markers of {run.name} and {start.source} say different things",
            found=f"The first of {scan.span} marked volumes begins at {scan.onsets[0]:.3f} s"
            f" and would be volume {step - scan.numbers[nearest]:.2f} of the BOLD's"
            f" {run.n_volumes}",
            do="Mend the anchor or the stated onset, or say in [alignment] which volume the"
            " first marker begins (first_marker), or which source counts (source)",
        )
    return first


def _not_of_this_scan(run: BoldRun, scans: list[Scan]) -> DatasetError:
    longest = max(scans[1:] or scans, key=lambda scan: scan.span)
    if _is_of_another_tr(run, longest):
        return DatasetError(
            f"EEG and BOLD of {run.name} differ in their TR",
            found=f"The markers come every {longest.tr:.4g} s, and the BOLD states"
            f" {run.tr:.4g} s",
            do="Mend RepetitionTime, or pair the EEG with the BOLD of its own scan; where"
            " slices are marked, say how many in slices_per_volume",
        )
    return DatasetError(
        f"The volume markers of {run.name} keep to no even grid",
        found=f"{len(longest.onsets)} of them from {longest.onsets[0]:.3f} s to"
        f" {longest.onsets[-1]:.3f} s, some more than {OFF_GRID:g} TR off",
        do="Mend the markers (a test trigger, or a scan that was begun anew?), or take the"
        " onsets from an anchor or a stated onset: source in [alignment]",
    )


def _undecided(run: BoldRun, scan: Scan, source: str, fitting: int) -> DatasetError:
    more = scan.span - run.n_volumes
    if fitting > 1:
        do = f"{fitting} scans of that length are in the EEG: give an anchor or the run's onset"
    elif more > 0:
        do = (
            f"Say in [alignment] which: first_marker = {-more} if the scanner ran {more} dummy"
            " volumes first, which the BOLD does not hold; first_marker = 0 if the BOLD ends"
            " before the markers do; or give an anchor or the run's onset"
        )
    else:
        do = (
            f"Say in [alignment] which: first_marker = {-more} if the first {-more} of the BOLD"
            f" have no marker; first_marker = 0 if the last {-more} have none, as where the EEG"
            " was stopped first; or give an anchor or the run's onset"
        )
    return DatasetError(
        f"EEG and BOLD of {run.name} do not overlap volume by volume",
        found=f"{len(scan.onsets)} volume markers in {source.removeprefix('markers in ')},"
        f" by their times those of volumes 0 to {scan.span - 1}, and {run.n_volumes} volumes in"
        f" the BOLD; the EEG begins {scan.onsets[0]:.3f} s before the first of them and ends"
        f" {run.duration - scan.onsets[-1]:.3f} s after the last",
        do=do,
    )
