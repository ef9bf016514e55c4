"""A contrast of a task's conditions: nilearn's GLM run by run, and fixed effects over runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nilearn.glm.contrasts import compute_fixed_effects
from nilearn.glm.first_level import FirstLevelModel
from nilearn.maskers import NiftiMasker

from offline.bold.images import brain_mask, on_grid
from offline.bold.runs import BoldRun, OpenRun
from offline.design import Event, conditions
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float32, Float64


@dataclass(frozen=True, slots=True)
class ContrastMap:
    """What one run says of a contrast.

    Attributes
    ----------
    run : BoldRun
    effect, variance : float32, shape (x, y, z)
        In per cent of each voxel's mean; a variance of 0 is outside of the brain.
    affine : float64, shape (4, 4)
    dof : int
    """

    run: BoldRun
    effect: Float32
    variance: Float32
    affine: Float64
    dof: int


def contrast_map(
    opened: OpenRun,
    events: Sequence[Event],
    weights: Mapping[str, float],
    *,
    slice_ref: float,
    part: Bool | None = None,
) -> ContrastMap:
    """Fit a GLM to one run, and return a contrast of it.

    SPM's response, cosine drift, AR(1) noise, and the run's confounds and scrubbing as for
    its targets (nilearn's `FirstLevelModel`).

    Parameters
    ----------
    opened : OpenRun
    events : sequence of Event
    weights : mapping of str to float
        Of the conditions, in the contrast.
    slice_ref : float
        Where in a volume its value stands, in TR.
    part : bool, shape (n_volumes,), optional
        The volumes of the training part, where it is not the whole run.
    """
    names = conditions(events)
    code = {name: f"condition_{index}" for index, name in enumerate(names)}
    rows = [(e.onset, e.duration, code[e.trial_type]) for e in events if e.trial_type in code]
    cleaner, brain = opened.scaler.cleaner, brain_mask(opened.image)
    used = opened.kept if part is None else opened.kept & part
    model = FirstLevelModel(
        t_r=opened.run.tr,
        slice_time_ref=slice_ref,
        hrf_model="spm",
        drift_model="cosine" if cleaner.high_pass else "polynomial",
        high_pass=1 / cleaner.high_pass if cleaner.high_pass else 0.01,
        mask_img=NiftiMasker(_image(brain, opened.image.affine), standardize=None).fit(),
        reports=False,
    )
    confounds = cleaner.regressors
    model.fit(
        opened.image,
        events=pd.DataFrame(rows, columns=["onset", "duration", "trial_type"]),
        confounds=None if confounds is None else pd.DataFrame(confounds).add_prefix("c"),
        sample_masks=None if used.all() else np.flatnonzero(used),
    )
    design = model.design_matrices_[0]
    coded = {code[name]: weight for name, weight in weights.items()}
    vector = np.array([coded.get(column, 0.0) for column in design.columns])
    found = model.compute_contrast(vector, output_type="all")
    return ContrastMap(
        run=opened.run,
        effect=_values(found["effect_size"]),
        variance=_values(found["effect_variance"]),
        affine=np.asarray(opened.image.affine, dtype=np.float64),
        dof=max(1, len(design) - int(np.linalg.matrix_rank(design.to_numpy()))),
    )


def z_map(maps: Sequence[ContrastMap]) -> Any:
    """Return the z of a contrast over runs, fixed effects weighted by precision, as an image.

    Maps of other grids are laid on the first one's; voxels that one lacks are 0.
    """
    affine, shape = maps[0].affine, maps[0].effect.shape
    effects = [on_grid(nib.Nifti1Image(m.effect, m.affine), affine, shape) for m in maps]
    variances = [on_grid(nib.Nifti1Image(m.variance, m.affine), affine, shape) for m in maps]
    inside = np.all([_values(variance) > 0 for variance in variances], axis=0)
    if not inside.any():
        raise DatasetError(
            "The runs of a localizer share no voxel",
            found=", ".join(m.run.name for m in maps),
            do="Localize within the subject, or give images that are in one space",
        )
    mask = _image(inside, affine)
    *_, z = compute_fixed_effects(
        effects, variances, mask, precision_weighted=True, dofs=[m.dof for m in maps]
    )
    return z


def _image(mask: Bool, affine: Float64) -> Any:
    return nib.Nifti1Image(mask.astype(np.int8), affine)


def _values(image: Any) -> Float32:
    return np.asarray(image.get_fdata(dtype=np.float32))
