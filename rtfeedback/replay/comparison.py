"""What a run published, held against what is told when it is computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf, isfinite
from typing import Any

import numpy as np

from rtfeedback.online.whole_volume import WholeVolume
from rtfeedback.signals import Chunk, Feedback

Message = dict[str, Any]

# Of a message, what only a clock knows. Its verdicts follow from `age_ms`.
TIMED = ("topic", "publish_time", "age_ms", "infer_ms")
# What differs in its last digits on another machine.
NUMBERS = ("rois", "value")
# Told because nothing came, and not because of what came.
SILENCES = ("stale", "refused")
# Events of streams, disk, clients and people, which no sample brings about.
OUTSIDE = (
    "lost", "refused", "reconnect", "mark", "recording_behind", "recording_lost",
    "volumes_held", "volumes_resumed",
)  # fmt: skip
LEAST = 1e-12  # of z: what is not identical differs by no less
# What every event says besides its facts.
NAMES = ("topic", "schema", "session", "run", "publish_time")


class Comparison:
    """Takes what a replayed run tells, and keeps its time: a `course.Tell` and a clock.

    Parameters
    ----------
    messages : sequence of dict
        All that was published, in its order.
    sds : mapping of str to float
        By region, what in its own unit is 1 of z.

    Attributes
    ----------
    published, published_events, published_volumes : list of dict
        What of it is computed again; events know how many windows were answered before.
    apart : list of float
        For each feedback message that was computed, by how much of z its numbers differ
        from what was published; infinite where anything else does.
    identical_events, identical_volumes : int
        A volume is, if its hash is.
    alike_volumes : int
        Volumes of which no more than the hash differs: by how much, a hash does not say.
    differences : list of str
        What is not identical, in words.
    beyond : int
        Messages that were computed, and are not among those that were published.
    from_eeg, of_silence : int
        Feedback messages that are identical: those that answer EEG, and those that say
        that none came.
    """

    def __init__(self, messages: Sequence[Message], sds: Mapping[str, float]) -> None:
        self._sds = sds
        self.published = [m for m in messages if m["topic"] == "feedback"]
        self.published_events = list(_events(messages))
        self.published_volumes = [m for m in messages if m["topic"] == "volume"]
        self.apart: list[float] = []
        self.identical_events = self.beyond = self.from_eeg = self.of_silence = 0
        self.identical_volumes = self.alike_volumes = 0
        self.differences: list[str] = []
        self._windows = self._events = self._volumes = 0  # that were computed
        self._reached = -inf  # stamp of the newest EEG
        self._beyond_from = inf  # stamp of the EEG of the first message beyond

    # --- its clock -------------------------------------------------------------------

    def lsl(self) -> float:
        """Return no time: when a message goes out is not compared."""
        return 0.0

    def age_ms(self, received: float) -> float:
        """Return the age that the EEG had when the message of this place was published."""
        published = self._next
        return float(published["age_ms"] or 0.0) if published else 0.0

    # --- what is heard ---------------------------------------------------------------

    def hear(self, chunk: Chunk) -> None:
        """Take note of how far EEG has come, before it is computed on."""
        finite = chunk.stamps[np.isfinite(chunk.stamps)]
        self._reached = max([self._reached, *finite[-1:].tolist()])

    # --- what is told ----------------------------------------------------------------

    def tell_silence(self, stale: Callable[[str, float | None], None]) -> None:
        """Have it told that nothing came, as often as it was at this place."""
        while self._next and self._next["reason"] in SILENCES:
            stale(self._next["reason"], None)

    def feedback(self, feedback: Feedback) -> None:
        """Compare a feedback message with the one of its place."""
        computed, published = feedback.message(), self._next
        self._windows += feedback.reason not in SILENCES
        if published is None:
            self._go_beyond(self._reached if feedback.lsl_time is None else feedback.lsl_time)
            return
        self.apart.append(self._apart(published, computed))
        if self.apart[-1]:
            self._differ(f"seq {published['seq']}", published, computed)
        elif feedback.reason in SILENCES:
            self.of_silence += 1
        else:
            self.from_eeg += 1

    def event(self, kind: str, **facts: Any) -> None:
        """Compare an event with the one of its place."""
        computed = {"event": kind, **facts, "windows": self._windows}
        if self._events == len(self.published_events):
            self._go_beyond(self._reached)
            return
        published = self.published_events[self._events]
        self._events += 1
        if published == computed:
            self.identical_events += 1
        else:
            self._differ(f"event {self._events - 1}", published, computed)

    def volume(self, volume: WholeVolume) -> None:
        """Compare a whole volume with the one of its place."""
        if self._volumes == len(self.published_volumes):
            self._go_beyond(self._reached)
            return
        published, computed = self.published_volumes[self._volumes], volume.header
        self._volumes += 1
        differ = {
            name
            for name in published.keys() | computed.keys()
            if name not in TIMED and published.get(name) != computed.get(name)
        }
        self.identical_volumes += not differ
        self.alike_volumes += differ == {"sha256"}
        if differ:
            self._differ(f"volume of seq {published['seq']}", published, computed)

    # --- the outcome -----------------------------------------------------------------

    @property
    def identical(self) -> int:
        """Feedback messages that were computed as they were published."""
        return self.within(0.0)

    def within(self, tolerance: float) -> int:
        """Return how many feedback messages differ by so much of z at most."""
        return sum(isfinite(apart) and apart <= tolerance for apart in self.apart)

    @property
    def beyond_for(self) -> float:
        """Seconds of EEG from the first message beyond to the last sample."""
        return self._reached - self._beyond_from if self.beyond else 0.0

    @property
    def missing(self) -> int:
        """Messages that were published, and were not computed."""
        feedback = len(self.published) - len(self.apart)
        events = len(self.published_events) - self._events
        return feedback + events + len(self.published_volumes) - self._volumes

    @property
    def furthest(self) -> float:
        """The largest difference of a z; infinite where more than numbers differs."""
        missing = len(self.apart) < len(self.published)
        return max(self.apart, default=0.0) if not missing else inf

    @property
    def _next(self) -> Message | None:
        done = len(self.apart)
        return self.published[done] if done < len(self.published) else None

    def _apart(self, published: Message, computed: Message) -> float:
        """Return by how much of z two messages differ; infinite where more than numbers do."""
        if _facts(published) != _facts(computed):
            return inf
        if all(published[name] == computed[name] for name in NUMBERS):
            return 0.0
        here, there = self._numbers(published), self._numbers(computed)
        if here.keys() != there.keys():
            return inf
        apart = [abs(here[name] - there[name]) for name in here]
        if not all(map(isfinite, apart)):  # no number, by which nothing can be within
            return inf
        # Never 0, where rounding hides what is not identical.
        return max([LEAST, *apart])

    def _numbers(self, message: Message) -> dict[tuple[str, str], float]:
        """Return a message's numbers, in units of z, by region; what is null is not there."""
        found = {("", "value"): message["value"]}
        for roi, parts in message["rois"].items():
            found |= {(roi, part): number for part, number in parts.items()}
            if parts.get("raw") is not None:
                found[roi, "raw"] = parts["raw"] / self._sds.get(roi, 1.0)
        return {name: number for name, number in found.items() if number is not None}

    def _go_beyond(self, stamp: float) -> None:
        self.beyond += 1
        self._beyond_from = min(self._beyond_from, stamp)

    def _differ(self, what: str, published: Message, computed: Message) -> None:
        for name in sorted(published.keys() | computed.keys()):
            here, there = published.get(name), computed.get(name)
            if name not in TIMED and here != there:
                self.differences.append(
                    f"{what}: {name} was published as {here}, and is computed as {there}"
                )


def _events(messages: Sequence[Message]) -> Iterable[Message]:
    """Yield the events that samples and markers brought about, each with its place."""
    windows = 0
    for message in messages:
        if message["topic"] == "feedback":
            windows += message["reason"] not in SILENCES
        elif message["topic"] == "event" and message["event"] not in OUTSIDE:
            facts = {name: fact for name, fact in message.items() if name not in NAMES}
            yield {**facts, "windows": windows}


def _facts(message: Message) -> Message:
    """Return what has to be the same on every machine."""
    return {n: fact for n, fact in message.items() if n not in (*TIMED, *NUMBERS)}
