"""Where EEG comes from, as `--source` says it."""

from __future__ import annotations

from rtfeedback.errors import StreamError
from rtfeedback.online.fieldtrip import SCHEME, BufferAddress, FieldTripSource
from rtfeedback.online.lsl import LSLSource, clock
from rtfeedback.online.source import Source


def make_source(text: str | None = None, *, stream: str, markers: str | None = None) -> Source:
    """Return what `text` names: LSL where it is silent or `lsl`, or a FieldTrip buffer.

    A recording's path is not for here: the desk reads it (`offline.recording_stream`).

    Parameters
    ----------
    text : str, optional
        `lsl`, or `fieldtrip://HOST[:PORT]`; see `BufferAddress`.
    stream, markers : str
        Names of the LSL streams. A FieldTrip buffer has its own events for markers.

    Raises
    ------
    StreamError
        The text names neither.
    """
    if text is None or text.lower() == "lsl":
        return LSLSource(stream, markers)
    if text.lower().startswith(SCHEME):
        return FieldTripSource(BufferAddress.parse(text), clock=clock)
    raise StreamError(
        f"'{text}' names no source of EEG",
        found="It is neither an address that is known nor a file that is there",
        do=f"Give {SCHEME}HOST:PORT, the path of a recording, or nothing for LSL",
    )


def is_address(text: str) -> bool:
    """Tell whether a text is an address, for `make_source`, and not a file's path."""
    return "://" in text or text.lower() == "lsl"
