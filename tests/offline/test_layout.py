from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from offline.datasets.layout import Entities, LayoutConfig, find_by_pattern, run_file, run_name


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def test_a_name_in_a_pattern_is_read_with_all_that_it_says(tmp_path: Path) -> None:
    touch(tmp_path, "derivatives/sub-1/eeg_pp/d_sub-1_ses-b_task-MI_run-03_eeg_pp.vhdr")
    (found,) = find_by_pattern(tmp_path, "derivatives/*/eeg_pp/*{name}_eeg_pp.vhdr", {})
    assert found.name == "sub-1_ses-b_task-MI_run-03"
    assert found.entities == Entities("1", "b", "MI", "3")


def test_a_name_ends_where_the_pattern_goes_on(tmp_path: Path) -> None:
    touch(tmp_path, "out/sub-1_task-x_run-1_space-MNI_res-2_desc-preproc_bold.nii.gz")
    pattern = "**/{name}_space-MNI*_desc-preproc_bold.nii.gz"
    assert find_by_pattern(tmp_path, pattern, {})[0].name == "sub-1_task-x_run-1"


def test_parts_in_a_pattern_make_a_name_and_tasks_are_translated(tmp_path: Path) -> None:
    touch(tmp_path, "in/sub001/EEG/task002_run003/EEG.mat", "sub001/EEG/task009_run003/no.mat")
    pattern = "**/sub{subject}/EEG/{task}_run{run}/EEG.mat"
    (found,) = find_by_pattern(tmp_path, pattern, {"task002": "visual"})
    assert found.name == "sub-001_task-visual_run-003"
    assert found.entities == run_file(found.path, "sub-01_task-visual_run-03").entities


def test_a_part_that_comes_twice_is_the_same_twice(tmp_path: Path) -> None:
    touch(tmp_path, "a/a_eeg.edf", "a/b_eeg.edf")
    (found,) = find_by_pattern(tmp_path, "{subject}/{subject}_eeg.edf", {})
    assert found.path == tmp_path / "a/a_eeg.edf"


def test_hidden_folders_are_no_part_of_a_dataset(tmp_path: Path) -> None:
    touch(tmp_path, ".git/annex/sub-1_eeg.edf", "x/sub-1_eeg.edf")
    assert len(find_by_pattern(tmp_path, "**/{name}_eeg.edf", {})) == 1


def test_a_run_is_named_by_what_is_known_of_it() -> None:
    assert run_name("1", task="x") == "sub-1_task-x"
    assert run_name("1", "2", "x", "3") == "sub-1_ses-2_task-x_run-3"


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{nmae}_eeg.edf", "nothing else in braces"),
        ("{subject:0>3}_eeg.edf", "nothing else in braces"),
        ("{subject_eeg.edf", "nothing else in braces"),
        ("*_eeg.edf", "neither {name} nor {subject}"),
        ("/data/{name}_eeg.edf", "leads out of the dataset"),
        ("../{name}_eeg.edf", "leads out of the dataset"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        LayoutConfig(eeg=(pattern,))


def test_a_table_of_pairs_and_a_pair_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="give one of both"):
        LayoutConfig.model_validate({"pairs": "t.tsv", "pair": {"eeg": "a.edf"}})
