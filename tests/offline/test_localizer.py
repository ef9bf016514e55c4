from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from offline.bold import BoldConfig, BoldRun, ROIConfig, TargetMaker
from offline.bold.glm import contrast_map, z_map
from offline.bold.localizer import LocalizerConfig, contrast_weights, run_events
from offline.bold.runs import open_run
from offline.design import design_regressors, read_events
from rtfeedback.config import parse_config
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.signals import Bool
from tests.offline.made_up_bold import AFFINE, PLANTED, mask, planted, scan

CONTRAST = "Task-MI - Rest"


def located(**values: object) -> ROIConfig:
    settings = LocalizerConfig.model_validate({"contrast": CONTRAST, **values})
    return ROIConfig(name="hand", localizer=settings)


def found_in(maker: TargetMaker, run: BoldRun) -> tuple[Bool, tuple[str, ...]]:
    found = maker.fitted.regions["hand"].of(run, "hand")
    return found.on(nibabel.load(run.image)), found.runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BoldRun]:
    folder = tmp_path_factory.mktemp("scans")
    made = [scan(folder, f"sub-01_run-{i}", seed=i) for i in (1, 2, 3)]
    made.append(scan(folder, "sub-02_run-1", seed=4, subject="02"))
    return {run.name: run for run in made}


@pytest.mark.parametrize(
    ("contrast", "weights"),
    [
        ("Task-MI - Rest", {"Task-MI": 1.0}),
        ("rest - Task-NF", {"Task-NF": -1.0}),
        ("a + b - c", {"a": 0.5, "b": 0.5, "c": -1.0}),
        ("a - b - Rest", {"a": 1.0, "b": -0.5}),
        ("- a + b", {"a": -1.0, "b": 1.0}),
        ("left fist", {"left fist": 1.0}),
    ],
)
def test_a_contrast_is_the_mean_of_one_side_less_that_of_the_other(
    contrast: str, weights: dict[str, float]
) -> None:
    assert contrast_weights(contrast) == weights


def test_a_contrast_of_nothing_is_refused() -> None:
    for contrast in ("", "Rest", " - rest"):
        with pytest.raises(ConfigError, match="contrast"):
            parse_config({"contrast": contrast}, LocalizerConfig, source="x")


def test_the_voxels_that_answer_the_task_are_found(runs: dict[str, BoldRun]) -> None:
    training = {name: runs[name] for name in ("sub-01_run-1", "sub-01_run-2")}
    maker = TargetMaker([located(threshold=5.0)]).fit(training)
    voxels, used = found_in(maker, runs["sub-01_run-3"])
    assert used == ("sub-01_run-1", "sub-01_run-2")
    assert np.array_equal(voxels, planted())
    top = TargetMaker([located(n_voxels=10)]).fit(training)
    voxels, _ = found_in(top, runs["sub-01_run-3"])
    assert voxels.sum() == 10
    assert not (voxels & ~planted()).any()


def test_a_run_never_defines_its_own_region_where_another_can(
    runs: dict[str, BoldRun],
) -> None:
    training = {name: run for name, run in runs.items() if name != "sub-01_run-3"}
    maker = TargetMaker([located()]).fit(training)
    used = {name: found_in(maker, run)[1] for name, run in runs.items()}
    assert used == {
        "sub-01_run-1": ("sub-01_run-2",),
        "sub-01_run-2": ("sub-01_run-1",),
        "sub-01_run-3": ("sub-01_run-1", "sub-01_run-2"),
        "sub-02_run-1": ("sub-02_run-1",),  # the only one of its subject, and for training
    }
    assert "itself" in " ".join(maker.of_run(runs["sub-02_run-1"]).notes)
    notes = " ".join(maker.of_run(runs["sub-01_run-1"]).notes)
    assert "itself" not in notes
    assert "found in sub-01_run-2" in notes


def test_a_test_run_changes_no_region(runs: dict[str, BoldRun], tmp_path: Path) -> None:
    training = {name: runs[name] for name in ("sub-01_run-1", "sub-01_run-2")}
    maker = TargetMaker([located()]).fit(training)
    other = scan(tmp_path, "sub-01_run-9", seed=9, response=-300.0)
    assert np.array_equal(found_in(maker, other)[0], found_in(maker, runs["sub-01_run-3"])[0])


def test_a_region_of_all_subjects_goes_for_one_that_is_held_out(
    runs: dict[str, BoldRun],
) -> None:
    training = {name: run for name, run in runs.items() if run.subject == "01"}
    with pytest.raises(
        DatasetError, match=r"'hand' is in subject 02.+subjects 01.+within 'all'"
    ):
        TargetMaker([located()]).fit(training).of_run(runs["sub-02_run-1"])
    maker = TargetMaker([located(within="all", threshold=5.0)]).fit(training)
    voxels, used = found_in(maker, runs["sub-02_run-1"])
    assert used == tuple(training)
    assert np.array_equal(voxels, planted())


def test_only_the_runs_that_are_named_define_it(tmp_path: Path) -> None:
    runs = {
        name: scan(tmp_path, name, seed=i, task=task)
        for i, (name, task) in enumerate([("a", "MIpre"), ("b", "NF"), ("c", "NF")])
    }
    for roi in (located(tasks=["MIpre"]), located(runs=["a*"])):
        maker = TargetMaker([roi]).fit(runs)
        assert {name: found_in(maker, run)[1] for name, run in runs.items()} == {
            "a": ("a",),
            "b": ("a",),
            "c": ("a",),
        }
    with pytest.raises(DatasetError, match="No training run goes for the localizer of 'hand'"):
        TargetMaker([located(tasks=["none"])]).fit(runs)


def test_a_run_that_is_for_the_localizer_alone_defines_it(tmp_path: Path) -> None:
    alone = scan(tmp_path, "loc", seed=1, task="localizer")
    runs = {"a": scan(tmp_path, "a", seed=2, response=0.0, task="NF")}
    maker = TargetMaker([located(tasks=["localizer"], threshold=5.0)])
    maker.fit(runs, localizers={"loc": alone})
    voxels, used = found_in(maker, runs["a"])
    assert used == ("loc",)
    assert np.array_equal(voxels, planted())


def test_a_search_mask_bounds_the_region(runs: dict[str, BoldRun], tmp_path: Path) -> None:
    half = planted()
    half[:2] = False
    path = mask(tmp_path, half)
    roi = located(threshold=5.0, search={"mask": path})
    maker = TargetMaker([roi]).fit({"sub-01_run-1": runs["sub-01_run-1"]})
    assert np.array_equal(found_in(maker, runs["sub-01_run-2"])[0], half)


def test_a_region_is_laid_on_a_run_of_another_grid(
    runs: dict[str, BoldRun], tmp_path: Path
) -> None:
    maker = TargetMaker([located(threshold=5.0)]).fit({"a": runs["sub-01_run-1"]})
    fine = np.diag([2.0, 2.0, 2.0, 1.0])
    fine[:3, 3] = AFFINE[:3, 3] - 1.0  # eight small voxels in each large one
    image = nibabel.Nifti1Image(np.zeros((18, 20, 16, 3), np.float32), fine)
    voxels = maker.fitted.regions["hand"].of(runs["sub-01_run-2"], "hand").on(image)
    assert voxels.sum() == 8 * planted().sum()
    assert voxels[2 * PLANTED[0].start, 2 * PLANTED[1].start, 2 * PLANTED[2].start]


def test_scrubbed_volumes_and_those_out_of_the_part_are_not_looked_at(tmp_path: Path) -> None:
    run = scan(tmp_path, "a", jumps=(11, 33, 50))
    opened = open_run(run, BoldConfig(scrub=0.5, confounds=("motion6",)))
    volumes = opened.image.get_fdata(dtype=np.float32).copy()
    volumes[..., 60:] += 5.0 * np.arange(20)
    volumes[..., 33] += 500.0
    damaged = replace(opened, image=nibabel.Nifti1Image(volumes, AFFINE))
    events = run_events(run, LocalizerConfig(contrast=CONTRAST))
    assert events
    first, second = (
        contrast_map(
            each, events, contrast_weights(CONTRAST), slice_ref=0.5, part=np.arange(80) < 60
        )
        for each in (opened, damaged)
    )
    both = (first.variance > 0) & (second.variance > 0)
    assert np.array_equal(first.effect[both], second.effect[both])
    assert both.mean() > 0.5
    assert first.dof == second.dof < 60 - 3 - 6


def test_a_contrast_that_the_events_do_not_have_is_named(runs: dict[str, BoldRun]) -> None:
    training = {"a": runs["sub-01_run-1"]}
    maker = TargetMaker([located(contrast="Task-NF - Rest", tasks=["mi"])])
    with pytest.raises(DatasetError, match=r"sub-01_run-1 lack.+No Task-NF in.+are Task-MI"):
        maker.fit(training)
    with pytest.raises(DatasetError, match="No training run goes for the localizer"):
        TargetMaker([located(contrast="Task-NF - Rest")]).fit(training)


def test_where_nothing_answers_nothing_is_made_up(tmp_path: Path) -> None:
    runs = {"a": scan(tmp_path, "a", response=0.0)}
    with pytest.raises(
        DatasetError, match=r"localizer of 'hand' finds no voxel.+largest z .+ in a"
    ):
        TargetMaker([located(threshold=8.0)]).fit(runs)


def test_a_target_that_takes_fitting_is_refused_without(runs: dict[str, BoldRun]) -> None:
    with pytest.raises(DatasetError, match="sub-01_run-1 take what is fitted"):
        TargetMaker([located()]).of_run(runs["sub-01_run-1"])


STIMULI = "face + house + object + scene + body + scramble"


def real_run(shared: Path) -> BoldRun:
    folder = shared / "studyforrest_localizer"
    image = folder / "sub-02_task-oneback_run-1_bold.nii.gz"
    return BoldRun("run-1", "02", "oneback", 2.0, image, events=folder / "events.tsv")


def test_a_real_localizer_is_found(shared: Path) -> None:
    run, config = real_run(shared), LocalizerConfig(contrast=STIMULI)
    events = run_events(run, config)
    assert events
    opened, weights = open_run(run, BoldConfig()), contrast_weights(STIMULI)
    image = z_map([contrast_map(opened, events, weights, slice_ref=0.5)])
    z = image.get_fdata()
    peak = nibabel.affines.apply_affine(image.affine, np.unravel_index(z.argmax(), z.shape))
    assert z.max() > 12.0
    assert math.dist(peak, (24.0, -70.0, -8.0)) < 5.0


def test_a_region_found_in_half_a_real_run_answers_in_the_other(
    shared: Path, tmp_path: Path
) -> None:
    run = real_run(shared)
    image, events = nibabel.load(run.image), read_events(run.events or Path())
    halves = []
    for first in (0, 78):
        data = image.dataobj[..., first : first + 78]
        path = tmp_path / f"{first}.nii"
        nibabel.save(nibabel.Nifti1Image(data, image.affine), path)
        rows = [
            f"{event.onset - 2 * first}\t{event.duration}\t{event.trial_type}\n"
            for event in events
            if 2 * first <= event.onset < 2 * first + 156
        ]
        path.with_suffix(".tsv").write_text("onset\tduration\ttrial_type\n" + "".join(rows))
        half = replace(run, name=path.stem, image=path, events=path.with_suffix(".tsv"))
        halves.append(half)
    roi = located(contrast=STIMULI, n_voxels=200)
    away = ROIConfig(name="frontal", spheres=((0.0, 30.0, 40.0),), radius=15.0)
    found = TargetMaker([roi, away]).fit({"0": halves[0]}).of_run(halves[1])
    shown = [
        each._replace(trial_type="shown") for each in read_events(halves[1].events or Path())
    ]
    design = design_regressors(shown, np.arange(0.0, 156.0, 2.0), 2.0)[:, 0]
    answers = [np.corrcoef(design, course)[0, 1] for course in found.courses.T]
    assert answers[0] > 0.7
    assert abs(answers[1]) < 0.3
    assert found.quality
    assert 60 < found.quality.tsnr < 120
