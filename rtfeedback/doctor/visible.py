"""Which streams LSL shows, and which of them is meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from rtfeedback.doctor.finding import Finding, fail, ok, warn
from rtfeedback.online.lsl import VisibleStream, streams

PASSES = 3  # loopback multicast and slow networks show some only later
WAIT = 0.7  # s a pass

START = (
    "Start the amplifier's LSL program, or: rtfeedback play FILE --stream EEG. If one runs:"
    " let UDP 16571-16604 and TCP 16572-16604 through the firewalls, name its machine in"
    " lsl_api.cfg ([lab] KnownPeers), check that multicast passes the network and that both"
    " have the same [lab] SessionID"
)


def look_around(
    look: Callable[[float], list[VisibleStream]] = streams, passes: int = PASSES
) -> list[VisibleStream]:
    """Return every stream that shows in any of some passes.

    Two streams that say the same of themselves are two where one pass shows both.
    """
    seen: Counter[VisibleStream] = Counter()
    for _ in range(passes):
        seen |= Counter(look(WAIT))
    return sorted(seen.elements(), key=str)


def describe_visible(seen: list[VisibleStream], *, named: bool = False) -> Iterator[Finding]:
    """List the streams, or say how to start one.

    Where one is `named`, whether it comes yet is found out when it is waited for.
    """
    if not seen:
        yield (warn if named else fail)("streams", "LSL shows no stream at all", START)
    for stream in seen:
        yield ok("streams", str(stream))


def choose(seen: list[VisibleStream]) -> tuple[str, list[Finding]]:
    """Return the name of the one stream of type EEG (else none), and what to say of it."""
    names = [each.name for each in seen if each.type.lower() == "eeg" and each.sfreq > 0]
    if len(names) == 1:
        found = f"None is named: taking '{names[0]}', the only one of type EEG"
        return names[0], [ok("streams", found)]
    if not seen:
        return "", []
    found = f"None is named, and {len(names)} are of type EEG: none was listened to"
    return "", [warn("streams", found, "Name it with --stream")]
