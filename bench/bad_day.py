"""One bad day: a harmed recording over LSL, a daemon, and what a subject's program hears."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import inf, isfinite

import numpy as np

from bench.truth import Judge, Judged, Message, Truth, samples_lost, usable
from offline.faults import Plan
from offline.play import play_plan
from offline.player import PlayReport
from rtfeedback.errors import RtfeedbackError
from rtfeedback.online.lsl import clock
from rtfeedback.online.trclock import TRClock
from rtfeedback.signals import Marker
from tests.lab import Lab

PATIENCE = 30.0  # s beyond the day's own length after which it is given up
SILENCES = ("stale", "refused")


@dataclass(frozen=True, slots=True)
class Day:
    """What was sent, and what was received.

    Attributes
    ----------
    plan : Plan
    start : float
        Stamp of the recording's first sample.
    messages : list of dict
        All that the subject's program received, but for the silence after the end.
    refusal : str
        Why the run was refused before it told anything, empty where it was not.
    crash : str
        What else the run ended by, empty where it ended as it was told to.
    """

    plan: Plan
    start: float
    messages: list[Message]
    refusal: str = ""
    crash: str = ""

    @property
    def feedback(self) -> list[Message]:
        """The feedback messages."""
        return [m for m in self.messages if m["topic"] == "feedback"]

    @property
    def valid(self) -> list[Message]:
        """The valid feedback messages."""
        return [m for m in self.feedback if m["valid"]]

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Reasons in their order, each with how many messages in a row gave it."""
        given = groupby(m["reason"] for m in self.feedback)
        return [(reason, len(list(group))) for reason, group in given]

    @property
    def events(self) -> dict[str, int]:
        """How often each event came, but for marked volumes; in their order."""
        counts: dict[str, int] = {}
        for message in self.messages:
            if message["topic"] == "event" and message["event"] != "volume":
                counts[message["event"]] = counts.get(message["event"], 0) + 1
        return counts

    @property
    def said(self) -> set[str]:
        """Every reason and event that was on the wire."""
        return {reason for reason, _ in self.reasons} | set(self.events)

    @property
    def status(self) -> Message:
        """The last status."""
        return [m for m in self.messages if m["topic"] == "status"][-1]


def live_through(lab: Lab, plan: Plan, *, speed: float, markers: bool = True) -> Day:
    """Play a plan to a daemon that has been started, and return what was heard.

    Parameters
    ----------
    lab : Lab
        Started; it is stopped.
    plan : Plan
    speed : float
    markers : bool
        Whether markers are sent; the lab has to have been told.
    """
    player = _Player(lab, plan, speed, markers)
    deadline = time.monotonic() + plan.duration / (speed * plan.pace) + PATIENCE
    stuck: Exception | None = None
    try:
        while not (lab.error or player.heard_out()):
            lab.listen()
            if time.monotonic() > deadline:
                raise TimeoutError(f"silence was not told for {PATIENCE:g} s after the end")
        if lab.error is None:
            lab.stop()
    except (TimeoutError, AssertionError) as error:  # the lab asserts that a run ends
        stuck = error
    finally:
        report = player.end()
    refusal, crash = ending(lab.error or stuck, lab)
    return Day(plan, report.start, _without_the_end(lab.messages, player.sent), refusal, crash)


def ending(error: BaseException | None, lab: Lab) -> tuple[str, str]:
    """Return what a run was refused for, or else what it broke down by."""
    if error is None:
        return "", ""
    text = str(error).replace(lab.name, "EEG")
    # Once it has told something, it has to go on, whatever comes.
    if isinstance(error, RtfeedbackError) and not lab.of("feedback"):
        return text, ""
    return "", f"{type(error).__name__}: {text}"


class _Player:
    """`play` in a thread of its own."""

    def __init__(self, lab: Lab, plan: Plan, speed: float, markers: bool) -> None:
        self.lab, self.plan, self.speed = lab, plan, speed
        self.markers = lab.name + "-markers" if markers else None
        self.sent = inf
        self.report: PlayReport | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.report = play_plan(
            self.plan,
            stream=self.lab.name,
            markers=self.markers,
            speed=self.speed,
            linger=PATIENCE,
            stop=self._stop,
            report=self._hear,
        )

    def _hear(self, line: str) -> None:
        if line.startswith("played"):
            self.sent = clock()

    def heard_out(self) -> bool:
        """Return whether silence was told after all was sent: so all was taken before."""
        last = next((m for m in reversed(self.lab.messages) if m["topic"] == "feedback"), None)
        return last is not None and _is_silence(last, self.sent)

    def end(self) -> PlayReport:
        self._stop.set()
        self._thread.join(PATIENCE)
        assert self.report is not None, "the player did not end"
        return self.report


def _is_silence(message: Message, since: float) -> bool:
    """Tell whether a message says that no EEG comes any more."""
    silent = message["topic"] == "feedback" and message["reason"] in SILENCES
    return silent and message["publish_time"] > since


def _without_the_end(messages: Sequence[Message], sent: float) -> list[Message]:
    return [message for message in messages if not _is_silence(message, sent)]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a day was worth.

    Attributes
    ----------
    judged : list of Judged
        Every valid value, held against the truth.
    invalid : list of (float, float)
        Stretches of the recording, in seconds, that went by without a valid value though
        the good day has one there; the second is infinite where none came any more.
    counted, lost : int or None
        Samples that the daemon knows to be missing, and those that are.
    silent : float
        Longest stretch of EEG that came without a feedback message, in seconds, from the
        first marker on.
    """

    judged: list[Judged]
    invalid: list[tuple[float, float]]
    counted: int | None
    lost: int | None
    silent: float = 0.0

    @property
    def largest(self) -> float | None:
        """Largest error of a valid value, in sds of its region."""
        return max((each.error for each in self.judged), default=None)

    @property
    def renumbered(self) -> int:
        """By how many volumes a valid value was numbered off, at most."""
        return max((each.volume_off for each in self.judged), key=abs, default=0)


def judge(day: Day, truth: Truth, good: Sequence[float] = ()) -> Verdict:
    """Hold what was received against the truth.

    Parameters
    ----------
    day : Day
    truth : Truth
    good : sequence of float
        Where valid values are on the good day, in seconds of the recording.
    """
    if day.refusal or day.crash:
        return Verdict([], [(good[0], inf)] if good else [], None, None)
    judging = Judge(truth, day.plan, day.start, day.messages)
    judged = [judging.judge(message) for message in day.valid]
    received = day.status["samples_received"]
    lost = samples_lost(day.plan, truth.predictor, received)
    return Verdict(
        judged,
        _without_value(good, [each.seconds for each in judged]),
        day.status["samples_lost"],
        lost,
        longest_silence(day, truth),
    )


def longest_silence(day: Day, truth: Truth) -> float:
    """Return for how much EEG nothing was told, by the samples that came as numbers.

    By samples and not by the clock: a speed, a pause of the outlet or a machine that is
    busy with something else are no silence of the run.
    """
    came = np.concatenate([[0], np.cumsum(usable(day.plan, truth.predictor))])
    told = [m["sample"] for m in day.feedback if m["sample"] is not None]
    volumes = [m.sent for m in day.plan.markers if TRClock(1.0).push(Marker(0.0, m.label))]
    if volumes:
        first = min(volumes)
        told.append(int(np.searchsorted(day.plan.sent, first)))
    told.append(day.status["samples_received"])
    counts = came[np.clip(sorted(told), 0, len(came) - 1)]
    return float(np.diff(counts).max(initial=0)) / day.plan.recording.info.sfreq


def _without_value(good: Sequence[float], here: Sequence[float]) -> list[tuple[float, float]]:
    """Return from where to where the good day has values and this one has none."""
    step = min((b - a for a, b in pairwise(good)), default=1.0)
    stretches: list[tuple[float, float]] = []
    missing: float | None = None
    for time_ in good:
        if any(abs(time_ - each) < step / 2 for each in here):
            if missing is not None:
                stretches.append((missing, time_))
            missing = None
        elif missing is None:
            missing = time_
    return stretches if missing is None else [*stretches, (missing, inf)]


def worst(verdict: Verdict) -> Judged | None:
    """Return the valid value that is furthest from the truth."""
    return max(verdict.judged, key=lambda each: each.error, default=None)


def is_true(verdict: Verdict, bound: float) -> bool:
    """Return whether no valid value is further from the truth than a bound."""
    return all(isfinite(each.error) and each.error <= bound for each in verdict.judged)
