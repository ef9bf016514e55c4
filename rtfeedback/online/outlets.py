"""LSL streams of our own: EEG with a stamp for every sample, markers, and feedback."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence

import pylsl

from rtfeedback.signals import Feedback, Float32, Float64, StreamInfo

_BUFFER = 360  # s of samples kept for a consumer that lags; older ones are dropped
FEEDBACK_FIELDS = ("value", "valid", "seq", "volume", "target_time", "lsl_time", "sample")
ROI_FIELDS = (("z", "sd of the training"), ("raw", ""), ("sd", "sd of the training"))


class EEGOutlet:
    """An EEG stream of our own, in float32.

    Parameters
    ----------
    info : StreamInfo
        Rate, channels, kinds, units and reference to describe.
    stream_name : str
        What the stream is called; `info.name` is not sent.
    buffer : int
        Seconds of samples kept for a consumer that lags; older ones are dropped.
    source_id : str, optional
        By which a consumer knows an outlet that was closed and opened again; a new one
        without.
    """

    def __init__(
        self,
        info: StreamInfo,
        stream_name: str,
        *,
        buffer: int = _BUFFER,
        source_id: str | None = None,
    ) -> None:
        source = source_id or uuid.uuid4().hex
        stated = pylsl.StreamInfo(
            stream_name, "EEG", len(info.channels), info.sfreq, "float32", source
        )
        description = stated.desc()
        description.append_child_value("manufacturer", "rtfeedback")
        channels = description.append_child("channels")
        for label, kind, unit in zip(info.channels, info.kinds, info.units, strict=True):
            channel = channels.append_child("channel")
            channel.append_child_value("label", label)
            channel.append_child_value("type", kind.upper())
            channel.append_child_value("unit", unit)
        if info.reference:
            description.append_child("reference").append_child_value("label", info.reference)
        self._outlet = pylsl.StreamOutlet(stated, max_buffered=buffer)

    @property
    def consumed(self) -> bool:
        """Whether anyone receives the stream."""
        return bool(self._outlet.have_consumers())

    def wait_for_consumers(self, timeout: float) -> bool:
        """Wait until someone receives the stream; tell whether someone does."""
        return bool(self._outlet.wait_for_consumers(timeout))

    def push(self, samples: Float32, stamps: Float64) -> None:
        """Send samples of shape (n_times, n_channels), each with its own stamp in seconds."""
        self._outlet.push_chunk(samples, stamps.tolist())

    def close(self) -> None:
        """End the stream; consumers lose what they have not pulled yet."""
        self._outlet = None


class MarkerOutlet:
    """A marker stream of our own; its source id is as an `EEGOutlet`'s."""

    def __init__(self, name: str, *, source_id: str | None = None) -> None:
        source = source_id or uuid.uuid4().hex
        stated = pylsl.StreamInfo(name, "Markers", 1, 0, "string", source)
        self._outlet = pylsl.StreamOutlet(stated)

    def push(self, label: str, stamp: float) -> None:
        """Send one marker; its stamp is in seconds on the LSL clock."""
        self._outlet.push_sample([label], stamp)

    def close(self) -> None:
        """End the stream."""
        self._outlet = None


class FeedbackOutlet:
    """The feedback of a run as an LSL stream, for a recorder beside the EEG.

    One sample a message, of float64 and without a rate, stamped when it was published:
    what is null there is NaN here. `seq` leads to the whole message.

    Parameters
    ----------
    name : str
    rois : sequence of str
    about : mapping of str
        What its description says besides, such as session and run.
    """

    def __init__(self, name: str, rois: Sequence[str], about: Mapping[str, str]) -> None:
        channels = [(field, "") for field in FEEDBACK_FIELDS]
        channels += [(f"{roi}.{what}", unit) for roi in rois for what, unit in ROI_FIELDS]
        stated = pylsl.StreamInfo(
            name, "Feedback", len(channels), 0, "double64", uuid.uuid4().hex
        )
        description = stated.desc()
        description.append_child_value("manufacturer", "rtfeedback")
        for key, value in about.items():
            description.append_child_value(key, value)
        listed = description.append_child("channels")
        for label, unit in channels:
            channel = listed.append_child("channel")
            channel.append_child_value("label", label)
            channel.append_child_value("type", "Feedback")
            channel.append_child_value("unit", unit)
        self._outlet = pylsl.StreamOutlet(stated)

    def push(self, feedback: Feedback) -> None:
        """Send a message's numbers, if anyone receives them."""
        if not self._outlet.have_consumers():
            return
        told = [getattr(feedback, field) for field in FEEDBACK_FIELDS]
        for roi in feedback.rois.values():
            told += [getattr(roi, what) for what, _ in ROI_FIELDS]
        numbers = [math.nan if number is None else float(number) for number in told]
        self._outlet.push_sample(numbers, feedback.publish_time)

    def close(self) -> None:
        """End the stream."""
        self._outlet = None
