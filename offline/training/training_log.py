"""Each epoch of a training, told: on a bar, and to TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Protocol

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from offline.progress import epochs_bar

LOGS = "logs"  # the folder beside what is trained; below it one for each training


class Log(Protocol):
    """Who is told of a training's epochs."""

    def epoch(self, epoch: int, loss: float, validation: float, r: float, rate: float) -> None:
        """Hear what an epoch reached: loss, the validation's loss and r, the rate."""


class TrainingLog:
    """Tells of epochs.

    Parameters
    ----------
    show : callable
        Epoch, loss, validation loss and r: the bar.
    folder : Path
        Of TensorBoard's file, which is begun with the first epoch.
    """

    def __init__(self, show: Callable[[int, float, float, float], None], folder: Path) -> None:
        self._show, self._folder = show, folder
        self._writer: EventFileWriter | None = None

    def epoch(self, epoch: int, loss: float, validation: float, r: float, rate: float) -> None:
        """Tell what an epoch reached."""
        self._show(epoch, loss, validation, r)
        values = {
            "loss/training": loss,
            "loss/validation": validation,
            "r/validation": r,
            "learning rate": rate,
        }
        summary = Summary(
            value=[
                Summary.Value(tag=tag, simple_value=value)
                for tag, value in values.items()
                if isfinite(value)
            ]
        )
        if self._writer is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._writer = EventFileWriter(str(self._folder))
        self._writer.add_event(Event(step=epoch, summary=summary))

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


@contextmanager
def training_log(out: Path, epochs: int) -> Iterator[TrainingLog]:
    """Show a bar, and write TensorBoard's event file for what will lie at a path.

    Parameters
    ----------
    out : Path
        `tensorboard --logdir` of `logs` beside it shows all trainings side by side.
    epochs : int
        At most.
    """
    with epochs_bar(epochs) as show:
        log = TrainingLog(show, out.parent / LOGS / out.name)
        try:
            yield log
        finally:
            log.close()
