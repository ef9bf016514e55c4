from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from offline.bold import BoldConfig, BoldRun, ROIConfig, TargetMaker, VolumesConfig
from offline.bold.cleaning import Cleaner
from offline.bold.scaling import Scaler
from offline.bold.settings import Scaling
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float64
from tests.offline.made_up_bold import N_VOLUMES, TR, mask, planted, scan, values

SCALINGS: tuple[Scaling, ...] = ("percent", "zscore", "time_course", "none")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BoldRun]:
    folder = tmp_path_factory.mktemp("scans")
    made = [
        scan(folder, "a", seed=1),
        scan(folder, "b", seed=2, gain=1.1),
        scan(folder, "c", seed=3, gain=0.9),
        scan(folder, "d", seed=4, subject="02"),
    ]
    mask(folder, planted())
    return {run.name: run for run in made}


def maker(runs: dict[str, BoldRun], scaling: Scaling, **settings: object) -> TargetMaker:
    folder = (runs["a"].image or Path()).parent
    config = BoldConfig.model_validate({"scaling": scaling, **settings})
    return TargetMaker([ROIConfig(mask=Path("mask.nii.gz"))], config, root=folder)


def part(runs: dict[str, BoldRun], names: str) -> dict[str, BoldRun]:
    return {name: runs[name] for name in names}


def raw(run: BoldRun) -> Float64:
    return np.asarray(values(run)[planted()].mean(axis=0))


def test_z_is_by_mean_and_sd_of_the_training_part(runs: dict[str, BoldRun]) -> None:
    fitted = maker(runs, "zscore").fit(part(runs, "ab"))
    percent = maker(runs, "percent")
    training = np.concatenate([percent.of_run(runs[n]).courses for n in "ab"])
    for name in "abcd":
        expected = percent.of_run(runs[name]).courses
        found = fitted.of_run(runs[name]).courses
        assert np.allclose(found, (expected - training.mean()) / training.std(), atol=1e-12)
    joined = np.concatenate([fitted.of_run(runs[n]).courses for n in "ab"])
    assert abs(joined.mean()) < 1e-10
    assert joined.std() == pytest.approx(1.0)


def test_the_time_course_is_a_share_of_the_subjects_median(runs: dict[str, BoldRun]) -> None:
    fitted = maker(runs, "time_course", high_pass=0).fit(part(runs, "abd"))
    median = np.median(np.concatenate([raw(runs["a"]), raw(runs["b"])]))
    for name in "abc":  # c is held out, and scaled by its subject's training runs
        found = fitted.of_run(runs[name]).courses[:, 0]
        assert np.allclose(found, raw(runs[name]) / median - 1, atol=1e-6)
    alone = maker(runs, "time_course", high_pass=0).fit(part(runs, "ab")).of_run(runs["d"])
    assert np.allclose(alone.courses[:, 0], raw(runs["d"]) / np.median(raw(runs["d"])) - 1)
    assert "No training run is of subject 02" in alone.notes[0]


@pytest.mark.parametrize("scaling", ["zscore", "time_course"])
@pytest.mark.parametrize("whole", [False, True])
def test_nothing_is_fitted_on_what_is_held_out(
    runs: dict[str, BoldRun], tmp_path: Path, scaling: Scaling, whole: bool
) -> None:
    """Two datasets that differ in a held-out run alone give the same fit."""
    other = scan(tmp_path, "c", seed=77, gain=3.0)
    volumes = VolumesConfig(mask=Path("mask.nii.gz"), components=2) if whole else None
    found = []
    for held_out in (runs["c"], other):
        spec = maker(runs, scaling).spec
        made = TargetMaker(spec.rois, spec.bold, volumes, spec.root)
        made.fit(part(runs, "ab"))
        made.of_run(held_out)
        found.append(made.of_run(runs["a"]).courses)
    assert np.array_equal(found[0], found[1])


def test_volumes_out_of_the_training_part_change_no_fit(
    runs: dict[str, BoldRun], tmp_path: Path
) -> None:
    within = np.arange(N_VOLUMES) < 50
    fitted = maker(runs, "time_course", high_pass=0)
    fitted.fit(part(runs, "a"), parts={"a": within})
    found = fitted.of_run(runs["a"]).courses[:, 0]
    assert np.allclose(found, raw(runs["a"]) / np.median(raw(runs["a"])[within]) - 1, atol=1e-6)
    z = maker(runs, "zscore").fit(part(runs, "a"), parts={"a": within}).of_run(runs["a"])
    assert abs(z.courses[within].mean()) < 1e-10
    assert z.courses[within].std() == pytest.approx(1.0)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_causal_target_does_not_know_what_is_to_come(
    runs: dict[str, BoldRun], tmp_path: Path, scaling: Scaling
) -> None:
    """Cut the run anywhere: what came before stays as it was."""
    whole = replace(scan(tmp_path, "e", seed=9), confounds=None)
    image = nibabel.load(whole.image)
    volumes = image.get_fdata(dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(volumes[..., :53], image.affine), tmp_path / "cut.nii.gz")
    cut = replace(whole, image=tmp_path / "cut.nii.gz")
    made = maker(runs, scaling, causal=True, settle=20.0)
    made = made.fit(part(runs, "ab"))
    first = made.of_run(whole)
    assert np.allclose(first.courses[:53], made.of_run(cut).courses, atol=1e-9, equal_nan=True)
    assert np.flatnonzero(np.isfinite(first.courses[:, 0])).tolist() == list(range(10, 80))
    assert all(target.causal for target in first.targets)
    assert "causal" in first.notes[0]
    late = maker(runs, scaling).fit(part(runs, "ab"))
    assert not any(target.causal for target in late.targets)


def test_a_causal_change_is_that_of_the_run_so_far(runs: dict[str, BoldRun]) -> None:
    course = maker(runs, "percent", causal=True).of_run(runs["a"]).courses[:, 0]
    x = raw(runs["a"])[:, None]
    for volume in (20, 40, 79):
        so_far = Scaler("percent", Cleaner(tr=TR, n_volumes=volume + 1))(x[: volume + 1])
        assert course[volume] == pytest.approx(so_far[-1, 0], abs=1e-5)
    fitted = maker(runs, "time_course", causal=True, high_pass=0).fit(part(runs, "b"))
    found = fitted.of_run(runs["a"]).courses[:, 0]
    expected = [x[t, 0] / np.median(x[: t + 1]) - 1 for t in range(20, 80)]
    assert np.allclose(found[20:], expected, atol=1e-6)


@pytest.mark.parametrize("scaling", ["percent", "zscore", "time_course"])
def test_an_image_that_was_demeaned_is_refused(
    runs: dict[str, BoldRun], tmp_path: Path, scaling: Scaling
) -> None:
    image = nibabel.load(runs["c"].image)
    volumes = image.get_fdata() - image.get_fdata().mean()
    nibabel.save(nibabel.Nifti1Image(volumes - 100, image.affine), tmp_path / "z.nii.gz")
    run = replace(runs["c"], image=tmp_path / "z.nii.gz")
    made = maker(runs, scaling).fit(part(runs, "ab"))
    with pytest.raises(DatasetError, match=r"BOLD of c has a mean of -.+ z-scored"):
        made.of_run(run)
    unscaled = maker(runs, "none").of_run(run)
    assert np.isfinite(unscaled.courses).all()


def test_every_scaling_says_its_unit(runs: dict[str, BoldRun]) -> None:
    units = [maker(runs, scaling).fit(part(runs, "a")).targets[0].unit for scaling in SCALINGS]
    assert units[0] == "percent signal change"
    assert len(set(units)) == 4


def test_fitting_reads_nothing_where_nothing_is_fitted(runs: dict[str, BoldRun]) -> None:
    absent = replace(runs["a"], image=Path("absent.nii.gz"))
    made = maker(runs, "percent")
    assert not made.takes_fitting
    made.fit({"a": absent})
