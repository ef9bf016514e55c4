"""Feed what a run received through the code that it ran by, and compare what is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rtfeedback.online.course import Course
from rtfeedback.online.settings import run_flags
from rtfeedback.predictor import Predictor
from rtfeedback.replay.archive import Archive, Opened, Received
from rtfeedback.replay.comparison import Comparison
from rtfeedback.signals import Chunk, Marker


def replay(archive: Archive, predictor: Predictor, chunk: int | None = None) -> Comparison:
    """Compute a run again.

    Parameters
    ----------
    archive : Archive
    predictor : Predictor
        With the run's own checkpoint.
    chunk : int, optional
        Cut the EEG into chunks of so many samples, in place of those that were received:
        values are the same, though events may be told in another order.

    Returns
    -------
    Comparison
    """
    sds = {target.name: target.sd for target in predictor.spec.targets}
    comparison = Comparison(archive.messages, sds)
    options = replace(archive.options, accept_domain_shift=True)  # it was, or it had not run
    first = comparison.published[0] if comparison.published else {}
    course = Course(
        predictor,
        options,
        archive.config,
        tell=comparison,
        clock=comparison,
        flags=run_flags(predictor.spec, archive.config, options),
        session=str(first.get("session")),
        run=str(first.get("run")),
    )
    for received in _cut(archive.received(), chunk):
        _take(course, received, comparison)
    comparison.tell_silence(course.stale)
    return comparison


def _take(course: Course, received: Received, comparison: Comparison) -> None:
    if isinstance(received, Opened):
        course.open(course.make_chain(received.info))
    elif isinstance(received, Marker):
        course.mark(received)
    else:
        comparison.hear(received)
        for _ in course.push(received):
            comparison.tell_silence(course.stale)


def _cut(received: Iterator[Received], chunk: int | None) -> Iterator[Received]:
    """Yield what was received, its EEG in other chunks."""
    for each in received:
        if chunk is None or not isinstance(each, Chunk):
            yield each
            continue
        for first in range(0, len(each.stamps), chunk):
            part = slice(first, first + chunk)
            yield replace(each, samples=each.samples[part], stamps=each.stamps[part])
