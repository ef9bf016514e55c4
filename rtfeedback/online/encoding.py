"""Messages as the UTF-8 JSON that goes over the wire."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite
from typing import Any

from rtfeedback.signals import Feedback

_dumps = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def encode(message: dict[str, Any]) -> bytes:
    """Return a message as UTF-8 JSON, in which NaN cannot be.

    Raises
    ------
    ValueError
        It holds a number that is not finite.
    """
    return _dumps(message).encode()


class FeedbackEncoder:
    """Encodes the feedback of a run: byte for byte what `encode` makes of its message.

    A subject waits for this one, and with many regions `json` takes longer for it than a
    model: here all that stays the same is written once, and only numbers are filled in.

    Parameters
    ----------
    rois : sequence of str
        In the order of every message.
    """

    def __init__(self, rois: Sequence[str]) -> None:
        named = (_dumps(name).replace("%", "%%") for name in rois)
        self._rois = ",".join(f'{name}:{{"raw":%s,"z":%s,"sd":%s}}' for name in named)

    def __call__(self, feedback: Feedback) -> bytes:
        """Return a feedback message as UTF-8 JSON.

        Raises
        ------
        ValueError
            It holds a number that is not finite.
        """
        numbers = [number for roi in feedback.rois.values() for number in roi]
        if not isfinite(sum([number for number in numbers if number is not None])):
            raise ValueError("Out of range float values are not JSON compliant")
        told = ["null" if number is None else repr(number) for number in numbers]
        # In no text of a message does this stand: quotes are escaped there.
        head, tail = _dumps({**dict(feedback.facts()), "rois": None}).split('"rois":null', 1)
        return f'{head}"rois":{{{self._rois % tuple(told)}}}{tail}'.encode()
