"""Windows and predictions into feedback messages, each of which says what it is worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Protocol

from rtfeedback.predictor import plausible
from rtfeedback.signals import Feedback, Float32, Prediction, ROIPrediction, Window

UNKNOWN = ROIPrediction(raw=None, z=None, sd=None)


class Clock(Protocol):
    """What time it is for a run: now or, where a run is replayed, as it was."""

    def lsl(self) -> float:
        """Return the LSL clock, in seconds."""

    def age_ms(self, received: float) -> float:
        """Return how many milliseconds ago something was received, by the monotonic clock."""


class FeedbackMaker:
    """Numbers the messages of a run; `value` is the first ROI's z.

    Parameters
    ----------
    session, run : str
    checkpoint : str
        Its hash.
    rois : sequence of str
        In the checkpoint's order.
    flags : sequence of str
        What holds for every message of the run.
    period : float
        Hop, else TR, in seconds: a window published later than this after its newest
        sample was received is late.
    clock : Clock
    """

    def __init__(
        self,
        *,
        session: str,
        run: str,
        checkpoint: str,
        rois: Sequence[str],
        flags: Sequence[str],
        period: float,
        clock: Clock,
    ) -> None:
        self._identity = {"session": session, "run": run, "checkpoint": checkpoint}
        self._nothing: Prediction = dict.fromkeys(rois, UNKNOWN)
        self.flags = tuple(flags)
        self.period, self._clock = period, clock
        self.seq = 0

    def of_window(self, window: Window, predict: Callable[[Float32], Prediction]) -> Feedback:
        """Return the message of a window; nothing in it is a number unless it is valid.

        What is late already is not predicted: that would make what comes after it late
        as well.
        """
        reason, prediction, infer_ms = window.reason, None, None
        if reason == "ok" and not self._is_late(self._clock.age_ms(window.received)):
            began = time.perf_counter()
            prediction = predict(window.data)
            infer_ms = 1000 * (time.perf_counter() - began)
        age_ms = self._clock.age_ms(window.received)
        if reason == "ok":
            reason = self._verdict(prediction, age_ms)
        return self._message(
            prediction if reason == "ok" else None,
            reason,
            volume=window.volume,
            target_time=window.target_time,
            lsl_time=window.lsl_time,
            segment=window.segment,
            sample=window.sample,
            due_time=window.due_time,
            age_ms=age_ms,
            infer_ms=infer_ms,
        )

    def _verdict(self, prediction: Prediction | None, age_ms: float) -> str:
        # First whether it is late, which alone a replay cannot find out from the EEG.
        if prediction is None or self._is_late(age_ms):
            return "late"
        if not _finite(prediction):
            return "not_finite"
        return "ok" if plausible(prediction) else "artefact"

    def _is_late(self, age_ms: float) -> bool:
        return age_ms > 1000 * self.period

    def stale(
        self, last: Window | None, received: float | None, reason: str = "stale"
    ) -> Feedback:
        """Return the message that says that no EEG comes.

        Parameters
        ----------
        last : Window or None
            The last that fell due.
        received : float or None
            Monotonic clock at which the last sample was received, if one ever was.
        reason : str
            `stale`, or `refused` where what comes is not what the checkpoint needs.
        """
        return self._message(
            None,
            reason,
            volume=None,
            target_time=None,
            lsl_time=last.lsl_time if last else None,
            segment=last.segment if last else None,
            sample=last.sample if last else None,
            due_time=None,
            age_ms=None if received is None else self._clock.age_ms(received),
            infer_ms=None,
        )

    def _message(
        self,
        prediction: Prediction | None,
        reason: str,
        *,
        volume: int | None,
        target_time: float | None,
        lsl_time: float | None,
        segment: int | None,
        sample: int | None,
        due_time: float | None,
        age_ms: float | None,
        infer_ms: float | None,
    ) -> Feedback:
        seq, self.seq = self.seq, self.seq + 1
        return Feedback(
            **self._identity,
            seq=seq,
            volume=volume,
            value=next(iter(prediction.values())).z if prediction else None,
            valid=prediction is not None,
            reason=reason,
            block=None,
            flags=self.flags,
            rois=prediction or self._nothing,
            target_time=target_time,
            lsl_time=lsl_time,
            segment=segment,
            sample=sample,
            due_time=due_time,
            publish_time=self._clock.lsl(),
            age_ms=age_ms,
            infer_ms=infer_ms,
        )


def _finite(prediction: Prediction) -> bool:
    # A sum of numbers that are none is none.
    return isfinite(sum(n for roi in prediction.values() for n in roi if n is not None))
