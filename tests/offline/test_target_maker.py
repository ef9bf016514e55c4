from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nilearn.signal import clean

from offline.bold import BoldConfig, BoldRun, ROIConfig, TargetMaker, read_bold
from offline.bold.cleaning import without_drift
from offline.bold.rois import roi_voxels
from offline.bold.scaling import percent_signal_change
from offline.store.dataset import Store
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.signals import Bool, Float64
from tests.offline.made_up_bold import N_VOLUMES, TR, answer, mask, planted, scan, values

DERIVED = "derivatives/simulated"


def as_it_was(voxels: Bool, image: Any, tr: float, period: float) -> Float64:
    """Return a region's course by the code of the first stores, which stay comparable."""
    mean = image.get_fdata(dtype=np.float32)[voxels].mean(axis=0, dtype=np.float64)
    percent = np.asarray(100 * (mean / mean.mean() - 1))
    short = 2 * len(percent) * tr < period * (1 + 1e-6)
    cleaned = clean(
        percent[:, None],
        t_r=tr,
        filter=False if short else "cosine",
        high_pass=None if short else 1 / period,
        detrend=short,
        standardize=None,
        ensure_finite=False,
    )
    return np.asarray(cleaned[:, 0], dtype=np.float64)


@pytest.mark.parametrize("n_volumes", [20, 80])
def test_by_default_targets_have_the_bits_that_they_always_had(
    tmp_path: Path, n_volumes: int
) -> None:
    run = scan(tmp_path, "a", n_volumes=n_volumes)
    rois = [ROIConfig(mask=mask(tmp_path, planted())), ROIConfig(name="s", radius=60.0)]
    found = TargetMaker(rois, root=tmp_path).of_run(run)
    image = read_bold(run.image or Path())
    for roi, course in zip(rois, found.courses.T, strict=True):
        voxels = roi_voxels(roi, image, tmp_path)
        assert np.array_equal(course, as_it_was(voxels, image, TR, 128.0))
    assert [t.unit for t in found.targets] == ["percent signal change"] * 2
    assert [t.definition for t in found.targets] == [roi.definition for roi in rois]
    assert not any(t.causal for t in found.targets)


def test_the_default_maker_makes_the_stores_targets(bids: Path, store: Store) -> None:
    for run in list(store.runs.values())[:2]:
        image = bids / "sub-01/func" / f"{run.name}_bold.nii.gz"
        rois = [
            ROIConfig(mask=Path(DERIVED, "motor_mask.nii.gz")),
            ROIConfig(name="spheres", radius=12.0),
        ]
        made = BoldRun(run.name, "01", "motorimagery", run.manifest.tr, image)
        found = TargetMaker(rois, root=bids).of_run(made)
        assert np.array_equal(found.courses, run.targets)


def test_a_difference_is_that_of_its_courses(tmp_path: Path) -> None:
    run, half = scan(tmp_path, "a"), planted()
    half[:2] = False
    rois = [
        ROIConfig(name="left", mask=mask(tmp_path, planted(), "l.nii")),
        ROIConfig(name="contrast", difference=("left", "right")),
        ROIConfig(name="right", mask=mask(tmp_path, half, "r.nii")),
    ]
    found = TargetMaker(rois).of_run(run)
    left, contrast, right = found.courses.T
    assert np.array_equal(contrast, left - right)
    assert found.targets[1].definition == "'left' less 'right'"
    for names in (("left", "none"), ("contrast", "left")):
        bad = ROIConfig(name="x", difference=names)
        with pytest.raises(ConfigError, match="regions are left, right"):
            TargetMaker([*rois, bad])
    with pytest.raises(ConfigError, match="a name of its own"):
        TargetMaker([rois[0], rois[0]])


def test_motion_and_global_signal_go_along(tmp_path: Path) -> None:
    run = scan(tmp_path, "a")
    found = TargetMaker([ROIConfig(radius=80.0)]).of_run(run)
    assert found.arrays["motion"].shape == (N_VOLUMES, 6)
    assert found.arrays["global_signal"].shape == (N_VOLUMES,)
    bare = TargetMaker([ROIConfig(radius=80.0)]).of_run(replace(run, confounds=None))
    assert bare.arrays == {}
    assert np.array_equal(bare.courses, found.courses)


def test_smoothing_and_a_coarser_grid_come_before_the_region(tmp_path: Path) -> None:
    run = scan(tmp_path, "a")
    roi = ROIConfig(mask=mask(tmp_path, planted()))
    plain = TargetMaker([roi]).of_run(run).courses[:, 0]
    for config in (BoldConfig(smoothing=8.0), BoldConfig(resample=8.0)):
        course = TargetMaker([roi], config).of_run(run).courses[:, 0]
        assert not np.allclose(course, plain, atol=1e-3)
        assert np.corrcoef(course, answer())[0, 1] > 0.7
    shaped = TargetMaker([roi], BoldConfig(resample=(9, 10, 8))).of_run(run).courses[:, 0]
    assert np.array_equal(shaped, plain)


def test_courses_that_were_extracted_stand_in_for_an_image(tmp_path: Path) -> None:
    courses = np.random.default_rng(0).normal(900, 9, (60, 2))
    table = tmp_path / "courses.tsv"
    rows = ["\t".join(map(repr, row)) for row in courses.tolist()]
    table.write_text("motor\tvisual\n" + "\n".join(rows) + "\n")
    run = BoldRun("a", "01", "mi", TR, image=None, course=table)
    rois = [ROIConfig(name="visual"), ROIConfig(name="motor")]
    found = TargetMaker(rois).of_run(run)
    for column, raw in zip(found.courses.T, courses.T[::-1], strict=True):
        assert np.array_equal(column, without_drift(percent_signal_change(raw, "a"), TR, 128.0))
    assert found.quality is None
    scaled = BoldConfig(scaling="none", high_pass=0)
    assert np.array_equal(TargetMaker(rois, scaled).of_run(run).courses, courses[:, ::-1])
    with pytest.raises(DatasetError, match=r"no course of 'hand'.+are motor, visual"):
        TargetMaker([ROIConfig(name="hand")]).of_run(run)
    with pytest.raises(DatasetError, match="neither a BOLD image nor courses"):
        TargetMaker(rois).of_run(replace(run, course=None))


@pytest.mark.parametrize("causal", [False, True])
def test_a_course_without_a_value_is_scrubbed_there(tmp_path: Path, causal: bool) -> None:
    course = np.random.default_rng(0).normal(900, 9, 60)
    cells = [repr(x) for x in course.tolist()]
    cells[20], cells[41] = "n/a", ""
    table = tmp_path / "courses.tsv"
    table.write_text("motor\tother\n" + "".join(f"{cell}\t1.0\n" for cell in cells))
    run = BoldRun("a", "01", "mi", TR, image=None, course=table)
    found = TargetMaker([ROIConfig()], BoldConfig(causal=causal, settle=0)).of_run(run)
    gone = [0, 20, 41] if causal else [20, 41]
    assert np.flatnonzero(np.isnan(found.courses[:, 0])).tolist() == gone
    assert np.nanstd(found.courses) == pytest.approx(1.0, rel=0.3)


def test_a_fitted_maker_goes_to_another_process(tmp_path: Path) -> None:
    runs = {name: scan(tmp_path, name, seed=i) for i, name in enumerate("ab")}
    roi = ROIConfig.model_validate({"localizer": {"contrast": "Task-MI - Rest"}})
    maker = TargetMaker([roi], BoldConfig(scaling="zscore")).fit(runs)
    again = pickle.loads(pickle.dumps(maker))
    run = scan(tmp_path, "c", seed=5)
    assert np.array_equal(again.of_run(run).courses, maker.of_run(run).courses)
    assert again.targets == maker.targets


def test_what_is_not_done_is_said() -> None:
    (note,) = TargetMaker([ROIConfig()], BoldConfig(done="fMRIPrep 24.1")).notes
    assert "Motion and slice-time correction" in note
    assert "expected upstream" in note
    assert note.endswith("done before: fMRIPrep 24.1.")


def test_a_target_in_a_recipe_survives_being_written_down(tmp_path: Path) -> None:
    rois = [
        ROIConfig(mask=Path("a.nii")),
        ROIConfig(name="d", difference=("a", "b")),
        ROIConfig.model_validate({"localizer": {"contrast": "a - b", "n_voxels": 9}}),
    ]
    for roi in rois:
        assert ROIConfig.model_validate_json(roi.model_dump_json()) == roi


def test_the_mean_course_of_the_planted_region_follows_the_task(tmp_path: Path) -> None:
    run = scan(tmp_path, "a")
    course = TargetMaker([ROIConfig(mask=mask(tmp_path, planted()))]).of_run(run).courses[:, 0]
    slope = np.polyfit(answer(), course, 1)[0]
    assert slope == pytest.approx(100 * 20 / values(run)[planted()].mean(), rel=0.1)


@pytest.mark.parametrize(("code", "told"), [(1, True), (2, False), (4, False)])
def test_spheres_in_the_scanners_space_are_told(tmp_path: Path, code: int, told: bool) -> None:
    run = scan(tmp_path, "a")
    image = nibabel.load(run.image)
    image.header.set_sform(image.affine, code=code)
    again = tmp_path / "again.nii.gz"
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(), None, image.header), again)
    rois = [ROIConfig(radius=80.0), ROIConfig(name="m", mask=mask(tmp_path, planted()))]
    notes = TargetMaker(rois).of_run(replace(run, image=again)).notes
    assert [("scanner's space: 'motor' is" in note) for note in notes] == [True] * told
