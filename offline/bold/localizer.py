"""Regions that a task's activation defines, in other runs than those they are used in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from pydantic import Field, field_validator, model_validator

from offline.bold.glm import ContrastMap, z_map
from offline.bold.regions import Region, labels_like, region_voxels
from offline.bold.runs import BoldRun
from offline.design import REST, Event, conditions, read_events
from rtfeedback.config import Config
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float64, Int64

SIGNS = re.compile(r"\s([+-])\s")


class LocalizerConfig(Config):
    """What a region responds to, and in which runs that is looked for."""

    contrast: str = Field(min_length=1)
    """Conditions with ` + ` and ` - ` between them, such as `Task-MI - Rest`; the mean of
    those that are added less the mean of the others. Rest is what no condition models."""
    tasks: tuple[str, ...] = ()
    """Runs of these tasks; any task without."""
    runs: tuple[str, ...] = ()
    """Runs by their names, `*` standing for anything; all of them without."""
    reserved: bool = False
    """Runs of these names or tasks are for this alone: no window is trained or tested on
    them, so that they say where the region is in a subject that is held out, too."""
    within: Literal["subject", "all"] = "subject"
    """Whether the region is the subject's own, or one for all, which are then in one
    space."""
    threshold: Annotated[float, Field(gt=0)] = 3.1
    """Least z of the region's voxels (one-sided p = 0.001), without `n_voxels`."""
    n_voxels: Annotated[int, Field(gt=0)] | None = None
    """How many voxels of the largest z make the region, whatever `threshold` is."""
    search: Region | None = None
    """Where it is looked for; the whole brain without."""

    @field_validator("contrast")
    @classmethod
    def _has_a_condition(cls, contrast: str) -> str:
        if not contrast_weights(contrast):
            raise ValueError("A contrast has a condition other than rest")
        return contrast

    @model_validator(mode="after")
    def _names_what_is_reserved(self) -> LocalizerConfig:
        if self.reserved and not (self.tasks or self.runs):
            raise ValueError("reserved takes tasks or runs, or no run would be left")
        return self

    @property
    def definition(self) -> str:
        """Say in words which voxels they are."""
        chosen = f"z > {self.threshold:g}" if not self.n_voxels else f"top {self.n_voxels}"
        place = f" in {self.search.definition}" if self.search else ""
        whose = "the subject's" if self.within == "subject" else "all subjects'"
        named = f" ({', '.join((*self.tasks, *self.runs))})" if self.tasks or self.runs else ""
        which = "runs that are for it alone" if self.reserved else "other training runs"
        return (
            f"voxels ({chosen}){place} of the GLM contrast '{self.contrast}' over {whose}"
            f" {which}{named}"
        )

    def covers(self, run: BoldRun) -> bool:
        """Return whether a run is one of those that it is to be looked for in."""
        in_task = not self.tasks or run.task in self.tasks
        return (run.has_image and in_task) and (
            not self.runs or any(fnmatchcase(run.name, each) for each in self.runs)
        )


def contrast_weights(contrast: str) -> dict[str, float]:
    """Return the weight of each condition; rest, the baseline, has none."""
    first, *rest = SIGNS.split(f" {contrast.strip()} " if contrast[:1] in "+-" else contrast)
    terms = [("+", first), *zip(rest[::2], rest[1::2], strict=True)]
    sides: dict[str, list[str]] = {"+": [], "-": []}
    for sign, name in terms:
        if name.strip():
            sides[sign].append(name.strip())
    return {
        name: (1.0 if sign == "+" else -1.0) / len(names)
        for sign, names in sides.items()
        for name in names
        if name.casefold() != REST
    }


def run_events(run: BoldRun, config: LocalizerConfig) -> list[Event] | None:
    """Return the events of a run that has all of a contrast's conditions, else None.

    Raises
    ------
    DatasetError
        If the run was named for it, and has not.
    """
    events = read_events(run.events) if run.events else []
    absent = contrast_weights(config.contrast).keys() - conditions(events)
    if not absent:
        return events
    if config.tasks or config.runs:
        raise DatasetError(
            f"The events of {run.name} lack what the contrast '{config.contrast}' is of",
            found=f"No {', '.join(sorted(absent))} in {run.events or 'no events file'}; its"
            f" conditions are {', '.join(conditions(events)) or 'none'}",
            do="Mend the contrast, or name other runs or tasks for the localizer",
        )
    return None


@dataclass(frozen=True, slots=True)
class Localized:
    """A region that was found.

    Attributes
    ----------
    shape : tuple of int
    affine : float64, shape (4, 4)
    voxels : int64, shape (n_voxels,)
        In C order.
    peak : float
        The largest z.
    at : tuple of float
        Where that is, in millimetres.
    runs : tuple of str
        That it was found in.
    """

    shape: tuple[int, ...]
    affine: Float64
    voxels: Int64
    peak: float
    at: tuple[float, float, float]
    runs: tuple[str, ...]

    def on(self, image: Any) -> Bool:
        """Return its voxels in an image, shape of one volume."""
        region = np.zeros(self.shape, dtype=np.int16)
        region.flat[self.voxels] = 1
        return np.asarray(labels_like(nib.Nifti1Image(region, self.affine), image) > 0)


def localize(
    maps: Sequence[ContrastMap], config: LocalizerConfig, root: Path, name: str
) -> Localized:
    """Return the voxels of a region, by the z of its contrast over runs.

    Raises
    ------
    DatasetError
        If no voxel is above the threshold.
    """
    image = z_map(maps)
    z = np.asarray(image.get_fdata(), dtype=np.float64)
    if config.search:
        z = np.where(region_voxels(config.search, image, root, name), z, 0.0)
    runs = tuple(each.run.name for each in maps)
    least = 0.0 if config.n_voxels else config.threshold
    chosen = np.flatnonzero(z > least)
    peak = int(z.argmax())
    if not len(chosen):
        raise DatasetError(
            f"The localizer of '{name}' finds no voxel",
            found=f"The largest z of '{config.contrast}' is {z.flat[peak]:.2f}, in"
            f" {', '.join(runs)}",
            do="Lower its 'threshold', give 'n_voxels', or search elsewhere",
        )
    if config.n_voxels:
        order = np.argsort(-z.flat[chosen], kind="stable")
        chosen = np.sort(chosen[order[: config.n_voxels]])
    index = np.unravel_index(peak, z.shape)
    x, y, z_mm = apply_affine(image.affine, np.array(index)).tolist()
    affine = np.asarray(image.affine, dtype=np.float64)
    return Localized(z.shape, affine, chosen, float(z.flat[peak]), (x, y, z_mm), runs)


@dataclass(frozen=True, slots=True)
class Regions:
    """A localizer's region for every run, which is found in others than that run.

    Attributes
    ----------
    by_group : dict of str to Localized
        By subject, found in all of the subject's training runs; by `""` where it is one
        region for all.
    by_run : dict of str to Localized
        By those training runs themselves, each found in the group's others; where there is
        none, in that run itself.
    within : str
    """

    by_group: dict[str, Localized]
    by_run: dict[str, Localized]
    within: str

    def of(self, run: BoldRun, name: str) -> Localized:
        """Return the region for a run.

        Raises
        ------
        DatasetError
            If no training run of its subject says where it is.
        """
        group = run.subject if self.within == "subject" else ""
        found = self.by_run.get(run.name) or self.by_group.get(group)
        if found is None:
            raise DatasetError(
                f"Nothing says where '{name}' is in subject {run.subject}, of {run.name}",
                found=f"The localizer was fitted on subjects {', '.join(self.by_group)}",
                do="Hold out runs and not subjects, set reserved for runs of every subject that"
                " say where it is, or localize within 'all', in one space",
            )
        return found


def find_regions(
    maps: Sequence[ContrastMap], config: LocalizerConfig, root: Path, name: str
) -> Regions:
    """Return a localizer's region for every run, out of the training runs' maps."""
    groups: dict[str, list[ContrastMap]] = {}
    for each in maps:
        key = each.run.subject if config.within == "subject" else ""
        groups.setdefault(key, []).append(each)
    if not groups:
        raise DatasetError(
            f"No training run goes for the localizer of '{name}'",
            do=f"Name training runs, or their tasks, whose events have '{config.contrast}'",
        )
    by_group = {key: localize(group, config, root, name) for key, group in groups.items()}
    by_run: dict[str, Localized] = {}
    for key, group in groups.items():
        for left_out in group:
            others = [each for each in group if each is not left_out]
            found = localize(others, config, root, name) if others else by_group[key]
            by_run[left_out.run.name] = found
    return Regions(by_group, by_run, config.within)
