"""The values that pass along the line: Chunk, Marker, Window, Prediction, Feedback.

Plain frozen data, without behaviour beyond checking themselves. Times are float64
seconds on the LSL clock unless a name says `received`, which is the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SCHEMA = "rtfeedback/1"

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples that were pulled together, as received.

    Attributes
    ----------
    samples : float32, shape (n_times, n_channels)
        In the stream's own unit (`StreamInfo.units`), C-contiguous.
    stamps : float64, shape (n_times,)
        As received, on the LSL clock, in seconds.
    received : float
        Monotonic clock at the moment of the pull, in seconds.
    wire : array, shape (n_times, n_channels), optional
        The samples as they were on the wire, where they were no float32.
    """

    samples: Float32
    stamps: Float64
    received: float
    wire: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.stamps.shape != self.samples.shape[:1]:
            raise ValueError(
                f"{self.samples.shape} samples do not go with {self.stamps.shape} stamps"
            )

    def usable(self, columns: Int64 | None = None) -> Bool:
        """Return which samples can be used, shape (n_times,).

        Those whose stamp is a number, and that are numbers in every channel.

        Parameters
        ----------
        columns : int64, shape (n_used,), optional
            The channels that are to be used; all of them, without.
        """
        used = self.samples if columns is None else self.samples.take(columns, axis=1)
        stamped = np.isfinite(self.stamps)
        # Nearly always all are: then their sum is a number too, if nothing overflows.
        if isfinite(np.einsum("tc->", used)):
            return stamped
        return np.asarray(stamped & np.isfinite(used).all(axis=1))


@dataclass(frozen=True, slots=True)
class Marker:
    """A label and its stamp on the LSL clock, in seconds.

    Attributes
    ----------
    stamp : float
    label : str
    wire : tuple, optional
        All channels as they were on the wire, text or numbers; left out where they are the
        label alone. Markers that differ in nothing else are equal.
    """

    stamp: float
    label: str
    wire: tuple[Any, ...] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, stamp: float, wire: tuple[Any, ...]) -> Marker:
        """Return the marker that a stream's sample is: its first channel is the label."""
        return cls(stamp, label_of(wire[0]), wire)


def label_of(value: Any) -> str:
    """Return the label that a value is: text as it is, and each number as another label.

    Numbers are told in as few digits as tell them from every other of their format:
    7.0 as `7`, a float32 of 0.1 as `0.1`.
    """
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else str(value)


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a stream (or a recording) says of itself.

    Attributes
    ----------
    name : str
        The stream's name, or the file's.
    sfreq : float
        Nominal rate in hertz.
    channels : tuple of str
        Labels, in the order of the samples' columns.
    kinds : tuple of str
        `eeg`, `eog`, `ecg`, `emg` or `misc`, one per channel.
    units : tuple of str
        Unit of each channel as the stream states it, `""` where it is silent.
    reference : str
        Label of the recording reference, `""` where the stream is silent.
    source_id : str
        The outlet's own identity, `""` for a file.
    """

    name: str
    sfreq: float
    channels: tuple[str, ...]
    kinds: tuple[str, ...]
    units: tuple[str, ...]
    reference: str = ""
    source_id: str = ""

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.kinds) == len(self.units):
            raise ValueError("channels, kinds and units differ in number")


@dataclass(frozen=True, slots=True)
class Window:
    """The newest `n_times` features of the ring, and what they are due for.

    Attributes
    ----------
    data : float32, shape (n_features, n_times)
        A view of the ring, dead at the next push; rows are channels (volts) or
        channel-band tokens (log10 V**2).
    valid : bool
    reason : str
        `ok`, or why not: `warming_up`, `gap`.
    volume : int or None
        The volume it is for, counted from 0; None for a hop between volumes.
    target_time : float
        The time it predicts.
    due_time : float
        The time its newest sample should have: target_time - lead.
    lsl_time : float
        Stamp of its newest sample as received.
    segment, sample : int
        Segment, and the newest sample's absolute index, counted over the run.
    received : float
        Monotonic clock at which its newest sample was received.
    """

    data: Float32
    valid: bool
    reason: str
    volume: int | None
    target_time: float
    due_time: float
    lsl_time: float
    segment: int
    sample: int
    received: float


class ROIPrediction(NamedTuple):
    """One region's predicted activity: target units, z by the scaler, and its sd."""

    raw: float | None
    z: float | None
    sd: float | None = None


Prediction = dict[str, ROIPrediction]
"""Predicted activity by ROI name, in the checkpoint's order."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """One `feedback` message; docs/feedback.schema.json states every field."""

    session: str
    run: str
    seq: int
    volume: int | None
    value: float | None
    valid: bool
    reason: str
    block: str | None
    flags: tuple[str, ...]
    rois: Prediction
    target_time: float | None
    lsl_time: float | None
    segment: int | None
    sample: int | None
    due_time: float | None
    publish_time: float
    age_ms: float | None
    infer_ms: float | None
    checkpoint: str
    schema: str = SCHEMA

    def message(self) -> dict[str, Any]:
        """Return the message as plain JSON types."""
        message = dict(self.facts())
        message["flags"] = list(self.flags)
        message["rois"] = {name: roi._asdict() for name, roi in self.rois.items()}
        return message

    def facts(self) -> Iterator[tuple[str, Any]]:
        """Yield each field's name and value, in the order of a message."""
        for name in FIELDS:
            yield name, getattr(self, name)


FIELDS = tuple(field.name for field in fields(Feedback))
"""The names of a feedback message's fields, in their order."""
