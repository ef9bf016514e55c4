"""Windows and predictions into feedback messages, each of which says what it is worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import isfinite

from rtfeedback.predictor import plausible
from rtfeedback.signals import Feedback, Prediction, ROIPrediction, Window

UNKNOWN = ROIPrediction(raw=None, z=None, sd=None)


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
    clock : callable
        Of the LSL.
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
        clock: Callable[[], float],
    ) -> None:
        self._identity = {"session": session, "run": run, "checkpoint": checkpoint}
        self._nothing: Prediction = dict.fromkeys(rois, UNKNOWN)
        self.flags = tuple(flags)
        self.period, self._clock = period, clock
        self.seq = 0

    def of_window(
        self, window: Window, prediction: Prediction | None, infer_ms: float | None
    ) -> Feedback:
        """Return the message of a window; nothing in it is a number unless it is valid."""
        reason = window.reason
        if prediction is not None and not _finite(prediction):
            reason = "not_finite"
        elif prediction is not None and not plausible(prediction):
            reason = "artefact"
        age = time.monotonic() - window.received
        if reason == "ok" and (prediction is None or age > self.period):
            reason = "late"  # it was late already where none was made
        return self._message(
            prediction if reason == "ok" else None,
            reason,
            volume=window.volume,
            target_time=window.target_time,
            lsl_time=window.lsl_time,
            segment=window.segment,
            sample=window.sample,
            due_time=window.due_time,
            age=age,
            infer_ms=infer_ms,
        )

    def is_late(self, window: Window) -> bool:
        """Return whether a window's message can only say that it is late."""
        return time.monotonic() - window.received > self.period

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
            age=None if received is None else time.monotonic() - received,
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
        age: float | None,
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
            publish_time=self._clock(),
            age_ms=None if age is None else 1000 * age,
            infer_ms=infer_ms,
        )


def _finite(prediction: Prediction) -> bool:
    numbers = [n for roi in prediction.values() for n in (roi.raw, roi.z, roi.sd)]
    return all(number is None or isfinite(number) for number in numbers)
