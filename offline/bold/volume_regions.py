"""Regions as weights of whole volumes' voxels: what a model of volumes says of regions."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from offline.bold.courses import TargetSpec
from offline.bold.rois import roi_voxels
from offline.bold.volumes import VolumeSpace
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float32


def volume_regions(spec: TargetSpec, space: VolumeSpace) -> dict[str, Float32]:
    """Return each target's weights over the voxels of volumes, shape (n_voxels,), by name.

    A region is the mean of its voxels, and a difference that of two regions. Regions that
    a localizer finds are each subject's own, so a volume of all subjects has none of them.

    Raises
    ------
    DatasetError
        If a region has no voxel in the volumes' mask.
    """
    image = nib.Nifti1Image(space.mask.astype(np.int8), space.affine)
    found: dict[str, Float32] = {}
    for roi in spec.plain:
        if roi.localizer:
            continue
        inside = roi_voxels(roi, image, spec.root)[space.mask]
        if not inside.any():
            raise DatasetError(
                f"The region '{roi.name}' has no voxel in the volumes' mask",
                found=f"{roi.definition}; {space.definition}",
                do="Take a finer grid, or a mask that holds the region",
            )
        found[roi.name] = (inside / inside.sum()).astype(np.float32)
    for roi in spec.rois:
        if roi.difference and all(name in found for name in roi.difference):
            first, second = roi.difference
            found[roi.name] = found[first] - found[second]
    return {roi.name: found[roi.name] for roi in spec.rois if roi.name in found}
