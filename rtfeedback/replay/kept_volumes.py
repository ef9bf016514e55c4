"""Whether the voxels that a run kept are those that it published."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import prod

from rtfeedback.errors import RecordingError
from rtfeedback.models.volume import VolumeSpec
from rtfeedback.online.record_files import FRAMES
from rtfeedback.replay.archive import Archive


@dataclass(frozen=True, slots=True)
class KeptVolumes:
    """What `volumes.f4` holds of the volumes that were published.

    Attributes
    ----------
    n, intact : int
        Volumes that were published, and those whose voxels have the hash of their header.
    wanting : list of str
        What is not as it was, in words.
    """

    n: int
    intact: int
    wanting: list[str]


def kept_volumes(archive: Archive, volume: VolumeSpec | None) -> KeptVolumes | None:
    """Compare kept voxels with their headers; None of a run that was to keep none.

    A frame is written before its header, so that a kill may leave one without, or a part of
    it, at the end of the file.

    Parameters
    ----------
    archive : Archive
    volume : VolumeSpec or None
        Of the run's checkpoint.

    Raises
    ------
    RecordingError
        If the file cannot be read.
    """
    asked = archive.config.volume
    if volume is None or not (asked.publish and asked.record):
        return None
    size, intact, wanting = 4 * prod(volume.grid), 0, []
    headers = [m for m in archive.messages if m["topic"] == "volume"]
    try:
        with (archive.path / FRAMES).open("rb") as file:
            for header in headers:
                frame = file.read(size)
                if hashlib.sha256(frame).hexdigest() == header["sha256"]:
                    intact += 1
                else:
                    what = "other" if len(frame) == size else "missing"
                    wanting.append(f"{FRAMES}: the voxels of seq {header['seq']} are {what}")
            if archive.closed and file.read(1):
                wanting.append(f"{FRAMES}: it holds more than the volumes that were published")
    except OSError as error:
        raise RecordingError(
            f"The {FRAMES} of {archive.path} cannot be read",
            found=error.strerror or str(error),
            do="Take the folder again from where it was recorded",
        ) from error
    return KeptVolumes(len(headers), intact, wanting)
