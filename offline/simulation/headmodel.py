"""The electrodes and MNE's forward model of a spherical head; it draws no signal.

Nothing is downloaded: the montage comes with MNE, and a sphere needs no MRI.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mne
import numpy as np

from rtfeedback.signals import Float64

REFERENCE = "FCz"
MONTAGE = "colin27_1005"
# Front to back. A small choice is the first of _NESTED.
_ORDER = """Fp1 Fpz Fp2 AF7 AF3 AFz AF4 AF8 F9 F7 F5 F3 F1 Fz F2 F4 F6 F8 F10 FT7 FC5 FC3 FC1
    FC2 FC4 FC6 FT8 T7 C5 C3 C1 Cz C2 C4 C6 T8 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 TP10
    P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2"""
_NESTED = """C3 C4 Fp1 Fp2 O1 O2 Cz Pz F3 F4 P3 P4 F7 F8 T7 T8 P7 P8 Fz Oz FC1 FC2 CP1 CP2
    FC5 FC6 CP5 CP6 TP9 TP10 POz AFz"""

# Millimetres in MNI space: the hand knobs, and calcarine cortex of both sides.
HANDS = ((-38.0, -22.0, 56.0), (38.0, -22.0, 56.0))
OCCIPITAL = ((-12.0, -92.0, 6.0), (12.0, -92.0, 6.0))
# Below the frontal pole's electrodes; the eyes themselves are outside the sphere.
EYES = ((-25.0, 58.0, -8.0), (25.0, 58.0, -8.0))

N_BACKGROUND = 400  # sources of the background


def channel_names(n: int) -> tuple[str, ...]:
    """Return `n` of the 64 channels, front to back; a smaller choice is in a larger."""
    order, nested = _ORDER.split(), _NESTED.split()
    chosen = [*nested, *(name for name in order if name not in nested)][:n]
    return tuple(name for name in order if name in chosen)


def leadfield(channels: tuple[str, ...], mni: Any, shift: Float64) -> Float64:
    """Return what radial sources at MNI millimetres give, (n_channels, n_sources)."""
    sphere, to_head = _sphere()
    head = mne.transforms.apply_trans(to_head, (np.array(mni) + shift) / 1e3)
    return _solve(channels, head, head - sphere["r0"])


@cache
def cortex_leadfield(channels: tuple[str, ...]) -> Float64:
    """Return the leadfield of sources all over the upper brain, the same for everyone."""
    rng = np.random.default_rng(1020)
    sphere, _ = _sphere()
    directions = rng.standard_normal((N_BACKGROUND, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions[:, 2] = np.abs(directions[:, 2]) - 0.3  # electrodes sit on the upper half
    depth = rng.uniform(0.55, 0.85, (N_BACKGROUND, 1)) * sphere.radius
    oriented = rng.standard_normal((N_BACKGROUND, 3))
    return _solve(channels, sphere["r0"] + depth * directions, oriented)


@cache
def _sphere() -> tuple[Any, Any]:
    """Return the sphere and the transform of MNI to head metres, whatever the channels."""
    sphere = mne.make_sphere_model(
        "auto", "auto", _info(tuple(_ORDER.split())), verbose="error"
    )
    montage = mne.channels.make_standard_montage(MONTAGE)
    return sphere, mne.channels.compute_native_head_t(montage)


def _info(channels: tuple[str, ...]) -> Any:
    info = mne.create_info([*channels, REFERENCE], 250.0, "eeg")
    return info.set_montage(mne.channels.make_standard_montage(MONTAGE))


def _solve(channels: tuple[str, ...], head: Float64, oriented: Float64) -> Float64:
    """Return the leadfield of dipoles at head metres, against the reference."""
    sphere, _ = _sphere()
    oriented = oriented / np.linalg.norm(oriented, axis=1, keepdims=True)
    one = np.ones(len(head))
    dipoles = mne.Dipole(np.arange(len(head)), head, one, oriented, one)
    forward, _ = mne.make_forward_dipole(dipoles, sphere, _info(channels), verbose="error")
    field = np.asarray(forward["sol"]["data"], dtype=np.float64)
    return np.asarray(field[:-1] - field[-1])  # FCz, the last, is the reference
