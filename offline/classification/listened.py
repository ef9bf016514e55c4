"""What a run would have predicted of a recording: the same windows, verdicts and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from offline.eeg.recordings import Recording
from rtfeedback.errors import RecordingError
from rtfeedback.models.monte_carlo import network_of
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.online.course import Course
from rtfeedback.online.memory import MemorySource
from rtfeedback.online.settings import RunConfig, RunOptions
from rtfeedback.online.whole_volume import WholeVolume
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Feedback, Float32, Float64, Int64, Window

CHUNK = 1.0  # s of samples at a time; any other gives the same values
OK, TOO_EARLY = "ok", "warming_up"


class Heard(NamedTuple):
    """A window that a run would have answered with a number.

    Attributes
    ----------
    end : float
        Seconds from the recording's first sample at which it ends.
    window : float32, shape (n_features, n_times)
        What the model saw.
    predicted : float64, shape (n_voxels,) or (n_targets,)
        The voxels of the mask, in C order of the grid, or the regions.
    """

    end: float
    window: Float32
    predicted: Float64


class Listened:
    """Passes a recording through the course of a run, volumes counted by the checkpoint's TR.

    Parameters
    ----------
    predictor : Predictor
    recording : Recording
    hop : float, optional
        Seconds between windows that are predicted besides those of each TR.

    Attributes
    ----------
    verdicts : Counter of str
        How many windows were answered so far, by `reason` on the wire: `ok`, `artefact`...

    Raises
    ------
    ChannelError
        If the recording is not what the checkpoint needs.
    """

    def __init__(
        self, predictor: Predictor, recording: Recording, hop: float | None = None
    ) -> None:
        info = recording.info
        self._predictor = predictor
        chunk = max(1, round(CHUNK * info.sfreq))
        self._source = MemorySource(info, recording.samples, chunk=chunk)
        self._course = Course(
            predictor,
            RunOptions(stream=info.name, out=Path(), hop=hop),
            RunConfig(),
            tell=self,
            clock=_Unhurried(),
            flags=(),
            session="",
            run=info.name,
        )
        self._course.open(self._course.make_chain(info))
        self._voxels = _voxels(predictor)
        self._seconds = len(recording.samples) / info.sfreq
        self._window: Window | None = None  # that is being answered
        self._heard: list[Heard] = []
        self.verdicts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Heard]:
        """Yield each valid window, in order, and what is predicted of it."""
        while self._source.left:
            for window in self._course.push(self._source.take()):
                self._window = window  # its feedback is told before the next
            yield from self._heard
            self._heard.clear()

    def feedback(self, feedback: Feedback) -> None:
        """Take what a run would tell of a window."""
        self.verdicts[feedback.reason] += 1
        if feedback.valid:
            assert self._window is not None
            window = self._window.data.copy()
            self._heard.append(Heard(self._window.due_time, window, self._predicted(feedback)))

    def volume(self, volume: WholeVolume) -> None:
        """Take a volume for the wire: none is asked for, as all are taken as they are."""

    def event(self, kind: str, **facts: Any) -> None:
        """Take what happened to the stream: what it bears on is in the verdicts."""

    def _predicted(self, answer: Feedback) -> Float64:
        volume = self._predictor.volume()
        if self._voxels is None or volume is None:
            return np.array([roi.raw for roi in answer.rois.values()], dtype=np.float64)
        return volume.reshape(-1)[self._voxels].astype(np.float64)

    def too_few(self, least: int) -> RecordingError:
        """Return what says that a run would have answered too few windows."""
        spec, name = self._predictor.spec, self._source.name
        others = Counter(self.verdicts)
        del others[OK], others[TOO_EARLY]
        if not others:
            return RecordingError(
                f"The recording '{name}' is too short",
                found=f"{self._seconds:.0f} s hold {self.verdicts[OK]} valid windows of"
                f" {spec.window.length:g} s, where {least} are needed",
                do="Record longer",
            )
        doubt, (reason, n) = self._course.plausibility.doubt, others.most_common(1)[0]
        return RecordingError(
            f"The recording '{name}' holds too little that a run would have believed",
            found=f"{self.verdicts[OK]} windows are valid, {n} are not: {reason}."
            + (f" {doubt.found}" if doubt else ""),
            do="Look at its EEG; where only its amplitude is another, --calibrate",
        )


class _Unhurried:
    """A clock for what may take its time: nothing is ever late."""

    def lsl(self) -> float:
        return 0.0

    def age_ms(self, received: float) -> float:
        return 0.0


def _voxels(predictor: Predictor) -> Int64 | None:
    model = network_of(predictor.checkpoint.model)
    return model.voxels.cpu().numpy() if isinstance(model, VolumeNetwork) else None
