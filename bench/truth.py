"""What a run should have published: the desk's prediction from the unharmed recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from offline.eeg.features import through_chain
from offline.eeg.recordings import Recording
from offline.faults import Plan
from offline.store.dataset import window_at
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Bool, Float32, Float64
from rtfeedback.windows import reached

Message = dict[str, Any]

GAP = 0.02  # s: the daemon's declared threshold; a smaller jump begins no segment
SYNC = 3e-4  # s by which liblsl's clock correction may move a stamp on one machine


class Truth:
    """Predictions from an unharmed recording, for any time and any beginning.

    Parameters
    ----------
    predictor : Predictor
    recording : Recording
    """

    def __init__(self, predictor: Predictor, recording: Recording) -> None:
        self.predictor, self.recording = predictor, recording
        self._features: dict[int, tuple[Float32, Float64]] = {}

    def z(self, target: float, begin: int = 0) -> dict[str, float] | None:
        """Return each region's z for a time, or None where no window is whole.

        Parameters
        ----------
        target : float
            The time that is predicted, in seconds of the recording.
        begin : int
            The sample with which the chain begins.
        """
        spec, (_, n_times) = self.predictor.spec, self.predictor.shape
        features, stamps = self._from(begin)
        end = np.array([target - spec.window.lead])
        newest, there = reached(stamps, end, spec.chain.rate)
        last = int(newest[0])
        if not there[0] or last + 1 < n_times:
            return None
        found = self.predictor(window_at(features, last, n_times))
        return {name: roi.z for name, roi in found.items() if roi.z is not None}

    def _from(self, begin: int) -> tuple[Float32, Float64]:
        if begin not in self._features:
            info = self.recording.info
            rest = np.ascontiguousarray(self.recording.samples[begin:])
            cut = Recording(info, rest, ())
            features, stamps = through_chain(cut, self.predictor.spec.chain)
            self._features[begin] = features, stamps + begin / info.sfreq
        return self._features[begin]


@dataclass(frozen=True, slots=True)
class Judged:
    """A valid value and its truth.

    Attributes
    ----------
    seconds : float
        Where the newest sample of its window is in the recording.
    error : float
        Largest |z - truth| over the regions; infinite where there is no truth.
    volume_off : int
        By how many volumes it is numbered off.
    """

    seconds: float
    error: float
    volume_off: int


class Judge:
    """Holds valid messages against the truth.

    Parameters
    ----------
    truth : Truth
    plan : Plan
        What was sent.
    start : float
        Stamp of the recording's first sample.
    messages : list of dict
        All that was received, in order.
    """

    def __init__(self, truth: Truth, plan: Plan, start: float, messages: list[Message]) -> None:
        self.truth, self.plan, self.start, self.messages = truth, plan, start, messages
        times = plan.times
        self._speed = float(np.median(np.diff(plan.clock) / np.diff(times)))
        self._stamps, self._times = plan.stamps, times
        self._breaks = _breaks(plan, truth.predictor)
        self._first = _first_volume(truth.recording, truth.predictor)
        self._received = _received_at_reconnects(messages)
        self._begins: dict[int, int] = {}

    def judge(self, message: Message) -> Judged:
        """Return how true a valid message is."""
        row = self.row(message)
        spec, tr = self.truth.predictor.spec, self.truth.predictor.spec.tr
        ahead = message["target_time"] - self.start - self.plan.clock[row]
        target = float(self._times[row] + ahead / self._speed)
        true = self.truth.z(target, self._begin(message, row))
        errors = [
            abs(roi["z"] - true[name]) if true else np.inf
            for name, roi in message["rois"].items()
        ]
        off = 0
        if message["volume"] is not None:
            number = (target - self._first) / tr - spec.window.slice_ref
            off = message["volume"] - round(number)
        return Judged(float(self._times[row]), float(max(errors)), off)

    def row(self, message: Message) -> int:
        """Return the row of the plan that is the newest sample of a message's window."""
        apart = np.abs(self._stamps - (message["lsl_time"] - self.start))
        near = np.flatnonzero(apart < max(SYNC, float(apart.min())))
        # A clock that was set back gives stamps twice: samples are counted only once.
        return int(near[np.argmin(np.abs(near - message["sample"]))])

    def _begin(self, message: Message, row: int) -> int:
        """Return the recording's sample with which a message's segment began."""
        segment = message["segment"]
        if segment not in self._begins:
            planned = int(self._breaks[self._breaks <= row].max())
            # What was sent before the daemon was back never came.
            came = max((n for n in self._received if n <= message["sample"]), default=0)
            shift = row - message["sample"]
            self._begins[segment] = max(planned, came + shift if came else 0)
        return int(self.plan.index[self._begins[segment]])


def _breaks(plan: Plan, predictor: Predictor) -> np.ndarray[Any, Any]:
    """Return the rows with which a segment has to begin."""
    whole = usable(plan, predictor)
    sfreq = plan.recording.info.sfreq
    breaks = np.diff(plan.clock, prepend=plan.clock[0] - 1 / sfreq) - 1 / sfreq
    begins = np.abs(breaks) > GAP
    begins |= whole & ~np.concatenate([[True], whole[:-1]])
    begins[0] = True
    for life in plan.lives[1:]:
        begins[plan.span(life.opens, 0).start % len(begins)] = True
    return np.flatnonzero(begins)


def usable(plan: Plan, predictor: Predictor) -> Bool:
    """Return which samples of a plan are numbers in every channel that the chain reads."""
    names = plan.recording.info.channels
    used = [names.index(name) for name in predictor.spec.chain.channels]
    return np.atleast_1d(np.isfinite(plan.samples[:, used]).all(axis=1))


def _first_volume(recording: Recording, predictor: Predictor) -> float:
    """Return the onset of volume 0."""
    labels = [marker.label for marker in recording.markers]
    most = max(set(labels), key=labels.count) if labels else ""
    return next((m.stamp for m in recording.markers if m.label == most), 0.0)


def _received_at_reconnects(messages: list[Message]) -> list[int]:
    """Return how many samples had come by each time that the EEG was found again."""
    counts, lost, back = [], False, False
    for message in messages:
        event = message.get("event")
        lost |= event == "lost"
        if event == "reconnect" and "source_id" in message and lost:
            lost, back = False, True
        if event == "gap" and back:  # which says with which sample the segment begins
            counts.append(message["sample"])
            back = False
    return counts


def samples_lost(plan: Plan, predictor: Predictor, received: int) -> int:
    """Return how many samples of a recording never came as numbers."""
    unusable = int((~usable(plan, predictor)).sum())
    return len(plan.recording.samples) - received + unusable
