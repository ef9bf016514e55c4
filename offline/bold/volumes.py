"""Whole volumes as targets: one grid and one mask for all runs, and rows of voxels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import nibabel as nib
import numpy as np
from nilearn.masking import apply_mask, unmask
from pydantic import Field, model_validator

from offline.bold.images import brain_mask, grid_over, on_grid, volumes_of
from offline.bold.regions import labels_on
from offline.bold.scaling import Scaler
from rtfeedback.config import Config
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float32, Float64

VOXELS = 4096  # scaled and cleaned at a time
SILENT = 0.1  # of the mask's voxels: with more of them empty, a run is not on its grid


class VolumesConfig(Config):
    """Whole volumes as targets."""

    grid: Annotated[float, Field(gt=0)] | tuple[int, int, int] | None = None
    """Resolution in millimetres, or shape in voxels; the images' own without."""
    mask: Path | None = None
    """NIfTI whose voxels above 0 are taken, relative to the dataset; what is brain in every
    training run without."""
    whole: bool = True
    """Keep every volume's voxels in the store."""
    components: Annotated[int, Field(gt=0)] | None = None
    """How many principal components of the training part's volumes to take as targets."""

    @model_validator(mode="after")
    def _of_use(self) -> VolumesConfig:
        if not self.whole and self.components is None:
            raise ValueError("Volumes that are not kept 'whole' are for 'components'")
        if isinstance(self.grid, tuple) and min(self.grid) < 1:
            raise ValueError("'grid' is a shape of three numbers from 1 on, or millimetres")
        return self


@dataclass(frozen=True, slots=True)
class VolumeSpace:
    """The grid that every run's volumes are laid on, and the voxels taken of it.

    Attributes
    ----------
    mask : bool, shape (x, y, z)
        A row of voxels is in its C order.
    affine : float64, shape (4, 4)
    definition : str
        Where the mask comes from.
    """

    mask: Bool
    affine: Float64
    definition: str

    @property
    def n_voxels(self) -> int:
        """How many voxels a row has."""
        return int(self.mask.sum())

    @property
    def _image(self) -> Any:
        return nib.Nifti1Image(self.mask.astype(np.int8), self.affine)

    def rows(self, image: Any) -> Float32:
        """Return an image's voxels in its own units, shape (n_volumes, n_voxels)."""
        laid = on_grid(image, self.affine, self.mask.shape)
        return np.asarray(apply_mask(laid, self._image, dtype=np.float32, ensure_finite=False))

    def image(self, rows: Float32) -> Any:
        """Return rows as an image: shape (n_volumes, n_voxels), or (n_voxels,) for one."""
        return unmask(rows, self._image)


def volume_space(images: Iterable[Any], config: VolumesConfig, root: Path) -> VolumeSpace:
    """Return the space of the training part's images; the first one gives the grid.

    Parameters
    ----------
    images : iterable of nibabel image
        Of the training runs, each let go before the next is taken.
    config : VolumesConfig
    root : Path
        The dataset's folder.

    Raises
    ------
    DatasetError
        If the mask cannot be read, or holds no voxel that has signal in every run.
    """
    affine, shape, mask, brain = None, (0, 0, 0), None, True
    for image in images:
        if affine is None or mask is None:
            own = (np.array(image.affine, dtype=np.float64), image.shape[:3])
            affine, shape = grid_over(image, config.grid) if config.grid else own
            mask = np.ones(shape, dtype=np.bool_)
            if config.mask:
                first, brain = nib.Nifti1Image(np.zeros(shape, np.int8), affine), False
                mask = labels_on(root / config.mask, first) > 0
        laid = on_grid(image, affine, shape)
        alive = volumes_of(laid).mean(axis=3) > 0
        mask &= brain_mask(laid) if brain else alive
    if affine is None or mask is None or not mask.any():
        raise DatasetError(
            "No voxel of the volumes has signal in every training run",
            do="Give images and '[volumes] mask' in one space",
        )
    source = f"mask {config.mask.name}" if config.mask else "brain in every training run"
    text = f"{mask.sum()} voxels of {' x '.join(map(str, shape))}, {source}"
    return VolumeSpace(mask, affine, text)


def check_signal(rows: Float32, name: str) -> int:
    """Return how many voxels of a run have no signal.

    Raises
    ------
    DatasetError
        If so many that the run cannot be in the mask's space.
    """
    silent = int((rows.mean(axis=0, dtype=np.float64) <= 0).sum())
    if silent > SILENT * rows.shape[1]:
        raise DatasetError(
            f"{silent} of {rows.shape[1]} voxels of the volumes' mask have no signal in {name}",
            do="Give images in one space and in scanner units, or a '[volumes] mask' that all"
            " of them fill",
        )
    return silent


def scaled_volumes(
    rows: Float32, scaler: Scaler, medians: Float32 | None = None, path: Path | None = None
) -> Float32:
    """Return volumes scaled and cleaned voxel by voxel, shape (n_volumes, n_voxels).

    Parameters
    ----------
    rows : float32, shape (n_volumes, n_voxels)
        In the image's units.
    scaler : Scaler
    medians : float32, shape (n_voxels,), optional
        The subject's median volume.
    path : Path, optional
        A `.npy` to write them to, as a memory map; in memory without.
    """
    scaled: Float32 = (
        np.empty(rows.shape, dtype=np.float32)
        if path is None
        else np.lib.format.open_memmap(path, "w+", np.float32, rows.shape)
    )
    for first in range(0, rows.shape[1], VOXELS):
        block = slice(first, first + VOXELS)
        scaled[:, block] = scaler(
            rows[:, block].astype(np.float64),
            None if medians is None else medians[block].astype(np.float64),
        )
    return scaled
