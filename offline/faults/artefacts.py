"""Faults of the signal: what is no EEG, or no number."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from offline.faults.fault import Length, Recurring, draw_channel
from offline.faults.plan import Plan
from offline.injection import Kind, inject
from rtfeedback.errors import RtfeedbackError
from rtfeedback.signals import Float32

_TAIL = 10.0  # s, or durations, within which every artefact is over


class NaN(Recurring):
    """Values are not numbers."""

    name: ClassVar[str] = "nan"

    duration: Length = 1.0
    """Seconds for which they are not."""
    channel: str | None = None
    """Its label, or `all`; an EEG channel by chance without."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        columns: slice | int = slice(None)
        where = "every channel"
        if self.channel != "all":
            columns = draw_channel(self.name, self.channel, plan, rng)
            where = plan.recording.info.channels[columns]
        samples = plan.samples.copy()
        for at in self.strikes(plan):
            samples[plan.span(at, self.duration), columns] = np.nan
            plan = plan.note(at, f"{self.name}: {where} for {self.duration:g} s")
        return replace(plan, samples=samples)


class _Artefact(Recurring):
    """An artefact of `offline.injection`, which states its ranges and their sources."""

    duration: Length | None = None
    """Seconds that it lasts, of a pop its time constant; drawn without."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        samples, name = plan.samples.copy(), self.name
        channel = self._channel(plan, rng)
        for at in self.strikes(plan):
            rows = plan.span(at, max(_TAIL, _TAIL * (self.duration or 0)))
            if rows.start < rows.stop:
                samples[rows], where = self._inject(plan, samples[rows], channel, rng)
                plan = plan.note(at, f"{name}: {where}")
        return replace(plan, samples=samples)

    def _channel(self, plan: Plan, rng: np.random.Generator) -> str | None:
        return None

    def _inject(
        self, plan: Plan, samples: Float32, channel: str | None, rng: np.random.Generator
    ) -> tuple[Float32, str]:
        """Return samples with the artefact at their first, and where it is at its height."""
        info, kind = plan.recording.info, self._kind()
        harmed, affected = inject(
            samples, info, kind, 0.0, rng, channel=channel, duration=self.duration
        )
        labels = [info.channels[i] for i in np.flatnonzero(affected.any(axis=0))]
        seconds = float(affected.any(axis=1).sum()) / info.sfreq
        return harmed, f"{', '.join(labels) or 'no channel'}, {seconds:.2g} s at its height"

    @classmethod
    def _kind(cls) -> Kind:
        return cls.name  # type: ignore[return-value]


class _AtChannel(_Artefact):
    channel: str | None = None
    """Where it is, or its middle; an EEG channel by chance without, another each time."""

    def _channel(self, plan: Plan, rng: np.random.Generator) -> str | None:
        if self.channel is None:
            return None
        place = draw_channel(self.name, self.channel, plan, rng)
        return plan.recording.info.channels[place]


class Blink(_Artefact):
    """The eyes blink: 80-250 uV at the forehead, less further back."""

    name: ClassVar[str] = "blink"


class Pop(_AtChannel):
    """An electrode pops: a step of 100-500 uV in one channel that fades."""

    name: ClassVar[str] = "pop"


class Movement(_AtChannel):
    """The head moves: 150-500 uV of slow waves over half of the channels or more."""

    name: ClassVar[str] = "movement"


class Muscle(_AtChannel):
    """Muscles tense: 30-100 uV of noise above 20 Hz in channels beside each other."""

    name: ClassVar[str] = "muscle"


class Flat(_AtChannel):
    """A channel holds one value: its last, zero or the amplifier's rail."""

    name: ClassVar[str] = "flat"

    channel: str | None = None
    """Its label, or `all`, which hold their last; an EEG channel by chance without."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        if self.channel != "all":
            return super()._harm(plan, rng)
        samples, duration = plan.samples.copy(), self.duration or _TAIL
        for at in self.strikes(plan):
            rows = plan.span(at, duration)
            samples[rows] = samples[rows.start : rows.start + 1]
            plan = plan.note(at, f"{self.name}: every channel for {duration:g} s")
        return replace(plan, samples=samples)


class Repeat(Recurring):
    """The amplifier's program sends its last buffer again and again, bit for bit."""

    name: ClassVar[str] = "repeat"

    length: Length = 0.25
    """Seconds that the buffer holds."""
    duration: Length = 10.0
    """Seconds for which it is sent again."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        samples = plan.samples.copy()
        size = max(1, round(self.length * plan.recording.info.sfreq))
        for at in self.strikes(plan):
            rows = plan.span(at, self.duration)
            if rows.start < size:
                raise RtfeedbackError(
                    f"The fault {self.name} has no buffer to send again",
                    found=f"at={at:g} s, and the buffer holds {self.length:g} s",
                    do="Give a later time",
                )
            again = np.arange(rows.stop - rows.start) % size
            samples[rows] = samples[rows.start - size + again]
            plan = plan.note(
                at, f"{self.name}: the last {self.length:g} s for {self.duration:g} s"
            )
        return replace(plan, samples=samples)
