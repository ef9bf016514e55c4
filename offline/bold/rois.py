"""Targets that are regions: `[[targets]]` of a recipe, and their mean courses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from offline.bold.localizer import LocalizerConfig
from offline.bold.regions import Region, region_voxels
from rtfeedback.signals import Bool, Float64

SOURCES = ("mask", "atlas", "label", "spheres", "radius")


class ROIConfig(Region):
    """One target: a region by mask, atlas, spheres or localizer, or a difference of two."""

    name: str = Field(default="motor", min_length=1)
    localizer: LocalizerConfig | None = None
    """Where the region responds to a task, in other runs than those it is used in."""
    difference: tuple[str, str] | None = None
    """Names of two other targets: the first one's course less the second one's."""

    @model_validator(mode="after")
    def _one_definition(self) -> ROIConfig:
        fields, given = ROIConfig.model_fields, [*SOURCES, "localizer", "difference"]
        given = [name for name in given if getattr(self, name) != fields[name].default]
        if len(given) > 1 and (self.localizer or self.difference):
            raise ValueError(f"A target is defined once, not by {' and '.join(given)}")
        if self.difference and self.name in self.difference:
            raise ValueError("A target is no difference from itself")
        return self

    @property
    def by_millimetres(self) -> bool:
        """Whether it is where its spheres are, in whatever space the image is."""
        return not (self.mask or self.atlas or self.localizer or self.difference)

    @property
    def definition(self) -> str:
        """Say in words where the region comes from."""
        if self.difference:
            return f"'{self.difference[0]}' less '{self.difference[1]}'"
        return self.localizer.definition if self.localizer else super().definition


def roi_voxels(roi: ROIConfig, image: Any, root: Path) -> Bool:
    """Return which voxels of an image are in a region, shape of one volume.

    Raises
    ------
    DatasetError
        If the region's file is absent or broken, or it has no voxel in the image.
    """
    return region_voxels(roi, image, root, roi.name)


def raw_course(voxels: Bool, image: Any) -> Float64:
    """Return a region's mean in the image's units, shape (n_volumes,)."""
    mean = image.get_fdata(dtype=np.float32)[voxels].mean(axis=0, dtype=np.float64)
    return np.asarray(mean)
