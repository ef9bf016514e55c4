"""What of a run is to be predicted: regions or the task's conditions, now or ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from offline.store.dataset import Run
from rtfeedback.checkpoint import Target
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float64


@dataclass(frozen=True, slots=True)
class Aims:
    """The courses that a model is trained to give, in the order of its targets.

    Attributes
    ----------
    names : tuple of str
        Of regions of the store, or of conditions.
    of_task : bool
        Whether they are conditions.
    ahead : tuple of float
        Seconds after a window's own time; all of the names at the first one come first.
    """

    names: tuple[str, ...]
    of_task: bool = False
    ahead: tuple[float, ...] = (0.0,)

    @classmethod
    def of_targets(cls, targets: Sequence[Target], *, of_task: bool) -> Aims:
        """Return what a checkpoint's targets are."""
        ahead = tuple(dict.fromkeys(target.ahead for target in targets))
        names = tuple(target.of for target in targets[: len(targets) // len(ahead)])
        return cls(names, of_task, ahead)

    def target_names(self) -> list[tuple[str, str, float]]:
        """Return each target's name, what it is of, and how many seconds ahead it is."""
        return [
            (f"{name}+{ahead:g}s" if ahead else name, name, ahead)
            for ahead in self.ahead
            for name in self.names
        ]

    def courses(self, run: Run) -> Float64:
        """Return a run's courses, shape (n_volumes, n_targets).

        NaN where a volume is scrubbed, or what is ahead is after the run's end.

        Raises
        ------
        DatasetError
            If the run has no such course.
        """
        known = list(run.manifest.conditions) if self.of_task else run.target_names
        absent = [name for name in self.names if name not in known]
        if absent:
            raise DatasetError(
                f"The run {run.name} has no {'condition' if self.of_task else 'target'}"
                f" '{absent[0]}'",
                found=f"It has {', '.join(known) or 'none'}",
                do="Train on runs that have the same, or take another model",
            )
        every = run.task if self.of_task else run.targets
        now = every[:, [known.index(name) for name in self.names]]
        return np.concatenate(
            [_ahead(now, each / run.manifest.tr) for each in self.ahead], axis=1
        )


def _ahead(courses: Float64, volumes: float) -> Float64:
    """Return courses some volumes later, interpolated between two of them, NaN at the end."""
    whole = int(np.floor(volumes))
    share = volumes - whole
    found = np.full(courses.shape, np.nan)
    n = len(courses) - whole - (share > 0)
    if n > 0:
        first = courses[whole : whole + n]
        second = courses[whole + 1 : whole + 1 + n] if share else first
        found[:n] = first + share * (second - first)
    return found
