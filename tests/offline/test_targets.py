from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from offline.bold import ROIConfig, read_bold
from offline.bold.cleaning import without_drift
from offline.bold.rois import raw_course, roi_voxels
from offline.bold.scaling import percent_signal_change
from offline.store.dataset import Store
from rtfeedback.config import parse_config
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.signals import Bool, Float64

RUN = "sub-01_task-motorimagery_run-0{}"
DERIVED = "derivatives/simulated"


@pytest.fixture(scope="module")
def image(bids: Path) -> Any:
    return read_bold(bids / "sub-01/func" / f"{RUN.format(1)}_bold.nii.gz")


def plain_mean(image: Any, voxels: Bool) -> Float64:
    """Average in the simplest way there is."""
    volumes = np.asarray(image.dataobj, dtype=np.float64)
    return np.array([volumes[..., k][voxels].mean() for k in range(volumes.shape[3])])


def labels(path: Path) -> Any:
    return np.asarray(nibabel.load(path).dataobj)


def course(image: Any, voxels: Bool) -> Float64:
    return without_drift(percent_signal_change(raw_course(voxels, image), "x"), 2.0, 128.0)


def test_a_masks_course_is_the_plain_mean_over_it(bids: Path, image: Any) -> None:
    roi = ROIConfig(mask=Path(DERIVED, "motor_mask.nii.gz"))
    voxels = roi_voxels(roi, image, bids)
    inside = labels(bids / DERIVED / "motor_mask.nii.gz") > 0
    assert np.array_equal(voxels, inside)
    expected = without_drift(percent_signal_change(plain_mean(image, inside), "x"), 2.0, 128.0)
    assert np.allclose(course(image, voxels), expected, atol=1e-4)
    assert np.std(expected) > 0.1


@pytest.mark.parametrize("label", [1, 2, 3])
def test_an_atlas_course_is_the_plain_mean_over_its_label(
    bids: Path, image: Any, label: int
) -> None:
    atlas = bids / DERIVED / "atlas.nii.gz"
    voxels = roi_voxels(ROIConfig(atlas=atlas, label=label), image, Path("elsewhere"))
    assert np.array_equal(voxels, labels(atlas) == label)
    expected = without_drift(
        percent_signal_change(plain_mean(image, labels(atlas) == label), "x"), 2.0, 128.0
    )
    assert np.allclose(course(image, voxels), expected, atol=1e-4)


def test_spheres_are_the_voxels_within_their_radius(bids: Path, image: Any) -> None:
    roi = ROIConfig(radius=9.0)
    voxels = roi_voxels(roi, image, bids)
    for index in np.ndindex(voxels.shape):
        x, y, z, _ = image.affine @ (*index, 1.0)
        near = any(np.hypot(np.hypot(x - a, y - b), z - c) <= 9.0 for a, b, c in roi.spheres)
        assert voxels[index] == near
    expected = without_drift(percent_signal_change(plain_mean(image, voxels), "x"), 2.0, 128.0)
    assert np.allclose(course(image, voxels), expected, atol=1e-4)


def test_the_store_holds_these_courses(bids: Path, store: Store) -> None:
    run = store.runs[RUN.format(2)]
    image = read_bold(bids / "sub-01/func" / f"{run.name}_bold.nii.gz")
    voxels = roi_voxels(ROIConfig(mask=Path(DERIVED, "motor_mask.nii.gz")), image, bids)
    assert np.array_equal(run.targets[:, 0], course(image, voxels))
    spheres = roi_voxels(ROIConfig(radius=12.0), image, bids)
    assert np.array_equal(run.targets[:, 1], course(image, spheres))


def test_a_region_on_another_grid_is_laid_on_the_images(tmp_path: Path, image: Any) -> None:
    fine = np.zeros((40, 40, 40), np.uint8)
    fine[10:30, 10:30, 10:30] = 1
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = image.affine[:3, :3] @ (10, 12, 14) + image.affine[:3, 3]
    nibabel.save(nibabel.Nifti1Image(fine, affine), tmp_path / "fine.nii.gz")
    voxels = roi_voxels(ROIConfig(mask=Path("fine.nii.gz")), image, tmp_path)
    for index in np.argwhere(voxels):
        millimetres = image.affine @ (*index, 1.0)
        at = np.linalg.inv(affine) @ millimetres
        assert np.all(at[:3] > 8.9)
        assert np.all(at[:3] < 30.1)
    assert voxels.sum() == 10**3  # 20 voxels of 2 mm are 10 of 4 mm


def test_a_region_outside_the_image_is_refused(tmp_path: Path, bids: Path, image: Any) -> None:
    nibabel.save(
        nibabel.Nifti1Image(np.zeros(image.shape[:3], np.uint8), image.affine),
        tmp_path / "empty.nii.gz",
    )
    outside = [
        ROIConfig(name="far", spheres=((900.0, 0.0, 0.0),)),
        ROIConfig(name="far", mask=tmp_path / "empty.nii.gz"),
        ROIConfig(name="far", atlas=bids / DERIVED / "atlas.nii.gz", label=99),
    ]
    for roi in outside:
        with pytest.raises(DatasetError, match=r"region 'far' \(.+\) has no voxel"):
            roi_voxels(roi, image, bids)


def test_a_regions_file_that_cannot_be_read_is_named(
    tmp_path: Path, bids: Path, image: Any
) -> None:
    whole = (bids / DERIVED / "atlas.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.nii.gz").write_text("no image")
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3, 2)), np.eye(4)), tmp_path / "4d.nii.gz")
    for name in ("none.nii.gz", "cut.nii.gz", "text.nii.gz", "4d.nii.gz"):
        with pytest.raises(DatasetError, match=rf"region file .+{name} cannot be read"):
            roi_voxels(ROIConfig(mask=Path(name)), image, tmp_path)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"mask": "a.nii", "atlas": "b.nii", "label": 1}, "not both"),
        ({"atlas": "b.nii"}, "go together"),
        ({"label": 1}, "go together"),
        ({"radius": 0}, "radius"),
        ({"name": ""}, "name"),
        ({"spheres": []}, "spheres"),
        ({"spheres": [[1, 2]]}, "spheres"),
        (
            {"mask": "a.nii", "difference": ["a", "b"]},
            "defined once, not by mask and difference",
        ),
        ({"radius": 9, "localizer": {"contrast": "a"}}, "defined once"),
        ({"name": "a", "difference": ["a", "b"]}, "from itself"),
    ],
)
def test_a_region_that_is_not_one_is_refused(values: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        parse_config(values, ROIConfig, source="x")


@pytest.mark.parametrize(
    ("roi", "definition"),
    [
        (ROIConfig(mask=Path("a/b.nii")), "mask b.nii"),
        (ROIConfig(atlas=Path("a.nii"), label=3), "label 3 of a.nii"),
        (ROIConfig(spheres=((1, 2, 3.5),), radius=4), "spheres of 4 mm at 1, 2, 3.5"),
    ],
)
def test_a_region_says_where_it_comes_from(roi: ROIConfig, definition: str) -> None:
    assert roi.definition == definition
