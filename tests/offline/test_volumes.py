from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from offline.bold import BoldConfig, BoldRun, ROIConfig, TargetMaker, VolumesConfig
from offline.bold.components import fit_components
from offline.bold.fitting import scaled_rows
from offline.bold.runs import open_run
from offline.bold.settings import Scaling
from rtfeedback.config import parse_config
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.signals import Float64
from tests.offline.made_up_bold import AFFINE, SHAPE, answer, mask, planted, scan, values

ROI = (ROIConfig(radius=80.0),)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BoldRun]:
    folder = tmp_path_factory.mktemp("scans")
    made = [scan(folder, name, seed=i) for i, name in enumerate("abc")]
    made.append(scan(folder, "d", seed=7, subject="02"))
    mask(folder, planted())
    return {run.name: run for run in made}


def fitted(
    runs: dict[str, BoldRun], volumes: VolumesConfig, bold: BoldConfig | None = None
) -> TargetMaker:
    folder = (runs["a"].image or Path()).parent
    maker = TargetMaker(ROI, bold, volumes, folder)
    return maker.fit({name: runs[name] for name in "ab"})


def percent(run: BoldRun) -> Float64:
    """Return the planted voxels in per cent of their mean, shape (n_volumes, n_voxels)."""
    x = values(run)[planted()].T
    return np.asarray(100 * (x / x.mean(axis=0) - 1))


PLANTED_ONLY = VolumesConfig(mask=Path("mask.nii.gz"))


def test_whole_volumes_are_the_masks_voxels_in_order(runs: dict[str, BoldRun]) -> None:
    maker = fitted(runs, PLANTED_ONLY, BoldConfig(high_pass=0))
    rows = maker.of_run(runs["c"]).arrays["volumes"]
    assert rows.dtype == np.float32
    assert np.allclose(rows, percent(runs["c"]), atol=1e-4)
    assert np.array_equal(maker.arrays["volumes_mask"], planted())
    assert np.array_equal(maker.arrays["volumes_affine"], AFFINE)
    space = maker.fitted.space
    assert space
    assert np.allclose(space.image(rows.astype(np.float32)).get_fdata()[planted()].T, rows)


def test_a_region_of_volumes_is_the_regions_course(runs: dict[str, BoldRun]) -> None:
    """Voxel by voxel or as a mean: cleaned by the same regression."""
    roi = ROIConfig(mask=Path("mask.nii.gz"))
    bold = BoldConfig(scaling="none", confounds=("motion6",), scrub=0.6)
    root = (runs["a"].image or Path()).parent
    maker = TargetMaker([roi], bold, PLANTED_ONLY, root).fit({"a": runs["a"]})
    found = maker.of_run(runs["c"])
    means = found.arrays["volumes"].mean(axis=1)
    assert np.allclose(means, found.courses[:, 0], atol=1e-3, equal_nan=True)


@pytest.mark.parametrize("shape", [(5, 6, 4), (18, 20, 16)])
def test_volumes_come_in_the_shape_that_is_asked_for(
    runs: dict[str, BoldRun], shape: tuple[int, int, int]
) -> None:
    maker = fitted(runs, VolumesConfig(grid=shape))
    taken = maker.arrays["volumes_mask"]
    assert taken.shape == shape
    assert maker.of_run(runs["c"]).arrays["volumes"].shape == (80, taken.sum())
    coarse = fitted(runs, VolumesConfig(grid=8.0)).arrays["volumes_mask"]
    assert coarse.shape == (5, 5, 4)


def test_runs_of_another_grid_are_laid_on_the_first_ones(
    runs: dict[str, BoldRun], tmp_path: Path
) -> None:
    maker = fitted(runs, PLANTED_ONLY, BoldConfig(high_pass=0))
    image = nibabel.load(runs["c"].image)
    moved = AFFINE.copy()
    moved[:3, 3] -= (4.0, 0.0, 0.0)  # one voxel more at the left
    volumes = np.pad(image.get_fdata(dtype=np.float32), ((1, 0), (0, 0), (0, 0), (0, 0)))
    nibabel.save(nibabel.Nifti1Image(volumes, moved), tmp_path / "c.nii.gz")
    found = maker.of_run(replace(runs["c"], image=tmp_path / "c.nii.gz"))
    assert np.allclose(found.arrays["volumes"], percent(runs["c"]), atol=1e-3)


def test_volumes_are_written_where_they_are_asked_for(
    runs: dict[str, BoldRun], tmp_path: Path
) -> None:
    planted_two = PLANTED_ONLY.model_copy(update={"components": 2})
    maker = fitted(runs, planted_two)
    held, written = maker.of_run(runs["c"]), maker.of_run(runs["c"], tmp_path)
    assert written.files == (tmp_path / "volumes.npy",)
    assert "volumes" not in written.arrays
    found = np.load(tmp_path / "volumes.npy", mmap_mode="r")
    assert np.array_equal(found, held.arrays["volumes"])
    assert np.array_equal(written.courses, held.courses)
    thrifty = fitted(runs, planted_two.model_copy(update={"whole": False}))
    lean = thrifty.of_run(runs["c"], tmp_path)
    assert lean.files == ()
    assert "volumes" not in lean.arrays
    assert np.array_equal(lean.courses, held.courses)


def test_components_are_those_of_the_training_part(runs: dict[str, BoldRun]) -> None:
    bold = BoldConfig(high_pass=0)
    maker = fitted(runs, PLANTED_ONLY.model_copy(update={"components": 3}), bold)
    training = np.concatenate([percent(runs[name]) for name in "ab"])
    mean = training.mean(axis=0)
    _, singular, basis = np.linalg.svd(training - mean, full_matrices=False)
    found = maker.of_run(runs["c"])
    courses = found.courses[:, len(ROI) :]
    expected = (percent(runs["c"]) - mean) @ basis[0]
    assert abs(np.corrcoef(courses[:, 0], expected)[0, 1]) > 0.999
    low_rank = maker.fitted.low_rank
    assert low_rank
    largest = singular[0] ** 2 / (singular**2).sum()
    assert low_rank.explained[0] == pytest.approx(largest, rel=0.01)
    assert np.allclose(low_rank.basis @ low_rank.basis.T, np.eye(3), atol=1e-5)
    assert abs(np.corrcoef(courses[:, 0], answer())[0, 1]) > 0.8
    assert [t.name for t in found.targets] == [
        "motor",
        "component 1",
        "component 2",
        "component 3",
    ]
    assert "component 1 of 3 of the training part's volumes" in found.targets[1].definition


def test_components_and_courses_are_the_volumes_again() -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(50, 3)))[0].T
    runs = [(rng.normal(size=(n, 3)) @ basis + 5).astype(np.float32) for n in (30, 2, 20, 1)]
    low_rank = fit_components(runs, 3)
    assert low_rank.explained.sum() == pytest.approx(1.0)
    for run in runs:
        assert np.allclose(low_rank.volumes(low_rank.courses(run)), run, atol=1e-4)
    gone = runs[0].copy()
    gone[4] = np.nan
    assert np.isnan(low_rank.courses(gone)[4]).all()
    assert np.isfinite(np.delete(low_rank.courses(gone), 4, axis=0)).all()
    with pytest.raises(DatasetError, match=r"54 components take as many.+has 53"):
        fit_components(runs, 54)


def test_the_median_volume_is_the_subjects(runs: dict[str, BoldRun]) -> None:
    bold = BoldConfig(scaling="time_course", high_pass=0)
    maker = fitted(runs, PLANTED_ONLY, bold)
    x = {name: values(run)[planted()].T for name, run in runs.items()}
    median = np.median(np.concatenate([x["a"], x["b"]]), axis=0)
    rows = maker.of_run(runs["c"]).arrays["volumes"]
    assert np.allclose(rows, x["c"] / median - 1, atol=1e-5)
    alone = maker.of_run(runs["d"]).arrays["volumes"]
    assert np.allclose(alone, x["d"] / np.median(x["d"], axis=0) - 1, atol=1e-5)


def test_a_z_scored_voxel_has_the_training_parts_mean_and_sd(runs: dict[str, BoldRun]) -> None:
    maker = fitted(runs, PLANTED_ONLY, BoldConfig(scaling="zscore"))
    rows = [maker.of_run(runs[name]).arrays["volumes"] for name in "ab"]
    joined = np.concatenate(rows).astype(np.float64)
    assert np.abs(joined.mean(axis=0)).max() < 1e-4
    assert np.allclose(joined.std(axis=0), 1.0, atol=1e-4)


@pytest.mark.parametrize("scaling", ["percent", "time_course"])
def test_causal_volumes_are_those_of_the_run_so_far(
    runs: dict[str, BoldRun], scaling: Scaling
) -> None:
    bold = BoldConfig(scaling=scaling, causal=True)
    maker = fitted(runs, PLANTED_ONLY, bold)
    opened = open_run(runs["c"], bold)
    rows, _ = scaled_rows(maker.fitted, opened)
    voxels = values(runs["c"])[planted()]
    for voxel in (0, 7):
        course = opened.scaler(voxels[voxel][:, None])[:, 0]
        assert np.allclose(rows[:, voxel], course, atol=1e-4, equal_nan=True)


def test_a_voxel_without_signal_is_zero_and_told(
    runs: dict[str, BoldRun], tmp_path: Path
) -> None:
    maker = fitted(runs, PLANTED_ONLY.model_copy(update={"components": 1}))
    image = nibabel.load(runs["c"].image)
    volumes = image.get_fdata(dtype=np.float32).copy()
    volumes[1, 6, 2] = 0.0
    path = tmp_path / "c.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volumes, AFFINE), path)
    found = maker.of_run(replace(runs["c"], image=path))
    assert not found.arrays["volumes"][:, 0].any()
    assert np.isfinite(found.courses).all()
    assert found.notes == ("1 of 27 voxels have no signal here, and are 0.",)
    volumes[:3] = 0.0
    nibabel.save(nibabel.Nifti1Image(volumes, AFFINE), path)
    with pytest.raises(DatasetError, match="18 of 27 voxels of the volumes' mask"):
        maker.of_run(replace(runs["c"], image=path))


def test_scrubbed_volumes_are_nan_in_every_target(tmp_path: Path) -> None:
    runs = {name: scan(tmp_path, name, seed=i, jumps=(9, 30)) for i, name in enumerate("ab")}
    config = VolumesConfig(components=2)
    maker = TargetMaker(ROI, BoldConfig(scrub=0.5), config).fit({"a": runs["a"]})
    found = maker.of_run(runs["b"])
    gone = np.isin(np.arange(80), (9, 30))
    assert np.array_equal(np.isnan(found.courses).all(axis=1), gone)
    assert np.array_equal(np.isnan(found.arrays["volumes"]).any(axis=1), gone)


def test_a_run_of_courses_alone_has_no_volumes(
    runs: dict[str, BoldRun], tmp_path: Path
) -> None:
    table = tmp_path / "c.tsv"
    table.write_text("motor\n" + "\n".join(str(900 + i % 7) for i in range(40)) + "\n")
    run = BoldRun("x", "01", "mi", 2.0, image=None, course=table)
    with pytest.raises(DatasetError, match="x has no BOLD image to take whole volumes of"):
        fitted(runs, PLANTED_ONLY).of_run(run)


def test_the_mask_by_default_is_brain_in_every_training_run(
    runs: dict[str, BoldRun], tmp_path: Path
) -> None:
    image = nibabel.load(runs["b"].image)
    volumes = image.get_fdata(dtype=np.float32).copy()
    volumes[:2] = 0.0
    nibabel.save(nibabel.Nifti1Image(volumes, AFFINE), tmp_path / "b.nii.gz")
    training = {"a": runs["a"], "b": replace(runs["b"], image=tmp_path / "b.nii.gz")}
    taken = TargetMaker(ROI, None, VolumesConfig()).fit(training).arrays["volumes_mask"]
    assert taken.shape == SHAPE
    assert not taken[:2].any()
    assert taken[2:].any()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"whole": False}, "for 'components'"),
        ({"grid": [0, 3, 3]}, "shape of three numbers"),
        ({"components": 0}, "components"),
    ],
)
def test_volumes_that_are_none_are_refused(settings: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        parse_config(settings, VolumesConfig, source="x")
