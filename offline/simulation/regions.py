"""The simulated regions in MNI space: where their courses show, and their masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offline.simulation.haemodynamics import load_brain
from offline.simulation.headmodel import HANDS, OCCIPITAL
from offline.simulation.neural import REGIONS
from rtfeedback.signals import Float64

PLACES = {"left_hand": HANDS[:1], "right_hand": HANDS[1:], "occipital": OCCIPITAL}


def region_blobs(shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Float64:
    """Return where each of `REGIONS` shows, (3, x, y, z), `shift` mm off its place."""
    moved = np.array(shift)
    return np.array(
        [
            np.max([load_brain().blob(tuple(moved + place)) for place in PLACES[name]], axis=0)
            for name in REGIONS
        ]
    )


def motor_mask() -> NDArray[np.bool_]:
    """Return both hand areas."""
    return np.isin(atlas(), (1, 2))


def atlas() -> NDArray[np.uint8]:
    """Return the voxels of each of `REGIONS`, labelled from 1."""
    labels = np.zeros(load_brain().mask.shape, dtype=np.uint8)
    for label, name in enumerate(REGIONS, start=1):
        for place in PLACES[name]:
            labels[load_brain().sphere(place)] = label
    return labels
