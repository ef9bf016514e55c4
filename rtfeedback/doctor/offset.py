"""How far the clock of the machine that sends a stream is from ours."""

from __future__ import annotations

import platform

from rtfeedback.doctor.finding import Finding, ok, warn
from rtfeedback.online.offsets import measure_offset, uid_of

UNCERTAIN = 0.005  # s; half the width within which an onset may be wrong


def check_offset(description: str) -> Finding:
    """Say how far the clock of a stream's host is from ours; see `measure_offset`."""
    if uid_of(description) is None:
        return ok("clock", "The stream has no clock of its own: its stamps are made here")
    measured = measure_offset(description)
    if measured is None:
        found = "The stream's host does not answer when it is asked for its time"
        return warn("clock", found, "Let UDP through the firewalls, ports 16572 to 16604")
    here = measured.host == platform.node()
    found = (
        f"{measured.host}{' (this machine)' if here else ''} is"
        f" {1000 * measured.offset:+.3f} ms from our clock, to"
        f" {1000 * measured.uncertainty:.3f} ms; stamps are corrected by that"
    )
    if measured.uncertainty > UNCERTAIN:
        return warn("clock", found, "Use a wired network: stamps are as wrong as that at worst")
    return ok("clock", found)
