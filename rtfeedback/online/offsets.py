"""What only liblsl can say: its version, and how far another machine's clock is from ours."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass

import pylsl
import pylsl.util
from pylsl.lib import lib

from rtfeedback.xdf.chunks import parse_info

PATIENCE = 2.0  # s that the stream's host may take to answer

lib.lsl_time_correction_ex.restype = ctypes.c_double


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """What is added to a host's stamps, and how wrong it may be, in seconds.

    liblsl exchanges time probes as NTP does (RFC 5905) and keeps the quickest: the offset
    is wrong by half of its round trip at most.
    """

    host: str
    offset: float
    uncertainty: float


def liblsl_version() -> str:
    """Return liblsl's name and version."""
    number = pylsl.library_version()
    return f"liblsl {number // 100}.{number % 100}"


def measure_offset(description: str, timeout: float = PATIENCE) -> ClockOffset | None:
    """Measure the clock of the host that sends a stream, by an inlet of our own.

    Parameters
    ----------
    description : str
        The stream's XML.
    timeout : float
        Seconds that it may take.

    Returns
    -------
    offset : ClockOffset or None
        None where the host does not answer, or the stream is none of LSL.
    """
    uid = uid_of(description)
    if uid is None:
        return None
    deadline = time.monotonic() + timeout
    found = pylsl.resolve_byprop("uid", uid, 1, timeout)
    if not found:
        return None
    inlet = pylsl.StreamInlet(found[0], recover=False)
    remote, uncertainty, code = ctypes.c_double(), ctypes.c_double(), ctypes.c_int()
    try:
        offset = lib.lsl_time_correction_ex(
            inlet.obj,
            ctypes.byref(remote),
            ctypes.byref(uncertainty),
            ctypes.c_double(max(0.1, deadline - time.monotonic())),
            ctypes.byref(code),
        )
    finally:
        inlet.close_stream()
    if code.value:
        return None
    return ClockOffset(str(found[0].hostname()), float(offset), float(uncertainty.value) / 2)


def uid_of(description: str) -> str | None:
    """Return the identity of an LSL stream out of its XML, or None where it is none."""
    try:
        return parse_info(description).findtext("uid") or None
    except ValueError:
        return None
