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
        self._n_numbers = 3 * len(rois)
        named = (_dumps(name).replace("%", "%%") for name in rois)
        self._rois = ",".join(f'{name}:{{"raw":%s,"z":%s,"sd":%s}}' for name in named)

    def __call__(self, feedback: Feedback) -> bytes:
        """Return a feedback message as UTF-8 JSON.

        Raises
        ------
        ValueError
            It holds a number that is not finite.
        """
        head: list[str] = []
        tail: list[str] = []
        part = head
        for name, fact in feedback.facts():
            if name == "rois":
                part = tail
            else:
                part.append(f'"{name}":{_dumps(fact)}')
        numbers = [number for roi in feedback.rois.values() for number in roi]
        if not isfinite(sum(number for number in numbers if number is not None)):
            raise ValueError("Out of range float values are not JSON compliant")
        filled = self._rois % tuple(["null" if n is None else repr(n) for n in numbers])
        return f'{{{",".join(head)},"rois":{{{filled}}},{",".join(tail)}}}'.encode()
