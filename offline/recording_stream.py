"""A recording as a stream that the daemon can run on, as fast as it goes."""

from __future__ import annotations

from pathlib import Path

from offline.eeg.recordings import read_recording
from rtfeedback.online.memory import MemorySource


def recording_source(path: Path, *, chunk: int | None = None) -> MemorySource:
    """Return a source that streams any recording that `read_recording` reads.

    Stamps are seconds from the first sample, so that the same file always gives the same
    values; its markers come beside it, each before the chunk that holds its sample, and
    it ends with `StreamOver`.

    Parameters
    ----------
    path : Path
    chunk : int, optional
        Samples in a chunk; without it, 40 ms of them.

    Raises
    ------
    RecordingError
        The file cannot be read; see `read_recording`.
    """
    recording = read_recording(path)
    return MemorySource(
        recording.info,
        recording.samples,
        markers=recording.markers,
        chunk=chunk,
        notes=(f"{path} is read as fast as it goes, with stamps from 0 s", *recording.notes),
    )
