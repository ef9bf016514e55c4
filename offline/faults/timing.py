"""Faults of time: what is lost on the way, held back, or stamped wrongly."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from offline.faults.fault import (
    Count,
    Fault,
    Length,
    Recurring,
    Seconds,
    check_time,
    rows_except,
)
from offline.faults.plan import Plan


class Drop(Recurring):
    """Samples are lost on their way; the others keep their stamps."""

    name: ClassVar[str] = "drop"

    n: Count = 25
    """Samples lost each time."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        gone, seconds = [], self.n / plan.recording.info.sfreq
        for at in self.strikes(plan):
            rows = plan.span(at, seconds)
            gone.append(rows)
            plan = plan.note(at, f"{self.name}: {rows.stop - rows.start} samples are lost")
        return plan.keep(rows_except(plan, *gone))


class Freeze(Recurring):
    """Nothing is sent for a while, and the outlet stays open."""

    name: ClassVar[str] = "freeze"

    duration: Length = 2.0
    """Seconds without a sample."""
    then: Literal["lost", "held"] = "lost"
    """Whether what was recorded meanwhile is lost, or sent at once afterwards."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        gone, sent = [], plan.sent.copy()
        for at in self.strikes(plan):
            rows = plan.span(at, self.duration)
            sent[rows] = np.maximum(sent[rows], at + self.duration)
            gone.append(rows)
            plan = plan.note(at, f"{self.name}: nothing for {self.duration:g} s, {self.then}")
        if self.then == "lost":
            return plan.keep(rows_except(plan, *gone))
        return replace(plan, sent=np.maximum.accumulate(sent))


class Bursts(Fault):
    """Chunks are held back and sent in bursts, with their true stamps."""

    name: ClassVar[str] = "bursts"

    interval: Length = 0.5
    """Seconds from burst to burst."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        bursts = np.ceil(plan.sent / self.interval - 1e-9) * self.interval
        plan = plan.note(0, f"{self.name}: chunks are sent every {self.interval:g} s")
        return replace(plan, sent=np.maximum(bursts, plan.sent))


class Jitter(Fault):
    """Stamps scatter about the true ones."""

    name: ClassVar[str] = "jitter"

    sd: Length = 0.002
    """Standard deviation in seconds, of a normal distribution."""
    per: Literal["sample", "chunk"] = "sample"
    """Whether each sample's stamp is off by itself, or each chunk's together."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        of = np.arange(len(plan.sent))
        if self.per == "chunk":
            of = np.unique(plan.sent, return_inverse=True)[1]
        off = rng.normal(0, self.sd, int(of.max()) + 1)[of]
        plan = plan.note(0, f"{self.name}: stamps scatter by {1000 * self.sd:g} ms")
        return replace(plan, scatter=plan.scatter + off)


class Drift(Fault):
    """The sender's clock runs fast, so that its stamps do."""

    name: ClassVar[str] = "drift"

    ppm: float = 100.0
    """Parts per million; a slow clock has a negative one."""
    markers: bool = True
    """Whether the markers are stamped by the same clock."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        plan = plan.note(0, f"{self.name}: stamps run fast by {self.ppm:g} ppm")
        return _stretched(plan, 1 + 1e-6 * self.ppm, markers=self.markers)


class Rate(Fault):
    """The stated rate and the real one differ."""

    name: ClassVar[str] = "rate"

    factor: float = Field(1.01, gt=0.01, lt=100)
    """What the rate is multiplied with."""
    what: Literal["stated", "real"] = "real"
    """Which rate is multiplied: the stated one, or the one at which samples come."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        rate = plan.recording.info.sfreq * self.factor
        plan = plan.note(0, f"{self.name}: the {self.what} rate is {rate:g} Hz")
        if self.what == "real":
            plan = replace(plan, pace=plan.pace * self.factor)
            return _stretched(plan, 1 / self.factor, markers=True)
        lives = [replace(life, info=replace(life.info, sfreq=rate)) for life in plan.lives]
        return replace(plan, lives=tuple(lives))


class Clock(Fault):
    """The sender's clock is set: stamps jump, and nothing is lost."""

    name: ClassVar[str] = "clock"

    at: Seconds = 10.0
    """Seconds from the first sample at which it is set."""
    by: float = 1.0
    """Seconds by which it is set ahead; back where negative."""
    markers: bool = True
    """Whether the markers are stamped by the same clock."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        check_time(self.name, self.at, plan)
        clock = plan.clock.copy()
        clock[plan.span(self.at, plan.duration)] += self.by
        markers = plan.markers
        if self.markers:
            markers = tuple(
                replace(marker, stamp=marker.stamp + self.by * (marker.time >= self.at))
                for marker in markers
            )
        plan = plan.note(self.at, f"{self.name}: set by {self.by:+g} s")
        return replace(plan, clock=clock, markers=markers, period=plan.period + self.by)


def _stretched(plan: Plan, factor: float, *, markers: bool) -> Plan:
    """Return the plan with its clock stretched from the first sample on."""
    marked = plan.markers
    if markers:
        marked = tuple(replace(each, stamp=each.stamp * factor) for each in marked)
    clock, period = plan.clock * factor, plan.period * factor
    return replace(plan, clock=clock, markers=marked, period=period)
