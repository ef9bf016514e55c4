"""BOLD volumes in MNI space from the courses of regions; it knows nothing of EEG."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from rtfeedback.signals import Float32, Float64

GRID_MM = 4
BLOB_SD = 6.0  # mm
ROI_RADIUS = 8.0  # mm, as `prepare` takes it where it is told of no mask
GAIN = 1.8  # % signal change per nat at a blob's centre
INTENSITY = 8000.0  # of the brightest voxel: 0.01 % is about one step of int16

# Sds before the whole is scaled to the SNR: of a voxel's noise, and of what voxels share.
VOXEL, GLOBAL, MOTION, DRIFT = 1.0, 0.25, 0.3, 0.3
SMOOTH_SD = 4.0  # mm, of the voxels' noise
MAP_SD = 24.0  # mm, of the patterns of motion and drift
NOISE_TIME = 2.5  # s, correlation time of the voxels' noise
TRANSLATION, ROTATION = 0.15, 0.002  # mm and radians, sd within a run
MOTION_SD = 12.0  # s, how fast heads creep


@dataclass(frozen=True, slots=True)
class Brain:
    """The 4 mm grid of nilearn's MNI template.

    Attributes
    ----------
    affine : float64, shape (4, 4)
        Voxel indices to MNI millimetres.
    base : float64, shape (x, y, z)
        Intensity at rest, 0 outside the mask.
    mask : bool, shape (x, y, z)
    box : tuple of slice
        The smallest box around the mask; noise is drawn in it.
    """

    affine: Float64
    base: Float64
    mask: NDArray[np.bool_]
    box: tuple[slice, slice, slice]

    def distance(self, mni: tuple[float, float, float]) -> Float64:
        """Return each voxel's distance from a point, in millimetres."""
        indices = np.indices(self.mask.shape).reshape(3, -1)
        points = self.affine[:3, :3] @ indices + self.affine[:3, 3:]
        squared = ((points - np.array(mni)[:, None]) ** 2).sum(0)
        return np.asarray(np.sqrt(squared).reshape(self.mask.shape))

    def sphere(self, mni: tuple[float, float, float]) -> NDArray[np.bool_]:
        """Return the brain's voxels within `ROI_RADIUS` of a point."""
        return np.asarray((self.distance(mni) <= ROI_RADIUS) & self.mask)

    def blob(self, mni: tuple[float, float, float]) -> Float64:
        """Return a Gaussian of peak 1 about a point, exactly 0 far from it."""
        blob = np.exp(-0.5 * (self.distance(mni) / BLOB_SD) ** 2)
        return np.asarray(np.where((blob > 1e-3) & self.mask, blob, 0.0))


@cache
def load_brain() -> Brain:
    """Load nilearn's bundled template and mask; nothing is downloaded."""
    template = load_mni152_template(resolution=GRID_MM)
    mask = load_mni152_brain_mask(resolution=GRID_MM).get_fdata() > 0
    contrast = np.clip(template.get_fdata(), 0.0, None)
    # Air in the mask would give voxels without signal, and percentages of nothing.
    contrast = 0.3 + 0.7 * contrast / contrast.max()
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(mask))
    base = np.where(mask, np.rint(INTENSITY * contrast), 0.0)
    return Brain(np.asarray(template.affine), base, mask, (box[0], box[1], box[2]))


@dataclass(frozen=True, slots=True)
class Bold:
    """One run's measured volumes and what is known of them.

    Attributes
    ----------
    volumes : int16, shape (x, y, z, n_volumes)
    motion : float64, shape (n_volumes, 6)
        trans_x, trans_y, trans_z in millimetres, rot_x, rot_y, rot_z in radians.
    global_signal : float64, shape (n_volumes,)
        Mean over the brain.
    truth : float64, shape (n_volumes,)
        Noise-free course of the region of interest, in % signal change.
    ceiling : float
        Correlation of the truth with the measured course.
    """

    volumes: NDArray[np.int16]
    motion: Float64
    global_signal: Float64
    truth: Float64
    ceiling: float


def simulate_bold(
    rng: np.random.Generator,
    blobs: Float64,
    courses: Float64,
    roi: NDArray[np.bool_],
    *,
    tr: float,
    snr: float,
) -> Bold:
    """Draw one run's volumes.

    Parameters
    ----------
    rng : numpy.random.Generator
    blobs : float64, shape (k, x, y, z)
        Where each course shows.
    courses : float64, shape (k, n_volumes)
        Responses in nats.
    roi : bool, shape (x, y, z)
        Region whose truth is reported, and whose noise is set by `snr`.
    tr : float
        Seconds between volumes.
    snr : float
        r**2 / (1 - r**2), with r the correlation of truth and measured ROI course: in
        this run, not on average, since in 100 volumes noise agrees with truth by chance.
    """
    brain = load_brain()
    inside, weight = roi[brain.box], brain.base[brain.box][roi[brain.box]]
    centred = courses - courses.mean(axis=1, keepdims=True)
    shown = np.array([blob[brain.box] for blob in blobs]).astype(np.float32)
    signal = GAIN * np.einsum("kt,kxyz->txyz", centred.astype(np.float32), shown)
    noise, motion = _draw_noise(rng, shown.shape[1:], courses.shape[1], tr)
    truth = np.average(signal[:, inside], axis=1, weights=weight).astype(np.float64)
    chance = np.average(noise[:, inside], axis=1, weights=weight).astype(np.float64)
    noise *= np.float32(_noise_scale(truth, chance, snr))
    base = brain.base[brain.box].astype(np.float32)
    measured = np.rint(base * (1 + (signal + noise) / 100)).astype(np.int16)
    volumes = np.zeros((*brain.mask.shape, courses.shape[1]), dtype=np.int16)
    volumes[brain.box] = np.moveaxis(measured, 0, -1)
    seen = measured[:, inside].mean(axis=1)
    return Bold(
        volumes,
        motion,
        measured[:, brain.mask[brain.box]].mean(axis=1),
        truth,
        float(np.corrcoef(truth, seen)[0, 1]),
    )


def _noise_scale(truth: Float64, noise: Float64, snr: float) -> float:
    """Return the factor k of noise n at which corr(s, s + k n) is sqrt(snr / (1 + snr)).

    The one positive root of (s.s + k s.n)**2 = r**2 s.s |s + k n|**2.
    """
    r2 = snr / (1 + snr)
    # In a run of few volumes noise may be as like the truth as r itself: no root then.
    chance = min(float(np.corrcoef(truth, noise)[0, 1]), 0.9 * np.sqrt(r2))
    root = np.sqrt((1 - r2) * r2 * (1 - chance**2)) - chance * (1 - r2)
    return float((1 - r2) / root * truth.std() / noise.std())


def _draw_noise(
    rng: np.random.Generator, shape: tuple[int, ...], n: int, tr: float
) -> tuple[Float32, Float64]:
    """Draw noise (n, x, y, z) of the brain's box and the motion (n, 6) that is in it."""
    noise = rng.standard_normal((n, *shape), dtype=np.float32)
    for axis in (1, 2, 3):
        noise = gaussian_filter1d(noise, SMOOTH_SD / GRID_MM, axis=axis)
    noise *= np.float32(VOXEL) / noise.std()
    ar = np.exp(-tr / NOISE_TIME)
    noise[1:] *= np.float32(np.sqrt(1 - ar**2))  # stationary from the first volume on
    for k in range(1, n):
        noise[k] += np.float32(ar) * noise[k - 1]
    motion = _draw_motion(rng, n, tr)
    times = [GLOBAL * _draw_global(rng, n, tr)[:, None]]
    moved = (motion - motion.mean(axis=0)) / motion.std(axis=0)
    times += [MOTION * moved, DRIFT * _draw_drift(rng, n)]
    maps = [_draw_map(rng, shape) for _ in range(8)]
    patterns = np.array([np.ones(shape), *maps[:6], 1 + 0.7 * maps[6], 0.7 * maps[7]])
    shared = np.hstack(times).astype(np.float32)
    noise += np.einsum("tk,kxyz->txyz", shared, patterns.astype(np.float32))
    return noise, motion


def _draw_map(rng: np.random.Generator, shape: tuple[int, ...]) -> Float64:
    drawn = gaussian_filter(rng.standard_normal(shape), MAP_SD / GRID_MM)
    return np.asarray(drawn / drawn.std())


def _draw_motion(rng: np.random.Generator, n: int, tr: float) -> Float64:
    """Draw a slow creep of the head, (n, 6), from where it lay at the first volume."""
    creep = gaussian_filter1d(rng.standard_normal((n, 6)), MOTION_SD / tr, axis=0)
    trend = np.linspace(-1, 1, n)[:, None] * rng.standard_normal(6)
    motion = creep / creep.std(axis=0) + 0.5 * trend
    return np.asarray((motion - motion[0]) * ([TRANSLATION] * 3 + [ROTATION] * 3))


def _draw_global(rng: np.random.Generator, n: int, tr: float) -> Float64:
    """Draw what breathing and vigilance do to the whole brain: slow, of unit sd."""
    drawn = gaussian_filter1d(rng.standard_normal(n), 4.0 / tr)
    return np.asarray((drawn - drawn.mean()) / drawn.std())


def _draw_drift(rng: np.random.Generator, n: int) -> Float64:
    """Draw the scanner's drift, (n, 2): a slope, and a bend of unknown size."""
    at = np.linspace(-1, 1, n)
    return np.stack([at, at**2 - 1 / 3], axis=1) * rng.normal(0, [1.5, 1.5])
