"""A training that is killed at the end of an epoch, for what sees of it."""

from __future__ import annotations

import pytest

from offline.training.training_state import Epochs, TrainingState


class Killed(BaseException):
    """As a signal would end the process."""


def kill_after(monkeypatch: pytest.MonkeyPatch, n: int) -> list[int]:
    """Have what trains killed when n epochs are kept; return those, as they are kept."""
    keep, epochs = TrainingState.keep, list[int]()

    def until_killed(state: TrainingState, fitting: Epochs) -> None:
        keep(state, fitting)
        epochs.append(fitting.epoch)
        if len(epochs) == n:
            raise Killed

    monkeypatch.setattr(TrainingState, "keep", until_killed)
    return epochs
