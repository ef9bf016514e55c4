"""Whether a recording's file holds what its header promises; reads no sample.

MNE reads a truncated EDF with a warning and an empty BrainVision file without one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rtfeedback.channels import canonical
from rtfeedback.errors import RecordingError

_BV_BYTES = {"INT_16": 2, "UINT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4, "IEEE_FLOAT_64": 8}
_EDF_BYTES = {".edf": 2, ".rec": 2, ".bdf": 3}
_COPY_AGAIN = "Copy or export the recording again"


@dataclass(frozen=True)
class BrainVisionHeader:
    """What a `.vhdr` says of its data: other files, layout and reference."""

    data: Path
    markers: Path | None
    n_channels: int
    n_bytes: int | None  # per value; None for ASCII
    n_times: int | None  # where the header states it
    reference: str


def check_intact(path: Path) -> None:
    """Refuse a BrainVision, EDF or BDF file that is absent, empty or cut short.

    Other formats are only checked for being there; their readers find the rest.

    Raises
    ------
    RecordingError
    """
    if not path.exists():
        raise RecordingError(
            f"The recording {path} does not exist", do="Check the path, or fetch the data"
        )
    if path.is_file() and path.stat().st_size == 0:
        raise RecordingError(f"The recording {path} is empty", found="0 bytes", do=_COPY_AGAIN)
    suffix = path.suffix.lower()
    if suffix == ".vhdr":
        _check_brainvision(path)
    elif suffix in _EDF_BYTES:
        _check_edf(path, _EDF_BYTES[suffix])


def brainvision_header(path: Path) -> BrainVisionHeader:
    """Read a `.vhdr`.

    Raises
    ------
    RecordingError
        It is no BrainVision header.
    """
    text = _text(path)
    if not text.startswith(("Brain Vision", "BrainVision")):
        raise RecordingError(
            f"{path} is not a BrainVision header",
            found=f"{path.stat().st_size} bytes that begin with {text[:60]!r}",
            do="Fetch it again if it is git-annex's text in place of a file",
        )
    # Comments below repeat some keys, and coordinates the channels': the first one counts.
    pairs = re.findall(r"^(\w+)=(.*?)\s*$", text.split("[Comment]")[0], re.MULTILINE)
    entries = dict(reversed(pairs))
    try:
        binary = entries["DataFormat"].upper() == "BINARY"
        return BrainVisionHeader(
            data=_data_file(path, entries["DataFile"]),
            markers=_marker_file(path, entries.get("MarkerFile", "")),
            n_channels=int(entries["NumberOfChannels"]),
            n_bytes=_BV_BYTES[entries["BinaryFormat"].upper()] if binary else None,
            n_times=int(entries["DataPoints"]) if "DataPoints" in entries else None,
            reference=_reference(entries),
        )
    except (KeyError, ValueError) as error:
        raise RecordingError(
            f"The BrainVision header {path} is incomplete", found=str(error), do=_COPY_AGAIN
        ) from error


def _reference(entries: dict[str, str]) -> str:
    """Return the reference that all channels share, or nothing."""
    rows = [value.split(",") for key, value in entries.items() if re.fullmatch(r"Ch\d+", key)]
    named = {canonical(row[1]) for row in rows if len(row) > 1}
    return named.pop() if len(named) == 1 else ""


def _beside(header: Path, name: str) -> Path:
    return header.parent / name.strip().replace("$b", header.stem)


def _data_file(header: Path, name: str) -> Path:
    """Return the data's file, also where a BIDS renaming left its old name in the header."""
    named = _beside(header, name)
    renamed = [header.with_suffix(suffix) for suffix in (".eeg", ".dat")]
    return next((path for path in (named, *renamed) if path.is_file()), named)


def _marker_file(header: Path, name: str) -> Path | None:
    if not name.strip():
        return None
    named = _beside(header, name)
    # As MNE does: a BIDS renaming leaves the old name in the header.
    return named if named.is_file() else header.with_suffix(".vmrk")


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RecordingError(
            f"{path} cannot be read", found=error.strerror or str(error), do="Check the path"
        ) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # what recorders wrote before 2014


def _check_brainvision(path: Path) -> None:
    header = brainvision_header(path)
    if not header.data.is_file() or header.data.stat().st_size == 0:
        state = "holds 0 bytes" if header.data.is_file() else "does not exist"
        raise RecordingError(
            f"The recording {path} has no data", found=f"{header.data} {state}", do=_COPY_AGAIN
        )
    if header.n_bytes is None:
        return
    size, width = header.data.stat().st_size, header.n_channels * header.n_bytes
    promised = max(header.n_times or 0, _last_marker(header.markers))
    if size % width or size // width < promised:
        raise RecordingError(
            f"The recording {path} is truncated",
            found=f"{header.data.name} holds {size} bytes, which is {size / width:.2f} samples"
            f" of {header.n_channels} channels, and its headers speak of sample {promised}",
            do=_COPY_AGAIN,
        )


def _last_marker(path: Path | None) -> int:
    """Return the highest sample, counted from 1, at which a marker starts."""
    if path is None or not path.is_file():
        return 0
    starts = re.findall(r"^Mk\d+=[^,\n]*,[^,\n]*,(\d+)", _text(path), re.MULTILINE)
    return max(map(int, starts), default=0)


def _check_edf(path: Path, n_bytes: int) -> None:
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            fixed = file.read(256)
            n_header, n_records, n_signals = (
                int(fixed[a:b]) for a, b in ((184, 192), (236, 244), (252, 256))
            )
            file.seek(256 + 216 * n_signals)
            per_record = sum(int(file.read(8)) for _ in range(n_signals)) * n_bytes
    except (OSError, ValueError) as error:
        raise RecordingError(
            f"{path} is not a whole EDF or BDF file", found=str(error), do=_COPY_AGAIN
        ) from error
    if fixed[192:197] in (b"EDF+D", b"BDF+D"):
        raise RecordingError(
            f"The recording {path} is discontinuous",
            found="a header of EDF+D, whose records leave gaps",
            do="Export each continuous part as a file of its own",
        )
    held = (size - n_header) / max(per_record, 1)
    # -1 means that the recorder was not closed: then whole records are all there is.
    if held != (n_records if n_records >= 0 else int(held)) or held <= 0:
        raise RecordingError(
            f"The recording {path} is truncated",
            found=f"its header speaks of {n_records} records, the file holds {held:.2f}",
            do=_COPY_AGAIN,
        )
