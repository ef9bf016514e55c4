"""Whether a run computes to what it published, in words."""

from __future__ import annotations

import sys
from pathlib import Path

from rtfeedback.predictor import Predictor
from rtfeedback.provenance import machine, versions
from rtfeedback.replay.archive import Archive
from rtfeedback.replay.comparison import Comparison
from rtfeedback.replay.replay import replay

TOLERANCE = 1e-3  # of z, by which another machine's arithmetic may differ
SHOWN = 10  # differences that are printed, at most
DECIDE = ("rtfeedback", "numpy", "scipy", "torch")  # versions that decide the last bits


def replay_session(path: Path, device: str, tolerance: float | None) -> bool:
    """Replay a run, print what came of it, and return whether it is what was published.

    Parameters
    ----------
    path : Path
        The run's folder.
    device : str
        `auto` (cuda where there is one, else cpu), `cpu` or `cuda`.
    tolerance : float, optional
        By which a z may differ; without it none on the machine, versions and device of the
        run, and 1e-3 on others.

    Raises
    ------
    RecordingError, StreamError, ChannelError, CheckpointError
        The folder cannot be read.
    """
    archive = Archive(path)
    predictor = Predictor.load(archive.checkpoint, device)
    others = _others(archive, predictor)
    for other in others:
        print(other, file=sys.stderr)  # noqa: T201
    if tolerance is None:
        tolerance = TOLERANCE if others else 0.0
    comparison = replay(archive, predictor)
    for line in _lines(archive, comparison, tolerance):
        print(line)  # noqa: T201
    return is_same(archive, comparison, tolerance)


def is_same(archive: Archive, comparison: Comparison, tolerance: float = 0.0) -> bool:
    """Return whether all that was published, and no more, is computed again."""
    n, n_events = len(comparison.published), len(comparison.published_events)
    return (
        n > 0
        and comparison.within(tolerance) == n
        and comparison.identical_events == n_events
        and not (archive.closed and comparison.beyond)
    )


def _lines(archive: Archive, comparison: Comparison, tolerance: float) -> list[str]:
    n, n_events = len(comparison.published), len(comparison.published_events)
    lines = [f"{comparison.identical} of {n} identical"]
    if tolerance:
        within = comparison.within(tolerance)
        furthest = f"the largest difference is {comparison.furthest:.1e}"
        lines.append(f"{within} of {n} within {tolerance:g} of z; {furthest}")
    lines.append(f"events: {comparison.identical_events} of {n_events} identical")
    if not n:
        lines.append("The run published no feedback message.")
    if not archive.closed:
        lines.append("The record ends before the run did: it was killed, or its disk was full.")
    elif comparison.beyond:
        lines.append(f"{comparison.beyond} messages are computed that were not published.")
    if comparison.missing:
        lines.append(f"{comparison.missing} messages were published that are not computed.")
    more = len(comparison.differences) - SHOWN
    lines += comparison.differences[:SHOWN]
    return lines + ([f"and {more} more differences"] if more > 0 else [])


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
