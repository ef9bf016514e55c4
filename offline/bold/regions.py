"""Regions of the brain: a mask, a label of an atlas, or spheres, and their voxels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from nilearn.image import resample_to_img
from pydantic import Field, model_validator

from offline.bold.images import UNREADABLE
from rtfeedback.config import Config
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float64

# Hand area of the motor cortex in MNI space, millimetres: the omega-shaped knob
# (Yousry et al. 1997, doi:10.1093/brain/120.1.141).
HAND_AREAS = ((-38.0, -22.0, 56.0), (38.0, -22.0, 56.0))


class Region(Config):
    """A mask, a label of an atlas, or spheres where there is neither."""

    mask: Path | None = None
    """NIfTI whose voxels above 0 are the region; relative to the dataset."""
    atlas: Path | None = None
    """NIfTI of integer labels; relative to the dataset."""
    label: int | None = None
    """The atlas's label of the region."""
    spheres: tuple[tuple[float, float, float], ...] = Field(default=HAND_AREAS, min_length=1)
    """Centres in millimetres of the image's space, used without mask and atlas."""
    radius: Annotated[float, Field(gt=0)] = 8.0
    """Radius of the spheres in millimetres."""

    @model_validator(mode="after")
    def _one_source(self) -> Region:
        if self.mask and self.atlas:
            raise ValueError("A region is a mask or an atlas label, not both")
        if (self.atlas is None) != (self.label is None):
            raise ValueError("An atlas and a label go together")
        return self

    @property
    def definition(self) -> str:
        """Say in words where the region comes from."""
        if self.mask:
            return f"mask {self.mask.name}"
        if self.atlas:
            return f"label {self.label} of {self.atlas.name}"
        centres = "; ".join(", ".join(f"{x:g}" for x in centre) for centre in self.spheres)
        return f"spheres of {self.radius:g} mm at {centres}"


def region_voxels(region: Region, image: Any, root: Path, name: str) -> Bool:
    """Return which voxels of an image are in a region, shape of one volume.

    Parameters
    ----------
    region : Region
    image : nibabel image
    root : Path
        The dataset's folder, from which the region's file is named.
    name : str
        Of the target, for what is said of an error.

    Raises
    ------
    DatasetError
        If the region's file is absent or broken, or it has no voxel in the image.
    """
    if region.mask or region.atlas:
        labels = labels_on(root / (region.mask or region.atlas or ""), image)
        voxels = labels == region.label if region.atlas else labels > 0
    else:
        voxels = _spheres(region, image)
    if not voxels.any():
        raise DatasetError(
            f"The region '{name}' ({region.definition}) has no voxel in the BOLD image",
            do="Check that region and image are in the same space",
        )
    return voxels


def labels_on(path: Path, image: Any) -> Float64:
    """Return the values of a file of labels at the voxels of an image, nearest ones.

    Raises
    ------
    DatasetError
        If it cannot be read, or is no single volume.
    """
    try:
        return labels_like(nib.load(path), image)
    except UNREADABLE as error:
        raise DatasetError(
            f"The region file {path} cannot be read", found=str(error), do="Check the path"
        ) from error


def labels_like(region: Any, image: Any) -> Float64:
    """Return the values of an image of labels at the voxels of another, nearest ones."""
    first = nib.Nifti1Image(np.zeros(image.shape[:3], np.int16), image.affine)
    found = resample_to_img(
        region, first, interpolation="nearest", force_resample=True, copy_header=True
    )
    return np.asarray(found.get_fdata().reshape(image.shape[:3]))


def _spheres(region: Region, image: Any) -> Bool:
    indices = np.moveaxis(np.indices(image.shape[:3]), 0, -1)
    millimetres = apply_affine(image.affine, indices)
    distances = [np.linalg.norm(millimetres - centre, axis=-1) for centre in region.spheres]
    return np.asarray(np.min(distances, axis=0) <= region.radius)
