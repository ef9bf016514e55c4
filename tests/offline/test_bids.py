from __future__ import annotations

import json
from pathlib import Path

import pytest

from offline.bids import (
    PairedRun,
    events_file,
    find_paired_runs,
    read_confounds,
    read_eeg,
    read_table,
    repetition_time,
)
from rtfeedback.errors import DatasetError

RUN = "sub-01_task-motorimagery_run-01"


def replace(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # the file may be a link to another test's
    path.write_text(text, encoding="utf-8")


def first(root: Path) -> PairedRun:
    return find_paired_runs(root)[0]


def test_runs_come_in_the_order_of_their_names(bids: Path) -> None:
    runs = find_paired_runs(bids)
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
        find_paired_runs(tmp_path / folder)


def test_a_dataset_without_a_pair_says_what_it_has(bids_copy: Path) -> None:
    for path in bids_copy.rglob("*_bold.nii.gz"):
        path.unlink()
    with pytest.raises(DatasetError, match=r"no run with both.*2 EEG and 0 BOLD files"):
        find_paired_runs(bids_copy)


def test_another_task_has_no_run(bids: Path) -> None:
    with pytest.raises(DatasetError, match="0 EEG and 0 BOLD files of task 'rest'"):
        find_paired_runs(bids, task="rest")


def test_a_run_without_its_bold_is_left_out(bids_copy: Path) -> None:
    (bids_copy / f"sub-01/func/{RUN}_bold.nii.gz").unlink()
    assert [run.run for run in find_paired_runs(bids_copy)] == ["02"]


def test_files_that_are_not_bids_are_passed_over(bids_copy: Path) -> None:
    for name in ("notes.txt", "junk_eeg.vhdr", "sub-01/eeg/copy of run.vhdr", ".DS_Store"):
        (bids_copy / name).write_text("junk")
    assert len(find_paired_runs(bids_copy)) == 2


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


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"'])
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


def test_rows_of_uneven_length_are_read(tmp_path: Path) -> None:
    replace(tmp_path / "t.tsv", "\ufeffname\ttype\nCz\tEEG\textra\t\nC3\tEEG\nC4\n")
    assert read_table(tmp_path / "t.tsv") == {
        "name": ["Cz", "C3", "C4"],
        "type": ["EEG", "EEG", ""],
    }


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_bytes(b"name\xff\xfe\n")
    with pytest.raises(DatasetError, match=r"t\.tsv cannot be read"):
        read_table(tmp_path / "t.tsv")


def confounds_of(root: Path) -> Path:
    return root / f"derivatives/simulated/sub-01/func/{RUN}_desc-confounds_timeseries.tsv"


def test_confounds_of_other_volumes_are_refused(bids: Path) -> None:
    run = first(bids)
    assert read_confounds(run, 40)["motion"].shape == (40, 6)
    with pytest.raises(DatasetError, match="40 rows of motion, 41 volumes"):
        read_confounds(run, 41)


def test_a_confound_that_is_no_number_is_refused(bids_copy: Path) -> None:
    path = confounds_of(bids_copy)
    lines = path.read_text().splitlines()
    lines[3] = "n/a" + lines[3][lines[3].index("\t") :]
    replace(path, "\n".join(lines))
    with pytest.raises(DatasetError, match=r"a cell that is no number.*n/a"):
        read_confounds(first(bids_copy), 40)


def test_a_run_without_confounds_has_none(bids_copy: Path) -> None:
    confounds_of(bids_copy).unlink()
    assert read_confounds(first(bids_copy), 40) == {}
