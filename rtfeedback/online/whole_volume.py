"""A predicted volume, as it goes over the wire: a header of JSON and a frame of numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtfeedback.models.volume import VolumeSpec
from rtfeedback.signals import Feedback, Float32

DTYPE = "<f4"
IN_TIME = 0.5  # of the period: older EEG gets no volume, so that feedback stays prompt


@dataclass(frozen=True, slots=True)
class WholeVolume:
    """The volume whose regions a feedback message holds; docs/volume.schema.json.

    Attributes
    ----------
    header : dict
        All but when it is published.
    frame : bytes
        The voxels, little-endian float32 in C order, NaN outside the mask.
    """

    header: dict[str, Any]
    frame: bytes


def whole_volume(feedback: Feedback, voxels: Float32, spec: VolumeSpec) -> WholeVolume:
    """Return the volume that goes with a valid feedback message.

    Parameters
    ----------
    feedback : Feedback
    voxels : float32, shape of `spec.grid`
        Of the pass that the message's regions come from.
    spec : VolumeSpec
    """
    frame = np.ascontiguousarray(voxels, dtype=DTYPE).tobytes()
    header = {
        "schema": feedback.schema,
        "session": feedback.session,
        "run": feedback.run,
        "seq": feedback.seq,
        "volume": feedback.volume,
        "valid": feedback.valid,
        "reason": feedback.reason,
        "flags": list(feedback.flags),
        "target_time": feedback.target_time,
        "shape": list(voxels.shape),
        "dtype": DTYPE,
        "order": "C",
        "affine": [list(row) for row in spec.affine],
        "unit": spec.unit,
        "checkpoint": feedback.checkpoint,
        "sha256": hashlib.sha256(frame).hexdigest(),
    }
    return WholeVolume(header, frame)


def is_due(feedback: Feedback, every: int, period: float) -> bool:
    """Return whether a message's volume is told as well.

    It follows from the message alone, so that a replay decides alike. After a stall the
    volumes give way first: what is due next is feedback.

    Parameters
    ----------
    feedback : Feedback
    every : int
        Of so many volumes, which count from 0, the first is told.
    period : float
        Hop, else TR, in seconds.
    """
    if not feedback.valid or feedback.volume is None or feedback.age_ms is None:
        return False
    return feedback.volume % every == 0 and feedback.age_ms <= 1000 * IN_TIME * period
