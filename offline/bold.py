"""BOLD images: read whole or refused, and cleaned of drift; no region is known here.

Motion and slice-time correction are expected upstream; nothing here does them.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nilearn.signal import clean

from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float64

BLOCK = 2**20  # bytes decompressed at a time
# What nibabel and gzip raise of a file that is absent, cut short or damaged.
UNREADABLE = (OSError, EOFError, ValueError, ImageFileError, zlib.error)


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


def percent_signal_change(course: Float64, name: str) -> Float64:
    """Return a course, shape (n_volumes,), in per cent of its mean.

    Raises
    ------
    DatasetError
        If the mean is not positive: such an image was scaled before.
    """
    mean = course.mean()
    if not mean > 0:
        raise DatasetError(
            f"The BOLD of {name} has a mean of {mean:.3g}",
            do="Give an image in scanner units, not one that was z-scored or demeaned",
        )
    return np.asarray(100 * (course / mean - 1))


def without_drift(course: Float64, tr: float, period: float) -> Float64:
    """Take cosines slower than `period` seconds out of a course, shape (n_volumes,).

    A run no longer than half a period holds none of them: its mean and linear trend are
    all that can be told to be drift, and go. It looks at the whole run, so it is for
    targets and never for what is published.
    """
    short = 2 * len(course) * tr < period * (1 + 1e-6)  # nilearn rounds, and would warn
    cleaned = clean(
        course[:, None],
        t_r=tr,
        filter=False if short else "cosine",
        high_pass=None if short else 1 / period,
        detrend=short,
        standardize=None,
        ensure_finite=False,
    )
    return np.asarray(cleaned[:, 0], dtype=np.float64)
