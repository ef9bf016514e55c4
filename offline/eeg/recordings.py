"""A recording as it would be on the wire: float32 microvolts, and its markers.

Any file that MNE reads, or XDF. The one conversion from volts to the wire is here, so
that the desk's samples are the lab's. Knows no BIDS and no stream.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from offline.eeg.intact import brainvision_header, check_intact
from offline.eeg.xdf import read_xdf
from rtfeedback.errors import RecordingError, RtfeedbackError
from rtfeedback.naming import name_channels
from rtfeedback.signals import Float32, Marker, StreamInfo

MICROVOLTS = "microvolts"
_VOLTS = 107  # FIFF_UNIT_V: what MNE's constants call the unit of a voltage
_BLOCK = 100_000  # samples converted at a time, so that float64 never exists twice
_DAMAGE = re.compile(r"truncat|corrupt|incomplete|match the file|end of file", re.IGNORECASE)
# MNE resamples channels of different rates per block unless the whole file is loaded.
_PRELOADED = (".edf", ".bdf", ".gdf", ".rec")
_PREFIXES = ("Stimulus/", "Response/", "Comment/")


@dataclass(frozen=True)
class Recording:
    """One continuous recording.

    Attributes
    ----------
    info : StreamInfo
        Named after the file; every unit is microvolts.
    samples : float32, shape (n_times, n_channels)
        What is, or would be, on the wire, in microvolts; C-contiguous.
    markers : tuple of Marker
        Stamps in seconds from the first sample, ascending; labels as on the wire, so
        without MNE's `Stimulus/`, `Response/` and `Comment/`.
    notes : tuple of str
        What was done to its labels, each a sentence.
    """

    info: StreamInfo
    samples: Float32
    markers: tuple[Marker, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        name, labels = self.info.name, self.info.channels
        if self.samples.shape[0] == 0 or "eeg" not in self.info.kinds:
            raise RecordingError(
                f"The recording '{name}' holds no EEG",
                found=f"{len(self.samples)} samples of {', '.join(labels) or 'no channel'}",
                do="Check the file, and the types of its channels",
            )
        if len(set(labels)) < len(labels):
            twice = sorted({label for label in labels if labels.count(label) > 1})
            raise RecordingError(
                f"The recording '{name}' has more than one channel of one name",
                found=", ".join(twice),
                do="Rename or drop all but one",
            )
        _refuse_non_finite(self)
        _refuse_pauses(self)


def read_recording(path: Path) -> Recording:
    """Read a recording that MNE or pyxdf can read.

    Raises
    ------
    RecordingError
        The file is absent, empty, truncated, damaged, discontinuous, of a foreign type,
        without EEG, or holds a value that is not finite.
    RtfeedbackError
        The extra `offline` is not installed.
    """
    path = Path(path)
    check_intact(path)
    if path.suffix.lower() == ".xdf":
        return Recording(*read_xdf(path))
    reference = brainvision_header(path).reference if path.suffix.lower() == ".vhdr" else ""
    return recording_from_raw(_read_raw(path), path.stem, reference=reference)


def recording_from_raw(raw: Any, name: str, *, reference: str = "") -> Recording:
    """Turn an MNE Raw into what would be on the wire.

    Channels that are not voltages (triggers, belts, magnetometers) are left out.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Continuous; loaded or not.
    name : str
        What errors and the stream call it.
    reference : str
        Label of the recording reference, where known.
    """
    types = raw.get_channel_types()
    kept = [i for i, kind in enumerate(types) if kind != "stim" and _in_volts(raw, i)]
    names = name_channels(
        [raw.ch_names[i] for i in kept],
        # MNE calls an ECG `misc` where a BrainVision header gives it no coordinates.
        [types[i].replace("misc", "") for i in kept],
        reference=reference,
    )
    info = StreamInfo(
        name=name,
        sfreq=float(raw.info["sfreq"]),
        channels=names.channels,
        kinds=names.kinds,
        units=(MICROVOLTS,) * len(kept),
        reference=names.reference,
    )
    return Recording(info, _wire(raw, kept, name), _markers(raw), names.notes)


def _in_volts(raw: Any, i: int) -> bool:
    """Tell whether MNE gives a channel in volts; of `misc` only the file's unit says so."""
    unit = raw._orig_units.get(raw.ch_names[i], "")
    return int(raw.info["chs"][i]["unit"]) == _VOLTS or unit in ("V", "mV", "µV", "uV", "nV")


def _read_raw(path: Path) -> Any:
    """Read a file with MNE, quietly but for signs of damage."""
    try:
        import mne
    except ImportError as error:
        raise RtfeedbackError(
            "Reading recordings needs MNE",
            found=str(error),
            do="pip install 'rtfeedback[offline]'",
        ) from error
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            preload = path.suffix.lower() in _PRELOADED
            raw = mne.io.read_raw(path, preload=preload, verbose="error", **_told(path))
        except Exception as error:  # MNE's readers raise whatever a broken file makes them
            raise _unreadable(path, error) from error
    damage = [str(w.message) for w in heard if _DAMAGE.search(str(w.message))]
    if damage:
        raise RecordingError(
            f"The recording {path} is damaged",
            found=" ".join(damage[0].split()),
            do="Copy or export the recording again",
        )
    return raw


def _told(path: Path) -> dict[str, Any]:
    """Return what MNE is to know beside a header: where its data are, as we find them."""
    if path.suffix.lower() != ".vhdr":
        return {}
    return {"overrides": {"data_fname": brainvision_header(path).data.name}}


def _unreadable(path: Path, error: Exception) -> RecordingError:
    header = path.with_suffix(".vhdr")
    hint = f"Give its header instead: {header}" if header.is_file() and header != path else ""
    return RecordingError(
        f"{path} cannot be read as an EEG recording",
        found=" ".join(str(error).split())[:300] or type(error).__name__,
        do=hint or "Give an XDF file or one that MNE reads (.vhdr, .edf, .bdf, .set, .fif ...)",
    )


def _wire(raw: Any, kept: list[int], name: str) -> Float32:
    """Convert volts to float32 microvolts, the only place where that happens."""
    n_times = int(raw.n_times)
    samples = np.empty((n_times, len(kept)), np.float32)
    if not kept:
        return samples
    for start in range(0, n_times, _BLOCK):
        stop = min(start + _BLOCK, n_times)
        try:
            volts = raw.get_data(picks=kept, start=start, stop=stop, verbose="error")
        except Exception as error:  # a file that ends early fails here for lazy readers
            raise _unreadable(Path(name), error) from error
        samples[start:stop] = (volts * 1e6).T
    return samples


def _markers(raw: Any) -> tuple[Marker, ...]:
    """Return annotations as markers, in seconds from the first sample."""
    # Onsets count from orig_time (else from time 0), samples from meas_date + first_time.
    offset = -float(raw.first_time)
    if raw.annotations.orig_time is not None and raw.info["meas_date"] is not None:
        offset += (raw.annotations.orig_time - raw.info["meas_date"]).total_seconds()
    pairs = zip(raw.annotations.onset, raw.annotations.description, strict=True)
    found = (Marker(float(onset) + offset, _label(str(text))) for onset, text in pairs)
    return tuple(sorted(found, key=lambda marker: marker.stamp))


def _label(text: str) -> str:
    for prefix in _PREFIXES:
        text = text.removeprefix(prefix)
    return text


def _refuse_pauses(recording: Recording) -> None:
    # BrainVision begins each stretch of a paused recording with such a marker.
    half_a_sample = 0.5 / recording.info.sfreq
    pauses = [
        marker.stamp
        for marker in recording.markers
        if marker.label.startswith("New Segment") and marker.stamp > half_a_sample
    ]
    if pauses:
        raise RecordingError(
            f"The recording '{recording.info.name}' was paused, so its samples are not"
            " evenly spaced",
            found=f"A new segment begins at {', '.join(f'{each:g} s' for each in pauses)}",
            do="Save each segment as a file of its own",
        )


def _refuse_non_finite(recording: Recording) -> None:
    # The sum is finite unless a value is not, or the values are absurd: one cheap pass.
    if np.isfinite(recording.samples.sum(dtype=np.float64)):
        return
    bad = ~np.isfinite(recording.samples)
    if not bad.any():
        return
    first = int(bad.any(axis=1).argmax())
    labels = [recording.info.channels[i] for i in np.flatnonzero(bad.any(axis=0))]
    raise RecordingError(
        f"The recording '{recording.info.name}' holds values that are not finite",
        found=f"{int(bad.sum())} of them in {', '.join(labels)}, the first at sample {first}",
        do="Drop those channels, or cut that part out",
    )
