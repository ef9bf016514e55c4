"""BOLD images: read whole or refused, smoothed, and laid on another grid; no region here.

Motion and slice-time correction are expected upstream; nothing here does them.
"""

from __future__ import annotations

import gzip
import warnings
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nilearn.image import resample_img
from nilearn.masking import compute_epi_mask

from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float32, Float64

BLOCK = 2**20  # bytes decompressed at a time
SCANNER = 1  # NIfTI's code of a space; 4 is MNI's, and 2 and 3 may be any
# What nibabel and gzip raise of a file that is absent, cut short or damaged.
UNREADABLE = (OSError, EOFError, ValueError, ImageFileError, zlib.error)

Grid = float | tuple[int, int, int]
"""A resolution in millimetres, or a shape in voxels."""


def read_bold(path: Path) -> Any:
    """Return a four-dimensional NIfTI image with its data in memory.

    Raises
    ------
    DatasetError
        If it is absent, truncated, or not a series of volumes.
    """
    try:
        _check_gzip(path)
        image = nib.load(path)
        image.get_fdata(dtype=np.float32)
    except UNREADABLE as error:
        raise DatasetError(
            f"The BOLD file {path} cannot be read whole",
            found=" ".join(str(error).split()),
            do="It may be truncated, or a link's text in place of the file: fetch it again",
        ) from error
    if len(image.shape) != 4 or image.shape[3] < 2:
        raise DatasetError(
            f"The BOLD file {path} is no series of volumes",
            found=f"Its shape is {image.shape}",
            do="Name a 4-D image",
        )
    return image


def _check_gzip(path: Path) -> None:
    """Read a compressed file to its checksum, which nibabel stops short of."""
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            while file.read(BLOCK):
                pass


def grid_over(image: Any, grid: Grid) -> tuple[Float64, tuple[int, int, int]]:
    """Return affine and shape of a grid over an image's field of view.

    A shape fills the field of view from edge to edge. A resolution fills it from its
    middle, and reaches over its edges by less than a voxel.
    """
    old, sizes = np.array(image.shape[:3]), voxel_sizes(image.affine)
    if isinstance(grid, tuple):
        shape = np.array(grid)
        step = old / shape  # of the new voxels, in old ones
    else:
        step = grid / sizes
        shape = np.maximum(np.ceil(old / step - 1e-3), 1).astype(int)
    first = (old - shape * step + step - 1) / 2
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3, 3] = apply_affine(affine, first)
    affine[:3, :3] *= step
    n_x, n_y, n_z = (int(n) for n in shape)
    return affine, (n_x, n_y, n_z)


def on_grid(
    image: Any, affine: Float64, shape: tuple[int, ...], interpolation: str = "linear"
) -> Any:
    """Return an image on a grid; the image itself where that is its own.

    Linear interpolation by default: a spline overshoots at the brain's edge, where a
    change in per cent is then one of next to nothing. Nothing is registered.
    """
    if image.shape[:3] == tuple(shape[:3]) and np.allclose(image.affine, affine):
        return image
    return resample_img(
        image,
        target_affine=affine,
        target_shape=tuple(shape[:3]),
        interpolation=interpolation,
        force_resample=True,
        copy_header=True,
    )


def in_scanner_space(image: Any) -> bool:
    """Return whether an image says that its millimetres are the scanner's, not a template's."""
    if not isinstance(image, nib.Nifti1Pair):
        return False
    code = int(image.header["sform_code"]) or int(image.header["qform_code"])
    return code == SCANNER


def volumes_of(image: Any) -> Float32:
    """Return an image's values, shape (x, y, z, n_volumes)."""
    return np.asarray(image.get_fdata(dtype=np.float32))


def brain_mask(image: Any) -> Bool:
    """Return which voxels are brain, by the mean volume, shape (x, y, z).

    By the histogram of intensities (nilearn's `compute_epi_mask`); where it finds no brain,
    as in a small or made-up image, all voxels whose mean is positive, or, in an image that
    was demeaned, those that are not all zero.
    """
    volumes = volumes_of(image)
    mean = volumes.mean(axis=3, dtype=np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it found none
        try:
            found = compute_epi_mask(nib.Nifti1Image(mean, image.affine))
            brain = np.asarray(found.get_fdata() > 0) & (mean > 0)
        except ValueError:  # what scipy's labels make of no voxel at all
            brain = np.zeros(mean.shape, dtype=np.bool_)
    if not brain.any():
        brain = np.asarray(mean > 0)
    return brain if brain.any() else np.asarray(volumes.any(axis=3))
