"""Messages as the UTF-8 JSON that goes over the wire."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite
from operator import attrgetter
from typing import Any

from rtfeedback.signals import FIELDS, Feedback

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
    model: here all that stays the same is written once, and only the rest is filled in.

    Parameters
    ----------
    rois : sequence of str
        In the order of every message.
    """

    def __init__(self, rois: Sequence[str]) -> None:
        named = (_dumps(name).replace("%", "%%") for name in rois)
        regions = ",".join(f'{name}:{{"raw":%s,"z":%s,"sd":%s}}' for name in named)
        self._rois = f"{{{regions}}}"
        self._same: tuple[Any, ...] = ()
        self._form = ""

    def __call__(self, feedback: Feedback) -> bytes:
        """Return a feedback message as UTF-8 JSON.

        Raises
        ------
        ValueError
            It holds a number that is not finite.
        """
        same = _same_of(feedback)
        if same != self._same:
            self._form, self._same = self._form_of(feedback), same
        regions = [number for roi in feedback.rois.values() for number in roi]
        values = (*_before(feedback), *regions, *_after(feedback))
        return (self._form % tuple(map(_told, values))).encode()

    def _form_of(self, feedback: Feedback) -> str:
        """Return a message with a gap for each value that changes."""
        gaps = dict.fromkeys((*_BEFORE, *_AFTER), "%s") | {"rois": self._rois}
        members = (
            f'"{name}":{gaps.get(name) or _dumps(value).replace("%", "%%")}'
            for name, value in feedback.facts()
        )
        return f"{{{','.join(members)}}}"


_SAME = ("session", "run", "flags", "checkpoint", "schema")  # in all messages of a run
_ROIS = FIELDS.index("rois")
_BEFORE = tuple(name for name in FIELDS[:_ROIS] if name not in _SAME)
_AFTER = tuple(name for name in FIELDS[_ROIS + 1 :] if name not in _SAME)
_same_of, _before, _after = attrgetter(*_SAME), attrgetter(*_BEFORE), attrgetter(*_AFTER)


def _told(value: str | float | bool | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError("Out of range float values are not JSON compliant")
        return float.__repr__(value)  # `repr` of numpy's is none of JSON's
    return int.__repr__(value) if type(value) is int else _dumps(value)
