"""The courses of a run's regions, before and after they are scaled and cleaned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from offline.bold.localizer import Regions
from offline.bold.rois import ROIConfig, raw_course, roi_voxels
from offline.bold.runs import OpenRun
from offline.bold.scaling import check_baseline
from offline.bold.settings import BoldConfig
from offline.bold.volumes import VolumesConfig
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.signals import Bool, Float64


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """What is to be made of every run.

    Attributes
    ----------
    rois : tuple of ROIConfig
    bold : BoldConfig
    volumes : VolumesConfig or None
    root : Path
        The dataset's folder, from which masks are named.
    slice_ref : float
        Where in a volume its value stands, in TR.

    Raises
    ------
    ConfigError
        If two targets share a name, or a difference is of a target that there is not.
    """

    rois: tuple[ROIConfig, ...]
    bold: BoldConfig
    volumes: VolumesConfig | None
    root: Path
    slice_ref: float

    def __post_init__(self) -> None:
        names = [roi.name for roi in self.rois]
        if len(set(names)) < len(names):
            raise ConfigError(f"Each target needs a name of its own, not {', '.join(names)}")
        plain = [roi.name for roi in self.plain]
        for roi in self.rois:
            absent = [name for name in roi.difference or () if name not in plain]
            if absent:
                raise ConfigError(
                    f"The target '{roi.name}' is a difference of '{absent[0]}'",
                    found=f"The regions are {', '.join(plain) or 'none'}",
                    do="Name two targets that are regions",
                )

    @property
    def plain(self) -> tuple[ROIConfig, ...]:
        """The targets that are regions, and no differences."""
        return tuple(roi for roi in self.rois if not roi.difference)


def regions_in(
    spec: TargetSpec, localized: Mapping[str, Regions], opened: OpenRun
) -> dict[str, Bool]:
    """Return each region's voxels in a run's image; none where courses stand for it.

    Raises
    ------
    DatasetError
        If a region has no voxel in the image.
    """
    if opened.image is None:
        return {}
    regions: dict[str, Bool] = {}
    for roi in spec.plain:
        if not roi.localizer:
            regions[roi.name] = roi_voxels(roi, opened.image, spec.root)
            continue
        regions[roi.name] = localized[roi.name].of(opened.run, roi.name).on(opened.image)
        if not regions[roi.name].any():
            raise DatasetError(
                f"The region '{roi.name}' that a localizer found has no voxel in"
                f" {opened.run.name}",
                do="Give images that are in one space",
            )
    return regions


def raw_courses(
    spec: TargetSpec, regions: Mapping[str, Bool], opened: OpenRun
) -> dict[str, Float64]:
    """Return each region's mean in the image's units, shape (n_volumes,), by its name."""
    if opened.image is None:
        return {roi.name: _extracted(roi.name, opened) for roi in spec.plain}
    return {name: raw_course(voxels, opened.image) for name, voxels in regions.items()}


def target_courses(
    spec: TargetSpec,
    raw: Mapping[str, Float64],
    opened: OpenRun,
    medians: Mapping[str, float] | None = None,
) -> Float64:
    """Return the targets' courses, scaled and cleaned, shape (n_volumes, n_targets).

    Parameters
    ----------
    spec : TargetSpec
    raw : mapping of str to float64, shape (n_volumes,)
    opened : OpenRun
    medians : mapping of str to float, optional
        Of the subject's training runs, by region, for `time_course`.
    """
    scaled: dict[str, Float64] = {}
    for name, course in raw.items():
        if spec.bold.scaling != "none":
            check_baseline(float(course.mean()), opened.run.name, "mean")
        median = None if medians is None else np.array([medians[name]])
        scaled[name] = opened.scaler(course[:, None], median)[:, 0]
    for roi in spec.rois:
        if roi.difference:
            first, second = roi.difference
            scaled[roi.name] = scaled[first] - scaled[second]
    columns = [scaled[roi.name] for roi in spec.rois]
    return np.stack(columns, axis=1) if columns else np.zeros((opened.n_volumes, 0))


def _extracted(name: str, opened: OpenRun) -> Float64:
    """Return a region's course out of a run's table of courses; a lone column is it.

    What is scrubbed has the mean of the rest: it is left out of all, and NaN in the end.
    """
    found = opened.courses.get(name)
    if found is None and len(opened.courses) == 1:
        found = next(iter(opened.courses.values()))
    if found is None:
        raise DatasetError(
            f"{opened.run.course} has no course of '{name}'",
            found=f"Its columns are {', '.join(opened.courses) or 'none'}",
            do="Name the targets as its columns",
        )
    return np.where(opened.kept, found, found[opened.kept].mean())  # NaN would spread
