"""Runs named file by file: what a table says, and what is wrong with it, line by line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from offline.bold.confounds import read_courses
from offline.datasets.bids import events_file, read_eeg, repetition_time
from offline.datasets.find_runs import find_runs
from offline.datasets.layout import LayoutConfig
from offline.prepare import PrepareConfig, prepare
from rtfeedback.config import load_config
from rtfeedback.errors import DatasetError
from tests.offline.real_layouts import write_bold, write_raw

Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Return a folder of two recordings and their images, and a course, none of it BIDS."""
    folder = tmp_path / "lab"
    for name in ("ann", "bob"):
        write_raw(folder / f"{name}.vhdr", tr=2.0, n_volumes=3)
        write_bold(folder / f"{name}.nii.gz", tr=2.0, n_volumes=3)
    (folder / "course.tsv").write_text("motor\tvisual\n0.5\t1\n-0.25\tn/a\n1\t2\n")
    return folder


def write_table(lab: Path, *rows: str, columns: str = "subject eeg bold tr onset") -> Path:
    lines = ["\t".join(row.split()) for row in (columns, *rows)]
    (lab / "runs.tsv").write_text("\n".join(lines) + "\n")
    return lab / "runs.tsv"


def layout(**values: object) -> LayoutConfig:
    return LayoutConfig.model_validate(values)


def test_a_row_is_a_run_with_what_it_says(lab: Path) -> None:
    write_table(lab, "ann ann.vhdr ann.nii.gz 2.0 3.0", "bob bob.vhdr bob.nii.gz n/a n/a")
    runs, skipped, _ = find_runs(lab, layout(pairs="runs.tsv", tr=1.5))
    assert skipped == []
    assert [run.name for run in runs] == ["sub-ann_run-01", "sub-bob_run-02"]
    assert [(repetition_time(run), run.onset) for run in runs] == [(2.0, 3.0), (1.5, None)]
    assert (runs[0].eeg, runs[0].bold) == (lab / "ann.vhdr", lab / "ann.nii.gz")
    assert read_eeg(runs[0]).info.sfreq == 5000.0


def test_runs_of_a_table_may_be_chosen_by_task_and_name(lab: Path) -> None:
    rows = [
        f"{name} {name}.vhdr {name}.nii.gz {task}"
        for name, task in (("ann", "x"), ("bob", "y"))
    ]
    write_table(lab, *rows, columns="subject eeg bold task")
    assert [run.subject for run in find_runs(lab, layout(pairs="runs.tsv"), "y").runs] == [
        "bob"
    ]
    out = layout(pairs="runs.tsv", exclude=["sub-bob_*"])
    assert [run.subject for run in find_runs(lab, out).runs] == ["ann"]
    with pytest.raises(DatasetError, match="no run of task 'z'"):
        find_runs(lab, layout(pairs="runs.tsv"), "z")


def test_a_course_stands_in_place_of_the_bold(lab: Path) -> None:
    write_table(lab, "ann.vhdr course.tsv 2", columns="eeg course tr")
    (run,) = find_runs(lab, layout(pairs="runs.tsv")).runs
    assert (run.bold, run.measured, events_file(run)) == (None, lab / "course.tsv", None)
    courses = read_courses(run.measured)
    assert courses["motor"].tolist() == [0.5, -0.25, 1.0]
    assert np.array_equal(courses["visual"], [1.0, np.nan, 2.0], equal_nan=True)


def test_a_course_with_a_word_in_it_is_refused_by_line(lab: Path) -> None:
    (lab / "course.tsv").write_text("motor\n1\ntwo\n")
    (run,) = find_runs(lab, layout(pair={"eeg": "ann.vhdr", "course": "course.tsv"})).runs
    with pytest.raises(DatasetError, match=r"The course .+ 'two' in column motor of row 2"):
        read_courses(run.measured, "course")


def test_bad_rows_are_told_all_at_once_by_their_lines(lab: Path) -> None:
    table = write_table(
        lab,
        "ann ann.vhdr ann.nii.gz 2 0",
        "ann none.vhdr ann.nii.gz 2 0",
        "ann ann.vhdr n/a 2 0",
        "a/b ann.vhdr ann.nii.gz 2 0",
        "ann ann.vhdr ann.nii.gz two 0",
        "ann ann.vhdr ann.nii.gz 0 0",
        "ann ann.vhdr ann.nii.gz 2 inf",
    )
    with pytest.raises(DatasetError, match=r"runs\.tsv has rows that are no runs") as caught:
        find_runs(lab, layout(pairs=str(table)))
    found = caught.value.found.split("; ")
    assert [each.split(":")[0] for each in found] == [f"line {i}" for i in range(3, 9)]
    for words, each in zip(
        ("does not exist", "no bold", "letters", "'two'", "above 0", "'inf'"),
        found,
        strict=True,
    ):
        assert words in each


def test_a_run_that_comes_twice_is_refused(lab: Path) -> None:
    write_table(lab, *["ann ann.vhdr ann.nii.gz 01"] * 2, columns="subject eeg bold run")
    with pytest.raises(DatasetError, match="line 3: a second sub-ann_run-01"):
        find_runs(lab, layout(pairs="runs.tsv"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [("eeg tr", "eeg, tr"), ("bold tr", "bold, tr"), ("eeg bold TR", "eeg, bold, TR")],
)
def test_a_table_of_other_columns_is_refused(lab: Path, columns: str, words: str) -> None:
    write_table(lab, "a b c", columns=columns)
    with pytest.raises(DatasetError, match=f"no table of pairs. The columns {words}"):
        find_runs(lab, layout(pairs="runs.tsv"))


def test_a_table_without_a_row_names_no_run(lab: Path) -> None:
    write_table(lab)
    with pytest.raises(DatasetError, match=r"runs\.tsv names no run"):
        find_runs(lab, layout(pairs="runs.tsv"))


def test_a_pair_is_one_run_with_the_tr_of_its_own_sidecar_else_as_stated(lab: Path) -> None:
    pair = LayoutConfig().with_files(eeg=lab / "ann.vhdr", bold=lab / "ann.nii.gz")
    (run,) = find_runs(lab, pair).runs
    with pytest.raises(DatasetError, match=r"has no RepetitionTime.*--tr"):
        repetition_time(run)
    (lab / "bold.json").write_text(json.dumps({"RepetitionTime": 2.5}))
    assert repetition_time(run) == 2.5
    stated = LayoutConfig().with_files(
        eeg=lab / "ann.vhdr", bold=lab / "ann.nii.gz", tr=2.0, onset=3.0
    )
    (run,) = find_runs(lab, stated).runs
    assert (repetition_time(run), run.onset, run.name) == (2.0, 3.0, "sub-01_run-01")


@pytest.mark.parametrize(
    "options",
    [
        ["--pairs", "runs.tsv", "--eeg", "ann.vhdr"],
        ["--bold", "ann.nii.gz"],
        ["--tr", "2"],
        ["one", "two", "--eeg", "ann.vhdr", "--bold", "ann.nii.gz"],
        ["out", "--eeg", "ann.vhdr", "--bold", "ann.nii.gz", "--tr", "0"],
        [],
    ],
)
def test_options_that_do_not_go_together_are_a_malformed_command(
    rtfeedback: Run, options: list[str]
) -> None:
    assert rtfeedback("prepare", *options)[0] == 2


@pytest.mark.parametrize("options", [["--bold", "x.nii.gz"], []])
def test_a_pair_of_which_one_is_missing_is_one_paragraph(
    rtfeedback: Run, lab: Path, options: list[str]
) -> None:
    code, out, said = rtfeedback("prepare", "store", "--eeg", lab / "ann.vhdr", *options)
    assert (code, out, len(said)) == (1, "", 1)
    assert "do not make a pair" in said[0]
    assert "--bold FILE" in said[0]


def test_a_table_of_a_datasets_files_makes_the_arrays_that_the_dataset_makes(
    rtfeedback: Run, bids_copy: Path, tmp_path: Path
) -> None:
    rows = ["subject\trun\ttask\teeg\tbold\ttr\tevents\tconfounds"]
    for run in ("01", "02"):
        name = f"sub-01_task-motorimagery_run-{run}"
        func = f"sub-01/func/{name}"
        table = f"derivatives/simulated/{func}_desc-confounds_timeseries.tsv"
        files = (f"sub-01/eeg/{name}_eeg.vhdr", f"{func}_bold.nii.gz", f"{func}_events.tsv")
        rows.append("\t".join(["01", run, "motorimagery", *files[:2], "2", files[2], table]))
    (bids_copy / "runs.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "tokens.toml").write_text("[chains.tokens.band_power]\n")
    config = load_config(tmp_path / "tokens.toml", PrepareConfig)
    one = prepare(bids_copy, tmp_path / "one", config, jobs=1)
    table_of_runs = ("--pairs", bids_copy / "runs.tsv", "--config", "tokens.toml")
    code, out, _ = rtfeedback("prepare", "two", *table_of_runs, "--jobs", 1)
    assert (code, out) == (0, "two\n")
    names = {
        folder: {str(path.relative_to(folder)): path for path in folder.rglob("*.npy")}
        for folder in (one, tmp_path / "two")
    }
    assert len(names[one]) >= 10
    for name, path in names[one].items():
        if not name.endswith("truth.npy"):  # which only a simulated dataset has
            assert path.read_bytes() == names[tmp_path / "two"][name].read_bytes(), name


def test_a_pair_alone_is_parted_in_blocks(rtfeedback: Run, lab: Path) -> None:
    files = ("--eeg", lab / "ann.vhdr", "--bold", lab / "ann.nii.gz", "--tr", "2")
    code, _, said = rtfeedback("prepare", "out", *files)
    assert (code, "block" in said[-1]) == (1, True)  # three volumes are too few for any
