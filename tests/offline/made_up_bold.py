"""Made-up BOLD on disk: small images with a planted response, events and confounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from offline.bold import BoldRun
from rtfeedback.signals import Bool, Float64

SHAPE, TR, N_VOLUMES = (9, 10, 8), 2.0, 80
AFFINE = np.array([[4.0, 0, 0, -16], [0, 4.0, 0, -18], [0, 0, 4.0, -14], [0, 0, 0, 1]])
BLOCK = 20.0  # s of rest, then of task, and so on
PLANTED = (slice(1, 4), slice(6, 9), slice(2, 5))  # where the task is answered


def planted() -> Bool:
    """Return the voxels that answer the task."""
    voxels = np.zeros(SHAPE, dtype=np.bool_)
    voxels[PLANTED] = True
    return voxels


def answer(n_volumes: int = N_VOLUMES) -> Float64:
    """Return the task as BOLD would follow it, roughly: 6 s late, between 0 and 1."""
    times = np.arange(n_volumes) * TR - 5.0
    return np.asarray((times % (2 * BLOCK) >= BLOCK) & (times > 0), dtype=np.float64)


def scan(
    folder: Path,
    name: str,
    *,
    seed: int = 0,
    subject: str = "01",
    task: str = "mi",
    response: float = 20.0,
    n_volumes: int = N_VOLUMES,
    gain: float = 1.0,
    jumps: tuple[int, ...] = (),
) -> BoldRun:
    """Write a run and return it.

    Parameters
    ----------
    folder : Path
    name : str
    seed, subject, task
    response : float
        Of the planted voxels to the task, where the mean is about 1000 and the noise's sd 8.
    n_volumes : int
    gain : float
        Of the whole image.
    jumps : tuple of int
        Volumes at which the head moves by 1 mm and the image by as much as 60.
    """
    rng = np.random.default_rng(seed)
    volumes = 1000 + rng.normal(0, 8, (*SHAPE, n_volumes)) + 20 * rng.random((*SHAPE, 1))
    volumes[planted()] += response * answer(n_volumes)
    parameters = rng.normal(0, 0.01, (n_volumes, 6)) * [1, 1, 1, 0.01, 0.01, 0.01]
    for volume in jumps:
        parameters[volume:, 0] += 1.0
        volumes[..., volume] += 60.0
    image = folder / f"{name}_bold.nii.gz"
    nibabel.save(nibabel.Nifti1Image((gain * volumes).astype(np.float32), AFFINE), image)
    return BoldRun(
        name=name,
        subject=subject,
        task=task,
        tr=TR,
        image=image,
        events=_events(folder / f"{name}_events.tsv", n_volumes),
        confounds=_confounds(folder / f"{name}_confounds.tsv", parameters, rng),
    )


def values(run: BoldRun) -> Any:
    """Return a run's voxels, float64, shape (x, y, z, n_volumes)."""
    return np.asarray(nibabel.load(run.image).get_fdata(), dtype=np.float64)


def mask(folder: Path, voxels: Bool, name: str = "mask.nii.gz") -> Path:
    """Write voxels as a mask."""
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.uint8), AFFINE), folder / name)
    return folder / name


def _events(path: Path, n_volumes: int) -> Path:
    rows = ["onset\tduration\ttrial_type"]
    for block in range(int(n_volumes * TR / BLOCK)):
        rows.append(f"{block * BLOCK}\t{BLOCK}\t{('Rest', 'Task-MI')[block % 2]}")
    path.write_text("\n".join(rows) + "\n")
    return path


def _confounds(path: Path, parameters: Float64, rng: np.random.Generator) -> Path:
    names = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z", "global_signal"]
    names += ["a_comp_cor_00", "a_comp_cor_01", "trans_x_derivative1"]
    extra = rng.normal(0, 1, (len(parameters), 3))
    change = np.diff(parameters[:, 0], prepend=np.nan)
    table = np.column_stack([parameters, extra, change])
    rows = ["\t".join("n/a" if np.isnan(x) else repr(float(x)) for x in row) for row in table]
    path.write_text("\t".join(names) + "\n" + "\n".join(rows) + "\n")
    return path
