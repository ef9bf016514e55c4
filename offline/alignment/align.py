"""When each volume of a BOLD run began, by the EEG's clock, and how that is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from offline.alignment.alignment_config import AlignmentConfig, Anchor, BoldRun
from offline.alignment.drift import Grid
from offline.alignment.numbering import number_volumes
from offline.alignment.scanner_start import ScannerStart, find_start
from offline.alignment.scans import Scan, find_scans
from rtfeedback.errors import DatasetError
from rtfeedback.online.trclock import CONFIRMED
from rtfeedback.signals import Float64, Marker

__all__ = ["Alignment", "AlignmentConfig", "Anchor", "align"]

MARKERS, EVENTS = "markers in the EEG", "the events.tsv beside the EEG"
TOLD = 6  # stretches of volumes that are named, at most


@dataclass(frozen=True, slots=True)
class Alignment:
    """A run's volumes in its EEG.

    Attributes
    ----------
    onsets : float64, shape (n_volumes,)
        In seconds from the recording's first sample; NaN for volumes that are discarded or
        were scanned while no EEG was recorded. The others follow each other without a hole.
    scanned : float64, shape (n_scanned,)
        Onsets of all volumes of the scan while EEG was recorded, ascending and without a
        hole: dummies, discarded ones and those after the BOLD's end too. Gradients switched
        in all of them.
    tr : float
        That the daemon would go by after the run's markers, in seconds.
    source : str
        Where the onsets came from.
    drift : float or None
        How much slower than its stated TR the scanner ran by the EEG's clock, in parts per
        million; None where no markers tell.
    jitter : float or None
        Sd of the markers about an even grid, in seconds; None where no markers tell.
    notes : tuple of str
        What the markers say and what was chosen, to be printed behind the run's name.
    """

    onsets: Float64
    scanned: Float64
    tr: float
    source: str
    drift: float | None
    jitter: float | None
    notes: tuple[str, ...]


def align(
    name: str,
    markers: Sequence[Marker],
    named: Sequence[Marker],
    *,
    tr: float,
    n_volumes: int,
    duration: float,
    stated_onset: float | None = None,
    config: AlignmentConfig | None = None,
) -> Alignment:
    """Find a run's volumes in its EEG, numbered as the daemon numbers them.

    Onsets are those of the markers. One or two missing in a row are put where the daemon
    inserts them; what lies farther from a marker, on the grid that the markers show, so
    that a drift of the clocks is followed.

    Parameters
    ----------
    name : str
        The run's, for errors.
    markers : sequence of Marker
        Of the recording, ascending, in seconds from its first sample.
    named : sequence of Marker
        Those of the events.tsv beside it: a file that mne-bids wrote calls its markers
        `S  1`, and only that table says what they are.
    tr : float
        As the BOLD's header states it, in seconds.
    n_volumes : int
        Of the BOLD.
    duration : float
        Of the recording, in seconds.
    stated_onset : float, optional
        When the BOLD's first volume began, in seconds from the recording's first sample,
        where a table or the user says so.
    config : AlignmentConfig, optional

    Raises
    ------
    DatasetError
        If nothing says where the volumes are, or what says so does not go with the BOLD:
        it states what the markers say, and which settings decide.
    """
    run = BoldRun(name, tr, n_volumes, duration, config or AlignmentConfig())
    start = find_start(run, [*markers, *named], stated_onset)
    for kind, heard, source in (("markers", markers, MARKERS), ("events", named, EVENTS)):
        if run.config.source not in ("auto", kind):
            continue
        scans = find_scans(heard, tr, run.config.volume_labels, run.config.slices_per_volume)
        if scans:
            return _by_markers(run, scans, source, start)
    if start is None or run.config.source in ("markers", "events"):
        raise _nothing_known(run, markers)
    return _by_start(run, start)


def _by_markers(
    run: BoldRun, scans: list[Scan], source: str, start: ScannerStart | None
) -> Alignment:
    scan, first = number_volumes(run, scans, source, start)
    assert scan.grid is not None  # or it would have been refused
    grid = Grid(scan.grid.start - first * scan.grid.tr, scan.grid.tr, scan.grid.jitter)
    known = {number + first: onset for number, onset in scan.known().items()}
    low, high = min(first, 0), max(first + scan.span, run.n_volumes)
    scanned = _lay(run, grid, known, low, high)
    why = f"first_marker = {first}" if run.config.first_marker is not None else ""
    notes = [
        *_what_markers_say(run, scan, source),
        *_what_was_chosen(run, scans, scan, first, why or (start.source if start else "")),
        *_filled_in(run, scan, first, scanned[-low:]),
        *(start.notes if start and not why else ()),
    ]
    return _aligned(run, scanned, low, scan.tr, source, scan.grid, notes)


def _by_start(run: BoldRun, start: ScannerStart) -> Alignment:
    grid = Grid(start.onset, run.tr)
    scanned = _lay(run, grid, {}, 0, run.n_volumes)
    note = (
        f"onsets by {start.source}, so the first volume at {start.onset:.3f} s, and by the"
        f" BOLD's TR of {run.tr:g} s; without volume markers the drift is not known"
    )
    return _aligned(run, scanned, 0, run.tr, start.source, grid, [note, *start.notes])


def _lay(run: BoldRun, grid: Grid, known: dict[int, float], low: int, high: int) -> Float64:
    """Return the onsets of volumes from one to before another; NaN without EEG."""
    numbers = np.arange(low, high)
    onsets = grid.at(numbers)
    for number in numbers[np.isin(numbers, list(known))]:
        onsets[number - low] = known[int(number)]
    onsets += run.config.offset
    return np.where((onsets >= 0) & (onsets < run.duration), onsets, np.nan)


def _aligned(
    run: BoldRun,
    scanned: Float64,
    low: int,
    tr: float,
    source: str,
    grid: Grid,
    notes: list[str],
) -> Alignment:
    onsets = scanned[-low : run.n_volumes - low].copy()
    onsets[: run.config.discard] = np.nan
    if not np.isfinite(onsets).any():
        raise DatasetError(
            f"No volume of {run.name} was scanned while its EEG was recorded",
            found=f"{'; '.join(notes)}; {run.duration:.3f} s of EEG, {run.n_volumes} volumes,"
            f" {run.config.discard} of them discarded",
            do="Look at anchor, first_marker, discard and offset in [alignment], and at the"
            " run's stated onset",
        )
    return Alignment(
        onsets=onsets,
        scanned=scanned[np.isfinite(scanned)],
        tr=tr,
        source=source,
        drift=None if grid.jitter is None else grid.drift(run.tr),
        jitter=grid.jitter,
        notes=(*notes, *_what_is_left(run, onsets)),
    )


def _nothing_known(run: BoldRun, markers: Sequence[Marker]) -> DatasetError:
    wrong = {
        "auto": f"The EEG of {run.name} has no volume markers",
        "markers": f"The EEG of {run.name} has no volume markers of its own",
        "events": f"The events.tsv beside the EEG of {run.name} names no volume markers",
        "anchor": f"The EEG of {run.name} has no anchor",
        "stated": f"No onset is stated for {run.name}",
    }
    config = run.config
    names = ", ".join(sorted({marker.label for marker in markers})) or "none"
    anchors = ", ".join(anchor.label for anchor in config.anchor)
    return DatasetError(
        f"{wrong[config.source]}, so it cannot be laid on the BOLD",
        found=f"Its markers are: {names}" + (f"; the anchors: {anchors}" if anchors else ""),
        do=f"Name the scanner's in volume_labels (now {', '.join(config.volume_labels)}), or"
        " give an anchor in [alignment], or the run's onset",
    )


# ------------------------------------------------------------------------ what is printed


def _what_markers_say(run: BoldRun, scan: Scan, source: str) -> Iterator[str]:
    said = (
        f"onsets by {source}: {len(scan.onsets)} volumes are marked for the BOLD's"
        f" {run.n_volumes}, from {scan.onsets[0]:.3f} s to {scan.onsets[-1]:.3f} s"
    )
    if scan.grid and scan.grid.jitter is not None:
        drift = round(scan.grid.drift(run.tr), 1) + 0.0  # never -0.0
        said += f"; drift {drift:+.1f} ppm, jitter {1e3 * scan.grid.jitter:.2f} ms"
    yield said
    if abs(scan.tr / run.tr - 1) > CONFIRMED:
        yield f"the markers show a TR of {scan.tr:.5g} s, the BOLD states {run.tr:g}"
    if scan.n_markers - scan.doubled >= 2 * len(scan.onsets):
        yield f"slices are marked: {scan.n_markers} markers"
    if scan.doubled:
        yield f"{scan.doubled} {_are(scan.doubled, 'marker')} doubled"


def _what_was_chosen(
    run: BoldRun, scans: list[Scan], scan: Scan, first: int, why: str
) -> Iterator[str]:
    by = f", by {why}" if why else ""
    if scan is not scans[0]:
        yield f"of {len(scans) - 1} scans that are marked, that of {scan.span} volumes is taken"
    if first < 0:
        yield f"the first {-first} marked {_are(-first, 'volume')} not in the BOLD: dummies{by}"
    elif first > 0:
        yield f"the first marker begins volume {first}, as counted from 0{by}"
    after = first + scan.span - run.n_volumes
    if after > 0:
        yield f"the last {after} marked {_are(after, 'volume')} not used: the BOLD ends before"


def _filled_in(run: BoldRun, scan: Scan, first: int, onsets: Float64) -> Iterator[str]:
    used = range(run.config.discard, run.n_volumes)
    marked = set((scan.numbers + first).tolist())
    filled = [n for n in used if n not in marked and np.isfinite(onsets[n])]
    if filled:
        jitter = scan.grid.jitter if scan.grid else None
        within = "" if jitter is None else f", within a jitter of {1e3 * jitter:.2f} ms"
        yield f"no marker for {_volumes(filled)}: filled in from the others{within}"


def _what_is_left(run: BoldRun, onsets: Float64) -> Iterator[str]:
    if run.config.offset:
        yield f"every onset is moved by {run.config.offset:g} s, as the daemon's are not"
    if run.config.discard:
        discard = run.config.discard
        yield f"the BOLD's first {discard} {_are(discard, 'volume')} discarded"
    unknown = [n for n in np.flatnonzero(np.isnan(onsets)).tolist() if n >= run.config.discard]
    if unknown:
        yield f"no EEG was recorded in {_volumes(unknown)}: not used"


def _are(n: int, noun: str) -> str:
    return f"{noun} is" if n == 1 else f"{noun}s are"


def _volumes(numbers: Sequence[int]) -> str:
    """Return `volume 3`, or `volumes 3, 17 to 19`; no more than some stretches."""
    starts = [numbers[0], *(b for a, b in pairwise(numbers) if b != a + 1)]
    ends = [*(a for a, b in pairwise(numbers) if b != a + 1), numbers[-1]]
    told = [f"{a}" if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True)]
    more = f" and {len(told) - TOLD} more stretches" if len(told) > TOLD else ""
    return f"volume{'s' * (len(numbers) > 1)} {', '.join(told[:TOLD])}{more}"
