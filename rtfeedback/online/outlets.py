"""LSL streams of our own: EEG with a stamp for every sample, and markers."""

from __future__ import annotations

import uuid

import pylsl

from rtfeedback.signals import Float32, Float64, StreamInfo

_BUFFER = 360  # s of samples kept for a consumer that lags; older ones are dropped


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
