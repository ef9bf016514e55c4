"""Runs of BOLD to targets: fitted once on the training part, then run by run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from offline.bold.courses import TargetSpec, raw_courses, regions_in, target_courses
from offline.bold.fitting import (
    Fitted,
    Parts,
    fit_localizers,
    fit_low_rank,
    fit_medians,
    fit_space,
    fit_targets,
    fit_voxels,
    scaled_rows,
)
from offline.bold.quality import run_quality
from offline.bold.rois import ROIConfig
from offline.bold.run_targets import RunTargets, TargetInfo, VolumeInfo
from offline.bold.runs import BoldRun, OpenRun, open_run
from offline.bold.scaling import UNITS
from offline.bold.settings import NOT_DONE, BoldConfig
from offline.bold.volume_regions import volume_regions
from offline.bold.volumes import VolumesConfig
from rtfeedback.errors import DatasetError
from rtfeedback.models.volume import VolumeSpec
from rtfeedback.signals import Bool, Float32, Float64

VOLUMES = "volumes"


class TargetMaker:
    """What makes targets of runs.

    Whatever is fitted is fitted on the training part; a run's own mean or median, which
    its courses are a share of, defines their unit and is no fit. It can be pickled.

    Parameters
    ----------
    targets : sequence of ROIConfig
    bold : BoldConfig
    volumes : VolumesConfig, optional
    root : Path
        The dataset's folder, from which masks are named.
    slice_ref : float
        Where in a volume its value stands, in TR.

    Raises
    ------
    ConfigError
        If targets do not go together.
    """

    def __init__(
        self,
        targets: Sequence[ROIConfig],
        bold: BoldConfig | None = None,
        volumes: VolumesConfig | None = None,
        root: Path = Path(),
        *,
        slice_ref: float = 0.5,
    ) -> None:
        self.spec = TargetSpec(tuple(targets), bold or BoldConfig(), volumes, root, slice_ref)
        self.fitted = Fitted()

    @property
    def takes_fitting(self) -> bool:
        """Whether anything is fitted, so that `fit` reads the training runs."""
        localized = any(roi.localizer for roi in self.spec.rois)
        scaled = self.spec.bold.scaling in ("zscore", "time_course")
        return localized or scaled or self.spec.volumes is not None

    def fit(
        self,
        runs: Mapping[str, BoldRun],
        *,
        parts: Parts | None = None,
        localizers: Mapping[str, BoldRun] | None = None,
    ) -> TargetMaker:
        """Fit what is to be fitted on the training part, and return self.

        Images are read one at a time, once for each thing that is fitted.

        Parameters
        ----------
        runs : mapping of str to BoldRun
            The training part.
        parts : mapping of str to bool, shape (n_volumes,), optional
            Which volumes of a run are in it, where not all are.
        localizers : mapping of str to BoldRun, optional
            More runs for localizers alone: of no window, and so in no part.

        Raises
        ------
        DatasetError
            If a run is broken, or something cannot be fitted.
        """
        spec, training, within = self.spec, list(runs.values()), parts or {}
        more = [run for name, run in (localizers or {}).items() if name not in runs]
        fitted = Fitted(runs=tuple(runs))
        if not self.takes_fitting:
            self.fitted = fitted
            return self
        fitted = replace(fitted, regions=fit_localizers(spec, [*training, *more], within))
        if spec.volumes:
            fitted = replace(fitted, space=fit_space(spec, spec.volumes, training))
        if spec.bold.scaling == "time_course" and not spec.bold.causal:
            regions, median = fit_medians(spec, fitted, training, within)
            fitted = replace(fitted, medians=regions, median_volumes=median)
        if spec.bold.scaling == "zscore":
            fitted = replace(fitted, targets=fit_targets(spec, fitted, training, within))
            if spec.volumes:
                fitted = replace(fitted, voxels=fit_voxels(spec, fitted, training, within))
        if spec.volumes and spec.volumes.components:
            n = spec.volumes.components
            low_rank = fit_low_rank(spec, fitted, training, within, n)
            fitted = replace(fitted, low_rank=low_rank)
        self.fitted = fitted
        return self

    def check(self, runs: Iterable[BoldRun]) -> None:
        """Refuse runs that nothing says of where a region is.

        That is the split's fault and no run's, which would be left out as if broken.

        Raises
        ------
        DatasetError
        """
        for run, (name, regions) in product(runs, self.fitted.regions.items()):
            regions.of(run, name)

    @property
    def targets(self) -> tuple[TargetInfo, ...]:
        """What the targets are, in their order: regions, then components."""
        unit, causal = UNITS[self.spec.bold.scaling], self.spec.bold.causal
        regions = [TargetInfo(r.name, unit, r.definition, causal) for r in self.spec.rois]
        low_rank, space = self.fitted.low_rank, self.fitted.space
        if low_rank is None or space is None:
            return tuple(regions)
        n = len(low_rank.basis)
        return (
            *regions,
            *(
                TargetInfo(
                    name=f"component {i}",
                    unit=f"{unit}, along a unit vector of {space.n_voxels} voxels",
                    definition=f"principal component {i} of {n} of the training part's volumes"
                    f" ({100 * share:.1f} % of their variance; {space.definition})",
                    causal=causal,
                )
                for i, share in enumerate(low_rank.explained, start=1)
            ),
        )

    @property
    def volume(self) -> VolumeInfo | None:
        """What whole volumes are; None where the runs' files hold none."""
        space, config = self.fitted.space, self.spec.volumes
        if space is None or config is None or not config.whole:
            return None
        return VolumeInfo(
            spec=VolumeSpec(
                grid=space.mask.shape,
                affine=tuple(map(tuple, space.affine.tolist())),
                n_voxels=space.n_voxels,
                unit=UNITS[self.spec.bold.scaling],
                definition=space.definition,
            ),
            regions=tuple(volume_regions(self.spec, space)),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of all runs' targets, a sentence each."""
        done = self.spec.bold.done
        return (f"{NOT_DONE}{f'; done before: {done}' if done else ''}.",)

    @property
    def arrays(self) -> dict[str, Float32 | Float64 | Bool]:
        """What goes for all runs: volumes' mask, affine and regions, and components' basis."""
        space, low_rank = self.fitted.space, self.fitted.low_rank
        found: dict[str, Float32 | Float64 | Bool] = {}
        if space:
            found |= {"volumes_mask": space.mask, "volumes_affine": space.affine}
            if weights := volume_regions(self.spec, space):
                found["volumes_regions"] = np.stack(list(weights.values()))
        if low_rank:
            found["components_basis"] = low_rank.basis
            found["components_mean"] = low_rank.mean
            found["components_explained"] = low_rank.explained
        return found

    def of_run(self, run: BoldRun, folder: Path | None = None) -> RunTargets:
        """Return a run's targets.

        Parameters
        ----------
        run : BoldRun
        folder : Path, optional
            Where to write whole volumes as `volumes.npy`, a memory map that takes no memory;
            they are among `arrays` without.

        Raises
        ------
        DatasetError
            If the run is broken, a region is not in it, or what it takes was not fitted.
        """
        if self.takes_fitting and not self.fitted.runs:
            raise DatasetError(
                f"The targets of {run.name} take what is fitted on the training part",
                do="Fit the targets first, on one training run at the least",
            )
        opened = open_run(run, self.spec.bold)
        regions = regions_in(self.spec, self.fitted.regions, opened)
        raw = raw_courses(self.spec, regions, opened)
        courses = target_courses(self.spec, raw, opened, self.fitted.medians.get(run.subject))
        if self.fitted.targets:
            mean, sd = self.fitted.targets
            courses = (courses - mean) / sd
        components, arrays, files, silent = self._volumes(opened, folder)
        if components is not None:
            courses = np.concatenate([courses, components], axis=1)
        return RunTargets(
            name=run.name,
            targets=self.targets,
            courses=courses,
            arrays=_known(opened) | arrays,
            files=files,
            quality=None if opened.image is None else run_quality(opened, regions),
            notes=(*self._notes(opened), *silent),
        )

    def _volumes(
        self, opened: OpenRun, folder: Path | None
    ) -> tuple[Float64 | None, dict[str, Float32 | Float64], tuple[Path, ...], list[str]]:
        """Return components' courses, and whole volumes or where they lie, and a note."""
        config, space, notes = self.spec.volumes, self.fitted.space, list[str]()
        if config is None or space is None:
            return None, {}, (), notes
        path = folder / f"{VOLUMES}.npy" if folder and config.whole else None
        rows, silent = scaled_rows(self.fitted, opened, path)
        if silent:
            notes = [f"{silent} of {space.n_voxels} voxels have no signal here, and are 0."]
        low_rank = self.fitted.low_rank
        components = low_rank.courses(rows) if low_rank else None
        held = {VOLUMES: rows} if config.whole and path is None else {}
        return components, dict(held), (path,) if path else (), notes

    def _notes(self, opened: OpenRun) -> list[str]:
        run, notes = opened.run, list[str]()
        scrubbed = int((~opened.kept).sum())
        if scrubbed:
            notes.append(
                f"{scrubbed} of {opened.n_volumes} volumes are scrubbed for head motion."
            )
        if opened.in_scanner_space:
            placed = [f"'{roi.name}'" for roi in self.spec.plain if roi.by_millimetres]
            if placed:
                notes.append(
                    f"The image says that it is in the scanner's space: {', '.join(placed)} is"
                    " where its millimetres are there, and not in MNI's."
                )
        for name, regions in self.fitted.regions.items():
            found = regions.of(run, name)
            x, y, z = found.at
            own = ", itself: it is for training, and no other such run has the contrast"
            notes.append(
                f"'{name}': {len(found.voxels)} voxels, peak z {found.peak:.1f} at"
                f" ({x:.0f}, {y:.0f}, {z:.0f}) mm, found in {', '.join(found.runs)}"
                f"{own if run.name in found.runs else ''}."
            )
        scaling, causal = self.spec.bold.scaling, self.spec.bold.causal
        if causal:
            notes.append("Targets are causal: each comes of the run so far.")
        elif scaling == "time_course" and run.subject not in self.fitted.medians:
            notes.append(
                f"No training run is of subject {run.subject}: this run's own median scales"
                " its targets."
            )
        return notes


def _known(opened: OpenRun) -> dict[str, Float32 | Float64]:
    """Return what of the confounds goes along for the evaluation."""
    found: dict[str, Float32 | Float64] = {}
    if opened.motion is not None:
        found["motion"] = opened.motion
    if "global_signal" in opened.table:
        found["global_signal"] = opened.table["global_signal"]
    return found
