"""What a run would have predicted of a recording: the same windows, verdicts and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import inf
from typing import NamedTuple

import numpy as np

from offline.eeg.recordings import Recording
from rtfeedback.chain import Chain
from rtfeedback.errors import RecordingError
from rtfeedback.models.monte_carlo import network_of
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.online.feedback import FeedbackMaker
from rtfeedback.online.line import Line
from rtfeedback.online.memory import MemorySource
from rtfeedback.online.plausibility import Plausibility
from rtfeedback.online.volumes import CountedVolumes
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Feedback, Float32, Float64, Int64

CHUNK = 1.0  # s of samples at a time; any other gives the same values
OK, TOO_EARLY = "ok", "warming_up"


class Heard(NamedTuple):
    """A window that a run would have answered with a number.

    Attributes
    ----------
    end : float
        Seconds from the recording's first sample at which it ends.
    window : float32, shape (n_features, n_times)
        What the model saw; a view that holds until the next is asked for.
    predicted : float64, shape (n_voxels,) or (n_targets,)
        The voxels of the mask, in C order of the grid, or the regions.
    """

    end: float
    window: Float32
    predicted: Float64


class Listened:
    """Passes a recording along the line of `run`, its volumes counted by the checkpoint's TR.

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
        spec, info = predictor.spec, recording.info
        self._predictor = predictor
        chunk = max(1, round(CHUNK * info.sfreq))
        self._source = MemorySource(info, recording.samples, chunk=chunk)
        plausibility = Plausibility(spec, spec.tr)
        self._plausibility = plausibility
        self._line = Line(
            Chain(spec.chain, info, tap=plausibility.tap),
            spec.window,
            CountedVolumes(spec.tr),
            hop=hop,
            plausibility=plausibility,
        )
        self._answer = FeedbackMaker(
            session="",
            run=info.name,
            checkpoint=predictor.checkpoint.hash,
            rois=[target.name for target in spec.targets],
            flags=(),
            period=inf,
            clock=_Unhurried(),
        )
        self._voxels = _voxels(predictor)
        self._seconds = len(recording.samples) / info.sfreq
        self.verdicts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Heard]:
        """Yield each valid window, in order, and what is predicted of it."""
        while self._source.left:
            for window in self._line.push(self._source.take()):
                answer = self._answer.of_window(window, self._predictor)
                self.verdicts[answer.reason] += 1
                if answer.valid:
                    yield Heard(window.due_time, window.data, self._predicted(answer))

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
        doubt, (reason, n) = self._plausibility.doubt, others.most_common(1)[0]
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
