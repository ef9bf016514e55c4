"""What every fault is: frozen settings, and a plan in, a harmed plan out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from offline.faults.plan import Plan
from rtfeedback.channels import canonical
from rtfeedback.config import Config
from rtfeedback.errors import RtfeedbackError
from rtfeedback.signals import Bool

Seconds = Annotated[float, Field(ge=0)]
Length = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Fault(Config):
    """A fault, as it is named on the command line, with its keys.

    Times are seconds of the recording. A fault never touches the plan that it is given.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: ClassVar[str]
    of_markers: ClassVar[bool] = False
    """Whether it makes sense only where markers are sent."""
    first: ClassVar[bool] = False
    """Whether it has to be done before others, which refer to it."""

    def apply(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """Return the plan with the fault in it, and a note of each time that it strikes.

        Raises
        ------
        RtfeedbackError
            If the recording has no such time, channel or marker.
        """
        return self._harm(plan, rng)

    @abstractmethod
    def _harm(self, plan: Plan, rng: np.random.Generator) -> Plan: ...


class Recurring(Fault):
    """A fault that strikes at a time, and again if wanted."""

    at: Seconds = 10.0
    """Seconds from the first sample at which it strikes."""
    every: Length | None = None
    """Seconds after which it strikes again, over and over; once without."""

    def strikes(self, plan: Plan) -> list[float]:
        """Return the times at which it strikes."""
        check_time(self.name, self.at, plan)
        if self.every is None:
            return [self.at]
        # Not until the very end: what would strike less than a sample before it is none.
        last = plan.duration - 1 / plan.recording.info.sfreq
        return np.arange(self.at, last, self.every).tolist() or [self.at]


def check_time(name: str, at: float, plan: Plan) -> None:
    """Refuse a time that the recording does not have."""
    if at >= plan.duration:
        raise RtfeedbackError(
            f"The fault {name} would strike after the end of '{plan.recording.info.name}'",
            found=f"at={at:g} s, and it lasts {plan.duration:g} s",
            do="Give an earlier time",
        )


def draw_channel(name: str, channel: str | None, plan: Plan, rng: np.random.Generator) -> int:
    """Return the place of a channel in the recording, or of an EEG one by chance.

    Raises
    ------
    RtfeedbackError
        If the recording has no such channel.
    """
    info = plan.recording.info
    if channel is None:
        return int(rng.choice(np.flatnonzero(np.array(info.kinds) == "eeg")))
    if canonical(channel) not in info.channels:
        raise RtfeedbackError(
            f"'{info.name}' has no channel {channel} for the fault {name}",
            found=f"It has {', '.join(info.channels)}",
            do="Name one of these",
        )
    return info.channels.index(canonical(channel))


def rows_except(plan: Plan, *gone: slice) -> Bool:
    """Return which rows stay when some are gone."""
    kept = np.ones(len(plan.index), dtype=np.bool_)
    for rows in gone:
        kept[rows] = False
    return kept
