from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from offline.datasets.bids import (
    PairedRun,
    events_file,
    read_eeg,
    repetition_time,
)
from offline.datasets.find_runs import find_runs
from offline.datasets.layout import LayoutConfig
from rtfeedback.errors import DatasetError

RUN = "sub-01_task-motorimagery_run-01"


def replace(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # the file may be a link to another test's
    path.write_text(text, encoding="utf-8")


def first(root: Path) -> PairedRun:
    return find_runs(root).runs[0]


def test_runs_come_in_the_order_of_their_names(bids: Path) -> None:
    runs = find_runs(bids).runs
    assert [run.name for run in runs] == [f"{RUN[:-1]}{i}" for i in (1, 2, 3, 4)]
    assert (runs[1].subject, runs[1].session, runs[1].task, runs[1].run) == (
        "01",
        "",
        "motorimagery",
        "02",
    )


@pytest.mark.parametrize("folder", ["none", "empty", "file"])
def test_a_folder_that_is_not_bids_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("data")
    with pytest.raises(DatasetError, match=rf"{folder} is not a BIDS dataset\. No "):
        find_runs(tmp_path / folder)


def test_a_dataset_without_a_pair_says_what_it_has(bids_copy: Path) -> None:
    for path in bids_copy.rglob("*_bold.nii.gz"):
        path.unlink()
    with pytest.raises(DatasetError, match=r"no run with both.*2 EEG and 0 BOLD files"):
        find_runs(bids_copy)


def test_another_task_has_no_run(bids: Path) -> None:
    with pytest.raises(DatasetError, match="0 EEG and 0 BOLD files of task 'rest'"):
        find_runs(bids, task="rest")


def test_a_run_without_its_bold_is_left_out(bids_copy: Path) -> None:
    (bids_copy / f"sub-01/func/{RUN}_bold.nii.gz").unlink()
    assert [run.run for run in find_runs(bids_copy).runs] == ["02"]


def test_files_that_are_not_bids_are_passed_over(bids_copy: Path) -> None:
    for name in ("notes.txt", "junk_eeg.vhdr", "sub-01/eeg/copy of run.vhdr", ".DS_Store"):
        (bids_copy / name).write_text("junk")
    assert len(find_runs(bids_copy).runs) == 2


def test_sidecars_are_inherited_key_by_key_and_the_nearest_wins(bids_copy: Path) -> None:
    replace(bids_copy / "bold.json", '{"RepetitionTime": 9}')
    replace(bids_copy / "task-motorimagery_bold.json", '{"RepetitionTime": 1.5}')
    replace(bids_copy / "task-rest_bold.json", '{"RepetitionTime": 7}')
    replace(bids_copy / "sub-01/sub-01_task-motorimagery_run-02_bold.json", "{}")
    of_run = bids_copy / f"sub-01/func/{RUN}_bold.json"
    replace(of_run, '{"TaskName": "motorimagery"}')
    assert repetition_time(first(bids_copy)) == 1.5
    replace(of_run, '{"RepetitionTime": 0.8}')
    assert repetition_time(first(bids_copy)) == 0.8


@pytest.mark.parametrize("stated", [None, 0, -2, "2", [2]])
def test_a_run_without_its_repetition_time_is_refused(bids_copy: Path, stated: object) -> None:
    text = json.dumps({} if stated is None else {"RepetitionTime": stated})
    replace(bids_copy / f"sub-01/func/{RUN}_bold.json", text)
    with pytest.raises(DatasetError, match=rf"{RUN} has no RepetitionTime.*_bold\.json"):
        repetition_time(first(bids_copy))


@pytest.mark.parametrize("text", ["", "[]"])
def test_a_broken_sidecar_is_named(bids_copy: Path, text: str) -> None:
    replace(bids_copy / f"sub-01/func/{RUN}_bold.json", text)
    with pytest.raises(DatasetError, match=rf"{RUN}_bold\.json is broken"):
        repetition_time(first(bids_copy))


def test_events_are_those_beside_the_bold(bids_copy: Path) -> None:
    of_run = bids_copy / f"sub-01/func/{RUN}_events.tsv"
    assert events_file(first(bids_copy)) == of_run
    of_run.unlink()
    assert events_file(first(bids_copy)) is None
    replace(bids_copy / "task-motorimagery_events.tsv", "onset\tduration\ttrial_type\n")
    assert events_file(first(bids_copy)) == bids_copy / "task-motorimagery_events.tsv"


def header_without_reference(bids_copy: Path) -> None:
    path = bids_copy / f"sub-01/eeg/{RUN}_eeg.vhdr"
    replace(path, path.read_text(encoding="utf-8").replace(",FCz,", ",,"))


@pytest.mark.parametrize(
    ("stated", "reference"),
    [("FCZ", "FCz"), ("n/a", ""), (" N/A ", ""), ("", ""), (None, "")],
)
def test_a_reference_that_is_not_stated_is_none(
    bids_copy: Path, stated: str | None, reference: str
) -> None:
    header_without_reference(bids_copy)
    text = json.dumps({} if stated is None else {"EEGReference": stated})
    replace(bids_copy / f"sub-01/eeg/{RUN}_eeg.json", text)
    assert read_eeg(first(bids_copy)).info.reference == reference


def test_the_recordings_own_reference_comes_first(bids_copy: Path) -> None:
    replace(bids_copy / f"sub-01/eeg/{RUN}_eeg.json", '{"EEGReference": "Cz"}')
    assert read_eeg(first(bids_copy)).info.reference == "FCz"


def test_channel_types_are_those_of_the_table(bids_copy: Path) -> None:
    path = bids_copy / f"sub-01/eeg/{RUN}_channels.tsv"
    text = path.read_text(encoding="utf-8").replace("Fp1\tEEG", "FP1\tVEOG")
    replace(path, text.replace("F7\tEEG", "F7\tn/a"))
    info = read_eeg(first(bids_copy)).info
    assert dict(zip(info.channels, info.kinds, strict=True))["Fp1"] == "eog"
    assert info.kinds.count("eeg") == 15  # an unknown type is told by the label


def test_confounds_are_those_of_a_derivative_or_none(bids_copy: Path) -> None:
    path = bids_copy / f"derivatives/simulated/sub-01/func/{RUN}_desc-confounds_timeseries.tsv"
    assert first(bids_copy).confounds == path
    path.rename(path.with_name(f"{RUN}_desc-confounds_regressors.tsv"))
    assert first(bids_copy).confounds == path.with_name(f"{RUN}_desc-confounds_regressors.tsv")
    path.with_name(f"{RUN}_desc-confounds_regressors.tsv").unlink()
    assert first(bids_copy).confounds is None


# ------------------------------------------------------------- what is not where BIDS puts it


def layout(**values: object) -> LayoutConfig:
    return LayoutConfig.model_validate(values)


def moved(root: Path, pattern: str, folder: str, ending: tuple[str, str]) -> None:
    """Move files that match into a folder, with another ending of their names."""
    (root / folder).mkdir(parents=True)
    for path in root.glob(pattern):
        path.rename(root / folder / path.name.replace(*ending))


def test_eeg_of_a_derivative_goes_with_the_bold_of_its_run_and_its_sidecars(
    bids_copy: Path,
) -> None:
    for vhdr in bids_copy.glob("sub-01/eeg/*.vhdr"):
        replace(
            vhdr, vhdr.read_text("utf-8").replace(f"{vhdr.stem}.", "$b.").replace(",FCz,", ",,")
        )
    replace(bids_copy / "task-motorimagery_eeg.json", '{"EEGReference": "CPz"}')
    for path in bids_copy.glob("sub-01/eeg/*_eeg.json"):
        path.unlink()
    for ending in ("vhdr", "vmrk", "eeg"):
        for path in bids_copy.glob(f"sub-01/eeg/*_eeg.{ending}"):
            target = bids_copy / "derivatives/sub-01/pp" / f"d_{path.stem}_pp.{ending}"
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    with pytest.raises(DatasetError, match="0 EEG and 2 BOLD"):
        find_runs(bids_copy)
    runs, _, _ = find_runs(bids_copy, layout(eeg=["derivatives/*/pp/d_{name}_eeg_pp.vhdr"]))
    assert [run.name for run in runs] == [RUN, f"{RUN[:-1]}2"]
    info = read_eeg(runs[0]).info
    assert (info.reference, info.kinds.count("eeg")) == ("CPz", 16)
    assert events_file(runs[0]) == bids_copy / f"sub-01/func/{RUN}_events.tsv"


def test_preprocessed_bold_goes_with_the_events_and_the_tr_of_the_raw(bids_copy: Path) -> None:
    space = "_space-MNI_desc-preproc_bold.nii.gz"
    moved(bids_copy, "sub-01/func/*.nii.gz", "derivatives/x/func", ("_bold.nii.gz", space))
    run = find_runs(bids_copy, layout(bold=["derivatives/**/{name}" + space])).runs[0]
    assert run.measured == bids_copy / f"derivatives/x/func/{RUN}{space}"
    assert repetition_time(run) == 2.0
    assert events_file(run) == bids_copy / f"sub-01/func/{RUN}_events.tsv"
    (run.measured.parent / f"{RUN}_space-MNI_desc-preproc_bold.json").write_text(
        '{"RepetitionTime": 1.9}'
    )
    assert repetition_time(run) == 1.9


def test_the_first_pattern_that_has_a_file_of_a_run_counts(bids_copy: Path) -> None:
    other = bids_copy / f"other/{RUN}_bold.nii.gz"
    other.parent.mkdir()
    shutil.copyfile(bids_copy / f"sub-01/func/{RUN}_bold.nii.gz", other)
    runs = find_runs(bids_copy, layout(bold=["other/{name}_bold.nii.gz", "bids"])).runs
    assert [run.measured.parent.name for run in runs] == ["other", "func"]


def test_runs_are_excluded_by_name(bids_copy: Path) -> None:
    runs, skipped, _ = find_runs(bids_copy, layout(exclude=["sub-01_*_run-01"]))
    assert ([run.run for run in runs], skipped) == (["02"], [])


def test_two_images_of_a_run_are_not_chosen_between(bids_copy: Path) -> None:
    bold = bids_copy / f"sub-01/func/{RUN}_bold.nii.gz"
    for acquisition in ("a", "b"):
        name = RUN.replace("_run", f"_acq-{acquisition}_run")
        shutil.copyfile(bold, bold.with_name(f"{name}_bold.nii.gz"))
    bold.unlink()
    runs, skipped, _ = find_runs(bids_copy)
    assert [run.run for run in runs] == ["02"]
    assert [each.run for each in skipped] == [RUN]
    assert "acq-a" in str(skipped[0].error)
    assert "layout.bold" in str(skipped[0].error)


def test_the_text_of_a_link_in_place_of_a_file_skips_its_run_alone(bids_copy: Path) -> None:
    text = "/annex/objects/MD5E-s69795795--08e15eeb8b9771d3.nii.gz\n"
    replace(bids_copy / f"sub-01/func/{RUN}_bold.nii.gz", text)
    runs, skipped, _ = find_runs(bids_copy)
    assert [run.run for run in runs] == ["02"]
    assert [each.run for each in skipped] == [RUN]
    assert f"{RUN}_bold.nii.gz is broken" in str(skipped[0].error)
    replace(bids_copy / f"sub-01/eeg/{RUN[:-1]}2_eeg.vhdr", text)
    with pytest.raises(DatasetError, match="is broken"):
        find_runs(bids_copy)


def test_halves_without_the_other_are_told_and_no_run(
    bids_copy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (bids_copy / f"sub-01/func/{RUN}_bold.nii.gz").unlink()
    assert [run.run for run in find_runs(bids_copy).runs] == ["02"]
    assert f"there is no BOLD of theirs: {RUN}" in capfd.readouterr().err


def test_runs_of_a_session_come_in_the_order_of_their_recording(bids_copy: Path) -> None:
    for run, time in (("01", "12:04:32.617500"), ("02", "09:34:47.5")):
        path = bids_copy / f"sub-01/func/{RUN[:-2]}{run}_bold.json"
        text = json.loads(path.read_text()) | {"AcquisitionTime": time}
        replace(path, json.dumps(text))
    assert [run.run for run in find_runs(bids_copy).runs] == ["02", "01"]
    path = bids_copy / f"sub-01/func/{RUN}_bold.json"
    replace(path, path.read_text().replace("12:04", "noon"))
    assert [run.run for run in find_runs(bids_copy).runs] == ["01", "02"]


def test_channels_are_renamed_retyped_and_left_out_by_label_or_place(bids_copy: Path) -> None:
    plain = read_eeg(first(bids_copy))
    names = plain.info.channels
    stated = {"kinds": {"2": "ecg", names[2]: "eog"}, "rename": {names[0]: "A1"}, "drop": ["4"]}
    found = find_runs(bids_copy, layout(recording={**stated, "reference": "Cz"})).runs[0]
    recording = read_eeg(found)
    assert recording.info.channels == ("A1", *names[1:3], *names[4:])
    assert recording.info.kinds[:4] == ("eeg", "ecg", "eog", "eeg")
    assert recording.info.reference == "Cz"
    assert np.array_equal(recording.samples, np.delete(plain.samples, 3, axis=1))
