"""Faults of the scanner's markers: missing, doubled, late, astray, too many, too few."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from offline.faults.fault import Count, Fault, Length, Recurring, Seconds, check_time
from offline.faults.plan import Plan, PlannedMarker
from rtfeedback.errors import RtfeedbackError

_Change = Callable[[PlannedMarker], tuple[PlannedMarker, ...]]


class _OfMarkers(Recurring):
    """Strikes some of the volumes' markers."""

    of_markers: ClassVar[bool] = True

    label: str | None = None
    """The label of the markers that it strikes; without it the most frequent one."""
    n: Count = 1
    """Markers that it strikes each time, one after the other."""

    def _change(self, plan: Plan, change: _Change, text: str) -> Plan:
        volumes = _volumes(self.name, self.label, plan)
        times = [marker.time for marker in volumes]
        struck: set[PlannedMarker] = set()
        for at in self.strikes(plan):
            first = bisect_left(times, at)
            struck.update(volumes[first : first + self.n])
            for marker in volumes[first : first + self.n]:
                plan = plan.note(marker.time, f"{self.name}: {marker.label} {text}")
        return _changed(plan, struck, change)


class MarkerMissing(_OfMarkers):
    """Markers do not come."""

    name: ClassVar[str] = "marker-missing"

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        return self._change(plan, lambda marker: (), "does not come")


class MarkerDoubled(_OfMarkers):
    """Markers come twice."""

    name: ClassVar[str] = "marker-doubled"

    delay: Seconds = 0.02
    """Seconds from the first to the second, in their stamps too."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        def twice(marker: PlannedMarker) -> tuple[PlannedMarker, ...]:
            return marker, _later(plan, marker, self.delay)

        return self._change(plan, twice, f"again after {self.delay:g} s")


class MarkerLate(_OfMarkers):
    """Markers are sent later than their samples, with their true stamps."""

    name: ClassVar[str] = "marker-late"

    delay: Length = 0.5
    """Seconds by which they are sent later."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        def late(marker: PlannedMarker) -> tuple[PlannedMarker, ...]:
            return (replace(marker, sent=marker.sent + self.delay),)

        return self._change(plan, late, f"sent {self.delay:g} s late")


class MarkerAstray(_OfMarkers):
    """A further marker comes beside a marker, with a stamp that is far off."""

    name: ClassVar[str] = "marker-astray"

    by: float = 100.0
    """Seconds by which it is stamped ahead; back where negative."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        def astray(marker: PlannedMarker) -> tuple[PlannedMarker, ...]:
            return marker, replace(marker, stamp=marker.stamp + self.by)

        return self._change(plan, astray, f"again, stamped {self.by:+g} s off")


class MarkerThin(Fault):
    """The scanner's TR is a multiple: of so many markers only the first comes."""

    name: ClassVar[str] = "marker-thin"
    of_markers: ClassVar[bool] = True

    label: str | None = None
    """The label of the volumes' markers; without it the most frequent one."""
    keep: Annotated[int, Field(ge=2)] = 2
    """Of how many markers one comes."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        volumes = _volumes(self.name, self.label, plan)
        gone = set(volumes) - set(volumes[:: self.keep])
        plan = plan.note(0, f"{self.name}: one marker of {self.keep} comes")
        return _changed(plan, gone, lambda marker: ())


class MarkerSlices(Fault):
    """A marker comes with every slice, not with every volume."""

    name: ClassVar[str] = "marker-slices"
    of_markers: ClassVar[bool] = True

    label: str | None = None
    """The label of the volumes' markers; without it the most frequent one."""
    n: Annotated[int, Field(ge=2)] = 20
    """Slices of a volume, evenly spaced over the TR."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        volumes = _volumes(self.name, self.label, plan)
        onsets = [marker.time for marker in volumes]
        if len(onsets) < 2:
            raise RtfeedbackError(
                f"The fault {self.name} needs two markers at least, to know the TR"
            )
        tr = median(np.diff(onsets).tolist())

        def slices(marker: PlannedMarker) -> tuple[PlannedMarker, ...]:
            return tuple(_later(plan, marker, i * tr / self.n) for i in range(self.n))

        plan = plan.note(0, f"{self.name}: {self.n} markers in a TR of {tr:g} s")
        return _changed(plan, set(volumes), slices)


class ScannerStop(Fault):
    """The scanner stops, while the EEG goes on."""

    name: ClassVar[str] = "scanner-stop"
    of_markers: ClassVar[bool] = True

    at: Seconds = 20.0
    """Seconds from the first sample at which it stops."""
    duration: Length | None = None
    """Seconds after which it goes on; it does not without."""
    label: str | None = None
    """The label of the volumes' markers; without it the most frequent one."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        check_time(self.name, self.at, plan)
        until = plan.duration if self.duration is None else self.at + self.duration
        gone = {
            marker
            for marker in _volumes(self.name, self.label, plan)
            if self.at <= marker.time < until
        }
        plan = plan.note(self.at, f"{self.name}: {len(gone)} volumes less")
        return _changed(plan, gone, lambda marker: ())


def _volumes(name: str, label: str | None, plan: Plan) -> list[PlannedMarker]:
    """Return the markers of a label, in order; of the most frequent one without.

    Raises
    ------
    RtfeedbackError
        If the recording has none.
    """
    counts = Counter(marker.label for marker in plan.markers)
    wanted = label or (counts.most_common(1)[0][0] if counts else "")
    if wanted not in counts:
        raise RtfeedbackError(
            f"'{plan.recording.info.name}' has no marker for the fault {name}",
            found=", ".join(f"{n} x {each}" for each, n in counts.items())
            or "No marker at all",
            do="Name a label that it has, or play another recording",
        )
    return [marker for marker in plan.markers if marker.label == wanted]


def _later(plan: Plan, marker: PlannedMarker, delay: float) -> PlannedMarker:
    """Return a marker like another, so many seconds later."""
    time = marker.time + delay
    on_the_way = marker.sent - plan.sending(marker.time)  # it may be sent late as a whole
    sent = plan.sending(time) + on_the_way
    return PlannedMarker(time, marker.label, marker.stamp + delay, sent)


def _changed(plan: Plan, struck: set[PlannedMarker], change: _Change) -> Plan:
    markers: list[PlannedMarker] = []
    for marker in plan.markers:
        markers += change(marker) if marker in struck else (marker,)
    return replace(plan, markers=tuple(sorted(markers, key=lambda each: each.time)))
