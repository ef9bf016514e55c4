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
    writer : EventFileWriter
    """

    def __init__(
        self, show: Callable[[int, float, float, float], None], writer: EventFileWriter
    ) -> None:
        self._show, self._writer = show, writer

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
        self._writer.add_event(Event(step=epoch, summary=summary))


@contextmanager
def training_log(folder: Path, epochs: int) -> Iterator[TrainingLog]:
    """Show a bar, and write TensorBoard's event file into a folder.

    Parameters
    ----------
    folder : Path
        `tensorboard --logdir` of the folder above it shows all trainings side by side.
    epochs : int
        At most.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer = EventFileWriter(str(folder))
    try:
        with epochs_bar(epochs) as show:
            yield TrainingLog(show, writer)
    finally:
        writer.close()
