"""Whether a run computes to what it published, in words."""

from __future__ import annotations

import sys
from pathlib import Path

from rtfeedback.predictor import Predictor
from rtfeedback.provenance import machine, versions
from rtfeedback.replay.archive import Archive
from rtfeedback.replay.comparison import SILENCES, Comparison
from rtfeedback.replay.kept_volumes import KeptVolumes, kept_volumes
from rtfeedback.replay.replay import replay

TOLERANCE = 1e-3  # of z, by which another machine's arithmetic may differ
LAST = 1.0  # s of messages that a kill may take; see `online.recorder`
SHOWN = 10  # differences that are printed, at most
DECIDE = ("rtfeedback", "numpy", "scipy", "torch")  # versions that decide the last bits


def replay_session(path: Path, device: str | None, tolerance: float | None) -> bool:
    """Replay a run, print what came of it, and return whether it is what was published.

    Parameters
    ----------
    path : Path
        The run's folder.
    device : str, optional
        `auto` (cuda where there is one, else cpu), `cpu` or `cuda`; without it that of the
        run, or where that is not here the cpu, which is said.
    tolerance : float, optional
        By which a z may differ, finite; without it none on the machine, versions and device
        of the run, and 1e-3 on others.

    Raises
    ------
    RecordingError, StreamError, ChannelError, CheckpointError
        The folder cannot be read.
    """
    archive = Archive(path)
    # Of another device than the cpu `auto` takes what there is, and `_others` says what.
    own = "cpu" if archive.machine.get("device") == "cpu" else "auto"
    predictor = Predictor.load(archive.checkpoint, device or own)
    others = _others(archive, predictor)
    for other in others:
        print(other, file=sys.stderr)  # noqa: T201
    if tolerance is None:
        tolerance = TOLERANCE if others else 0.0
    comparison = replay(archive, predictor)
    kept = kept_volumes(archive, predictor.spec.volume)
    for line in _lines(archive, comparison, tolerance):
        print(line)  # noqa: T201
    if kept is not None:
        for line in _of_kept(kept):
            print(line)  # noqa: T201
    return is_same(archive, comparison, tolerance) and not (kept and kept.wanting)


def is_same(archive: Archive, comparison: Comparison, tolerance: float = 0.0) -> bool:
    """Return whether all that was published, and no more, is computed again."""
    return (
        comparison.within(tolerance) == len(comparison.published)
        and comparison.identical_events == len(comparison.published_events)
        and _same_volumes(comparison, tolerance)
        and not _wanting(archive, comparison)
    )


def _same_volumes(comparison: Comparison, tolerance: float) -> bool:
    """Return whether all volumes are as published, as far as hashes can tell.

    Where numbers may differ by a tolerance hashes do, and their regions have to do.
    """
    alike = comparison.alike_volumes if tolerance else 0
    return comparison.identical_volumes + alike == len(comparison.published_volumes)


def _wanting(archive: Archive, comparison: Comparison) -> list[str]:
    """Return what keeps a record from being a proof, whatever is computed, each a sentence."""
    wanting = []
    if not comparison.published:
        wanting.append("The run published no feedback message.")
    elif not any(message["reason"] not in SILENCES for message in comparison.published):
        wanting.append("The run published that no EEG came, and no more: nothing is computed.")
    if not archive.closed and archive.ended:
        wanting.append("The recording has its end, and the messages have none: they were cut.")
    elif not archive.closed and comparison.beyond_for > LAST:
        wanting.append(
            f"Messages are missing of the last {comparison.beyond_for:.3g} s of EEG:"
            f" a kill takes no more than {LAST:g} s."
        )
    if archive.closed and comparison.beyond:
        wanting.append("The run ended whole, and its messages are not all there.")
    return wanting


def _lines(archive: Archive, comparison: Comparison, tolerance: float) -> list[str]:
    n, n_events = len(comparison.published), len(comparison.published_events)
    lines = [
        f"{comparison.identical} of {n} identical",
        f"{comparison.from_eeg} from EEG, {comparison.of_silence} of silence",
    ]
    if tolerance:
        within = comparison.within(tolerance)
        furthest = f"the largest difference is {comparison.furthest:.1e}"
        lines.append(f"{within} of {n} within {tolerance:g} of z; {furthest}")
    lines.append(f"events: {comparison.identical_events} of {n_events} identical")
    if n_volumes := len(comparison.published_volumes):
        lines.append(f"volumes: {comparison.identical_volumes} of {n_volumes} identical")
        if tolerance and comparison.alike_volumes:
            lines.append(
                f"{comparison.alike_volumes} volumes have another hash, which does not say by"
                " how much they differ; their regions do."
            )
    if not archive.closed:
        lines.append("The record ends before the run did: it was killed, or its disk was full.")
    lines += _wanting(archive, comparison)
    if comparison.beyond:
        lines.append(
            f"{comparison.beyond} messages are computed that the record does not hold."
        )
    if comparison.missing:
        lines.append(f"{comparison.missing} messages were published that are not computed.")
    return lines + _shown(comparison.differences)


def _of_kept(kept: KeptVolumes) -> list[str]:
    return [
        f"kept voxels: {kept.intact} of {kept.n} as published",
        *_shown(kept.wanting),
    ]


def _shown(differences: list[str]) -> list[str]:
    """Return the first of them, and how many more there are."""
    more = len(differences) - SHOWN
    return differences[:SHOWN] + ([f"and {more} more differences"] if more > 0 else [])


def _others(archive: Archive, predictor: Predictor) -> list[str]:
    """Return what is not as it was when the run was computed, each a sentence."""
    then = {k: v for k, v in archive.versions.items() if k in DECIDE}
    now = {k: v for k, v in versions().items() if k in DECIDE}
    here = machine(predictor.device)
    pairs = [(name, then.get(name), now[name]) for name in DECIDE]
    pairs += [(name, archive.machine.get(name), here[name]) for name in ("processor", "device")]
    return [
        f"{name} was {was}, and is {is_now}: the last bits may differ"
        for name, was, is_now in pairs
        if was != is_now
    ]
