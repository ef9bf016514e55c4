"""What the heartbeat says of the streams and of the scanner."""

from __future__ import annotations

from typing import Any

from rtfeedback.online.course import Course
from rtfeedback.online.inputs import Inputs
from rtfeedback.online.line import Line
from rtfeedback.online.trclock import TRClock


def stream_facts(course: Course) -> dict[str, Any]:
    """Return what became of the EEG; of a run without a line, that nothing did."""
    line, plausibility = course.line, course.plausibility
    timeline = line.timeline if line else None
    return {
        "samples_received": timeline.received if timeline else 0,
        "samples_lost": timeline.lost if timeline else 0,
        "segments": timeline.segment + 1 if timeline else 0,
        "rate": timeline.rate if timeline else None,
        "magnitude": plausibility.magnitude,
        "volume_locked": plausibility.locked,
        "artefacts": list(line.blamed) if line else [],
    }


def scanner_facts(line: Line | None, inputs: Inputs) -> dict[str, Any]:
    """Return what became of the volumes."""
    volumes = line.volumes if line else None
    clock = volumes if isinstance(volumes, TRClock) else None
    jitter = clock.jitter if clock else None
    return {
        "markers": _marker_state(clock, inputs),
        "tr": volumes.tr if volumes else None,
        "tr_jitter_ms": None if jitter is None else 1000 * jitter,
        "volumes_doubled": clock.doubled if clock else 0,
        "volumes_missing": clock.missing if clock else 0,
    }


def _marker_state(clock: TRClock | None, inputs: Inputs) -> str | None:
    if inputs.markers_name is None:
        return None
    if clock is None:
        return "ok"  # it is being opened
    if not inputs.hears_markers:
        return "lost"
    if not clock.heard:
        return "silent"
    return "stopped" if clock.stopped else "ok"
