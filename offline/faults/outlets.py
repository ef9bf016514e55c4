"""Faults of the outlet: it restarts, or offers other channels or units than before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from offline.faults.fault import Fault, Recurring, Seconds, draw_channel, rows_except
from offline.faults.plan import EEGLife, LifeT, Plan
from rtfeedback.channels import scale_to_volts
from rtfeedback.errors import ChannelError, RtfeedbackError


class Restart(Recurring):
    """The outlet closes, and opens again after a pause; what comes meanwhile is lost."""

    name: ClassVar[str] = "restart"
    first: ClassVar[bool] = True

    pause: Seconds = 2.0
    """Seconds for which there is no outlet."""
    source: Literal["same", "new"] = "same"
    """Whether it has the same source id as before."""
    outlet: Literal["eeg", "markers", "both"] = "eeg"
    """Which outlet it is."""
    wait: bool = False
    """Whether nothing goes on before someone receives it again: no amplifier does so."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        for at in self.strikes(plan):
            plan = self._restart(plan, at)
        return plan

    def _restart(self, plan: Plan, at: float) -> Plan:
        which = "both outlets" if self.outlet == "both" else f"the {self.outlet} outlet"
        text = f"{self.name}: {which} closed for {self.pause:g} s, {self.source} source id"
        plan = plan.note(at, text)
        if self.outlet != "eeg":
            plan = replace(plan, marker_lives=self._split(plan.marker_lives, at))
        if self.outlet != "markers":
            plan = replace(plan, lives=self._split(plan.lives, at))
            plan = plan.keep(rows_except(plan, plan.span(at, self.pause)))
        return plan

    def _split(self, lives: tuple[LifeT, ...], at: float) -> tuple[LifeT, ...]:
        last = next(life for life in reversed(lives) if life.opens <= at)
        if not at < last.closes or at + self.pause >= last.closes:
            raise RtfeedbackError(
                "Two restarts overlap",
                found=f"One is at {at:g} s for {self.pause:g} s",
                do="Put them further apart",
            )
        i = lives.index(last)
        sources = [life.source for life in lives]
        source = last.source if self.source == "same" else max(sources) + 1
        after = replace(last, source=source, opens=at + self.pause, waits=self.wait)
        return (*lives[:i], replace(last, closes=at), after, *lives[i + 1 :])


class _Offering(Fault):
    """What the EEG outlet offers, from the start or from a restart on."""

    since: Literal["start", "restart"] = "start"
    """From the start on, or from the first restart on, which is a fault of its own."""
    until: Literal["end", "restart"] = "end"
    """Up to the end, or up to the next restart."""

    def _change(self, plan: Plan, change: Callable[[EEGLife], EEGLife], text: str) -> Plan:
        first = 0 if self.since == "start" else 1
        last = len(plan.lives) if self.until == "end" else first + 1
        needed = max(first + 1, last + (self.until == "restart"))
        if len(plan.lives) < needed:
            raise RtfeedbackError(
                f"The fault {self.name} needs {needed - 1} restarts that it can refer to",
                found=f"There are {len(plan.lives) - 1}",
                do="Add: --fault restart:at=...",
            )
        lives = tuple(
            change(life) if first <= i < last else life for i, life in enumerate(plan.lives)
        )
        at = max(0.0, lives[first].opens)
        return replace(plan, lives=lives).note(at, f"{self.name}: {text}")


class Permute(_Offering):
    """The channels come in another order, and their labels with them."""

    name: ClassVar[str] = "permute"

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        n = len(plan.recording.info.channels)
        rank = rng.permutation(n)
        if (rank == np.arange(n)).all():
            rank = np.roll(rank, 1)

        def change(life: EEGLife) -> EEGLife:
            places = range(len(life.columns))
            return _offer(life, sorted(places, key=lambda i: int(rank[life.columns[i]])))

        return self._change(plan, change, "channels in another order")


class Missing(_Offering):
    """A channel is not there."""

    name: ClassVar[str] = "missing"

    channel: str | None = None
    """Its label; an EEG channel by chance without."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        column = draw_channel(self.name, self.channel, plan, rng)

        def change(life: EEGLife) -> EEGLife:
            return _offer(life, [i for i, c in enumerate(life.columns) if c != column])

        label = plan.recording.info.channels[column]
        return self._change(plan, change, f"no channel {label}")


class Unit(_Offering):
    """The values come in another unit, with or without saying so."""

    name: ClassVar[str] = "unit"

    to: str = "volts"
    """The unit, of voltage."""
    stated: bool = False
    """Whether the stream states it."""
    factor: float | None = None
    """What the values are multiplied with in place of what the unit asks for."""

    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan:
        factor = self._factor(plan)

        def change(life: EEGLife) -> EEGLife:
            info = life.info
            if self.stated:
                info = replace(info, units=(self.to,) * len(info.units))
            return replace(life, info=info, scale=life.scale * factor)

        said = "stated" if self.stated else "not stated"
        return self._change(plan, change, f"{self.to} (values x {factor:g}), {said}")

    def _factor(self, plan: Plan) -> float:
        try:
            volts = scale_to_volts(self.to)
        except ChannelError:
            if self.factor is None:
                raise
            return self.factor  # a word that is no unit may be stated as well
        recorded = scale_to_volts(plan.recording.info.units[0])
        return recorded / volts if self.factor is None else self.factor


def _offer(life: EEGLife, places: list[int]) -> EEGLife:
    """Return a life that offers these of its channels."""

    def pick(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(values[i] for i in places)

    info = replace(
        life.info,
        channels=pick(life.info.channels),
        kinds=pick(life.info.kinds),
        units=pick(life.info.units),
    )
    return replace(life, info=info, columns=tuple(life.columns[i] for i in places))
