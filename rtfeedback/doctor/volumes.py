"""The scanner's markers: which were heard, and the TR that they show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rtfeedback.doctor.finding import Finding, ok, warn
from rtfeedback.online.trclock import AGREE, ENOUGH, MAJORITY, TRClock
from rtfeedback.signals import Marker

SETTLING = ENOUGH + 2  # TRs after which a scanner that runs has shown its TR
NAMED = 6  # labels, at most
ANY_TR = 2.0  # s, where only the labels are looked at


def check_markers(
    markers: Sequence[Marker], name: str, tr: float | None, labels: Sequence[str]
) -> Iterator[Finding]:
    """Judge what a marker stream sent, by the clock of a run.

    Parameters
    ----------
    markers : sequence of Marker
    name : str
        Of the marker stream.
    tr : float or None
        The TR that a run would expect, in seconds; None where that is not known.
    labels : sequence of str
        Which markers are volumes, as the run's config has them.
    """
    if not markers:
        yield ok("markers", f"'{name}' is there, and no marker yet: start the scanner")
        return
    clock = _clock(markers, tr or ANY_TR, labels)
    said = Counter(marker.label for marker in markers).most_common(NAMED)
    found = f"'{name}' sent " + ", ".join(f"'{label}' x {n}" for label, n in said)
    if not clock.heard:
        do = f"Name those of volumes in [stream] volume_labels; now: {', '.join(labels)}"
        yield warn("markers", f"{found}; none of them begins a volume", do)
        return
    yield ok("markers", found)
    if tr:
        volumes = sum(_clock([marker], tr, labels).heard for marker in markers)
        yield _judge_tr(clock, volumes)


def shown_tr(markers: Sequence[Marker], tr: float, labels: Sequence[str]) -> float:
    """Return the TR that a run would go by after these markers."""
    return _clock(markers, tr, labels).tr


def _clock(markers: Sequence[Marker], tr: float, labels: Sequence[str]) -> TRClock:
    clock = TRClock(tr, labels)
    for marker in markers:
        clock.push(marker)
    return clock


def _irregular(clock: TRClock, n_markers: int) -> bool:
    """Tell whether there were markers enough for a TR, and they showed none or kept to none."""
    kinds = Counter(each.kind for each in clock.happened)
    astray = kinds["stray"] + kinds["missing"]
    return n_markers > ENOUGH and (not kinds["tr"] or astray > (1 - MAJORITY) * n_markers)


def _judge_tr(clock: TRClock, n_markers: int) -> Finding:
    """Judge the TR that a clock found in so many markers of volumes."""
    shown = [each.facts for each in clock.happened if each.kind == "tr"]
    if _irregular(clock, n_markers):
        found = (
            f"{n_markers} markers of volumes came, and their intervals do not agree;"
            f" {clock.expected:g} s is expected"
        )
        do = "Check the trigger's cable, and that [stream] volume_labels names volumes alone"
        return warn("TR", found, do)
    if not shown:
        found = f"{clock.expected:g} s is expected; {ENOUGH + 1} even markers show what it is"
        return ok("TR", found)
    jitter = "" if clock.jitter is None else f", jitter {1000 * clock.jitter:.1f} ms"
    slices = shown[-1]["markers_per_volume"]
    each = f", {slices} markers a volume" if slices > 1 else ""
    found = f"{clock.tr:.4g} s{jitter}{each}; {clock.expected:g} s is expected"
    if abs(clock.tr / clock.expected - 1) > AGREE:
        do = "Set the scanner's TR to the checkpoint's; a run goes by what the markers show"
        return warn("TR", found, do)
    return ok("TR", found)
