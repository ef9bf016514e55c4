"""The one EEG stream of an XDF file, and the markers beside it, as they were received.

A recorder that was killed leaves a last chunk that is cut: all before it is read, and
what was left out is noted.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from rtfeedback.channels import scale_to_volts
from rtfeedback.errors import ChannelError, RecordingError, RtfeedbackError
from rtfeedback.naming import name_channels
from rtfeedback.signals import Float32, Float64, Marker, StreamInfo, label_of
from rtfeedback.xdf import read_chunks, whole_length

# A stream whose rate is further off than this states a wrong one or has lost samples.
_RATE_TOLERANCE = 0.005
# Stamps are compared as medians of 2 s, which the stalls of a radio link do not move; a
# step of more than 20 ms (or two samples) between them means samples lost for good.
_BLOCK = 2.0
_STEP = 0.02


def read_xdf(path: Path) -> tuple[StreamInfo, Float32, tuple[Marker, ...], tuple[str, ...]]:
    """Read the file's only EEG stream, in float32 microvolts, its markers, and notes.

    Raises
    ------
    RecordingError
        It is damaged before its end; no or several EEG streams, none with a rate, labels
        and voltages, or lost samples.
    """
    streams, cut = _load(path)
    eeg = _only_eeg(path, streams)
    info, scales, notes = _describe(path, eeg)
    kept = [i for i, scale in enumerate(scales) if scale is not None]
    _refuse_irregular(path, eeg["time_stamps"], info.sfreq)
    samples = np.ascontiguousarray(eeg["time_series"].take(kept, axis=1), np.float32)
    for column, i in enumerate(kept):
        scale = scales[i]
        if scale is not None and scale != 1e-6:
            wide = np.asarray(eeg["time_series"][:, i], np.float64)
            samples[:, column] = wide * scale * 1e6
    return info, samples, _markers(streams, eeg), (*cut, *notes)


def _load(path: Path) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return the streams of the file's whole chunks, and a note of what follows them."""
    try:
        import pyxdf
    except ImportError as error:
        raise RtfeedbackError(
            "Reading XDF needs pyxdf", found=str(error), do="pip install 'rtfeedback[offline]'"
        ) from error
    size, whole = path.stat().st_size, whole_length(path)
    for _ in read_chunks(path):
        pass  # pyxdf passes over a damaged chunk in silence; this refuses it
    try:
        # Only so are the stamps those of the file; pyxdf's own clock sync also hangs on
        # some files with clock resets. It invents a last sample where a file ends in it.
        streams, _ = pyxdf.load_xdf(
            path if whole == size else _beginning(path, whole),
            synchronize_clocks=False,
            dejitter_timestamps=False,
            verbose=False,
        )
    except Exception as error:  # pyxdf raises whatever broken XML or a cut makes it
        raise RecordingError(
            f"{path} cannot be read as XDF", found=str(error), do="Record or export it again"
        ) from error
    left_out = (
        f"the file ends inside a chunk: its last {size - whole} of {size} bytes are left out"
    )
    return list(streams), (left_out,) if whole < size else ()


def _beginning(path: Path, n_bytes: int) -> BytesIO:
    with path.open("rb") as file:
        return BytesIO(file.read(n_bytes))


def _only_eeg(path: Path, streams: list[dict[str, Any]]) -> dict[str, Any]:
    found = [
        stream
        for stream in streams
        if _field(stream, "type").lower() == "eeg"
        and _field(stream, "channel_format") != "string"
        and len(stream["time_stamps"])
    ]
    if len(found) == 1:
        return found[0]
    told = ", ".join(
        f"'{_field(s, 'name')}' (type {_field(s, 'type') or 'none'},"
        f" {len(s['time_stamps'])} samples)"
        for s in streams
    )
    reconnected = len({_field(stream, "name") for stream in found}) < len(found)
    raise RecordingError(
        f"The recording {path} holds {len(found)} EEG streams, not one",
        found=told or "no stream at all",
        do="They are parts of one, which broke off and came back: read each by pyxdf, and save"
        " it as a recording of its own (rtfeedback replay takes a session as it is)"
        if reconnected
        else "Record one numeric stream of type EEG",
    )


def _describe(
    path: Path, eeg: dict[str, Any]
) -> tuple[StreamInfo, list[float | None], tuple[str, ...]]:
    """Return what the stream says, what makes volts of each channel, and how it was named."""
    channels = _channels(eeg)
    if len(channels) != eeg["time_series"].shape[1]:
        raise RecordingError(
            f"The EEG stream of {path} does not name its channels",
            found=f"{len(channels)} labels for {eeg['time_series'].shape[1]} channels",
            do="Record from an amplifier's stream that states labels: channels go by name",
        )
    names = name_channels(
        [label for label, _, _ in channels],
        [kind for _, kind, _ in channels],
        reference=_below(eeg["info"], "desc", "reference", "label"),
    )
    scales = [
        _scale(path, label, kind, unit)
        for label, kind, (_, _, unit) in zip(names.channels, names.kinds, channels, strict=True)
    ]
    kept = [i for i, scale in enumerate(scales) if scale is not None]
    info = StreamInfo(
        name=path.stem,
        sfreq=_rate(eeg),
        channels=tuple(names.channels[i] for i in kept),
        kinds=tuple(names.kinds[i] for i in kept),
        units=("microvolts",) * len(kept),
        reference=names.reference,
    )
    return info, scales, names.notes


def _channels(eeg: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return (label, type, unit) of each channel that has a label."""
    description = _first(eeg["info"]["desc"])
    # Some senders leave out the `channels` around them.
    channels = _first(description.get("channels")).get("channel") or description.get("channel")
    rows = (
        (_below(c, "label") or _below(c, "name"), _below(c, "type"), _below(c, "unit"))
        for c in channels or []
        if isinstance(c, dict)
    )
    return [row for row in rows if row[0]]


def _first(nodes: Any) -> dict[str, Any]:
    """Return the first of pyxdf's list of dicts, an empty one where there is none."""
    first = nodes[0] if nodes else None
    return first if isinstance(first, dict) else {}


def _scale(path: Path, label: str, kind: str, unit: str) -> float | None:
    """Return what makes volts of a channel, or None for one that is not a voltage."""
    try:
        return scale_to_volts(unit)
    except ChannelError as error:
        if kind == "misc":
            return None
        raise RecordingError(
            f"Channel '{label}' of {path} is not in volts", found=error.wrong, do=error.do
        ) from error


def _refuse_irregular(path: Path, stamps: Float64, sfreq: float) -> None:
    if sfreq <= 0:
        raise RecordingError(
            f"The EEG stream of {path} has no rate",
            found=f"a nominal rate of {sfreq:g} Hz",
            do="Record a stream that states its rate",
        )
    duration = float(stamps[-1] - stamps[0])
    rate = (len(stamps) - 1) / duration if duration > 0 else 0.0
    step = _largest_step(stamps, sfreq)
    if abs(rate / sfreq - 1) > _RATE_TOLERANCE or step > max(_STEP, 2 / sfreq):
        raise RecordingError(
            f"The EEG stream of {path} is irregular: it lost samples, or its clock was reset",
            found=f"{rate:g} Hz where {sfreq:g} Hz is stated, stamps off by up to {step:.3f} s",
            do="Cut out a part without gaps",
        )


def _largest_step(stamps: Float64, sfreq: float) -> float:
    """Return the largest lasting jump of the stamps against `k / sfreq`, in seconds."""
    off = stamps - stamps[0] - np.arange(len(stamps)) / sfreq
    blocks = np.array_split(off, max(1, round(len(off) / (sfreq * _BLOCK))))
    levels = np.array([np.median(block) for block in blocks])
    return float(np.abs(np.diff(levels)).max(initial=0.0))


def _markers(streams: list[dict[str, Any]], eeg: dict[str, Any]) -> tuple[Marker, ...]:
    """Return what has no rate or is text, in seconds of the EEG from its first sample.

    A second of the EEG is `sfreq` samples of it, which by the stamps may last longer or
    shorter: 100 ppm are 60 ms after ten minutes.
    """
    start, second = _clock(eeg["time_stamps"], _rate(eeg))
    found = []
    for stream in streams:
        if _field(stream, "channel_format") == "string" or not _rate(stream):
            begin = start - _clock_offset(stream, eeg)
            pairs = zip(stream["time_stamps"], stream["time_series"], strict=True)
            found += [
                Marker((float(t) - begin) / second, label_of(values[0])) for t, values in pairs
            ]
    return tuple(sorted(found, key=lambda marker: marker.stamp))


def _clock(stamps: Float64, sfreq: float) -> tuple[float, float]:
    """Return the stamp of the first sample, and how long a second of samples lasts.

    Medians over samples half a recording apart: the jitter of single stamps moves neither.
    """
    index, half = np.arange(len(stamps)) / sfreq, len(stamps) // 2
    if half == 0:
        return float(stamps[0]), 1.0
    lasts = (stamps[half:] - stamps[:-half]) / (index[half:] - index[:-half])
    second = round(float(np.median(lasts)), 9)  # to 4 us in an hour
    return float(np.median(stamps - index * second)), second


def _rate(stream: dict[str, Any]) -> float:
    return float(_field(stream, "nominal_srate") or 0)


def _clock_offset(stream: dict[str, Any], eeg: dict[str, Any]) -> float:
    """Return what takes a stream's stamps to the EEG's clock; 0 where one host stamped both."""
    hosts = {_field(stream, "hostname"), _field(eeg, "hostname")}
    if len(hosts) == 1 or not stream["clock_values"] or not eeg["clock_values"]:
        return 0.0
    return float(np.median(stream["clock_values"]) - np.median(eeg["clock_values"]))


def _field(stream: dict[str, Any], key: str) -> str:
    return _below(stream["info"], key)


def _below(node: Any, *keys: str) -> str:
    """Follow keys through pyxdf's dicts of lists to a text, `""` where there is none."""
    for key in keys:
        values = node.get(key) if isinstance(node, dict) else None
        node = values[0] if values else None
    return node.strip() if isinstance(node, str) else ""
