"""The desk's commands on real files: what each makes of good input, and of bad."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FIRST = "sub-01_task-motorimagery_run-01"
SECOND = "sub-01_task-motorimagery_run-02"
Run = Callable[..., tuple[int, str, list[str]]]


def top(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_the_desk_works_as_it_stands_without_a_path(
    rtfeedback: Run, bids_copy: Path, tmp_path: Path
) -> None:
    assert rtfeedback("prepare", bids_copy)[:2] == (0, "prepared/bids\n")
    assert rtfeedback("prepare", bids_copy)[:2] == (0, "prepared/bids-2\n")
    code, out, said = rtfeedback("train")
    assert (code, said[0]) == (0, "taking the newest: prepared/bids-2")
    assert out.splitlines()[0] == "checkpoints/bids-2-ridge"
    code, out, said = rtfeedback("evaluate", "checkpoints/bids-2-ridge", "prepared/bids-2")
    assert (code, said) == (0, [])
    assert out.splitlines()[-1] == "evaluations/bids-2-ridge"
    report = json.loads((tmp_path / "evaluations/bids-2-ridge/evaluation.json").read_text())
    assert report["split"]["test"] == [SECOND]
    assert top(tmp_path) == ["bids", "checkpoints", "evaluations", "prepared"]


def replaced(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def truncate(path: Path) -> None:
    replaced(path, path.read_bytes()[: path.stat().st_size // 2])


def truncated_nifti(root: Path) -> None:
    truncate(root / f"sub-01/func/{SECOND}_bold.nii.gz")


def truncated_eeg(root: Path) -> None:
    truncate(root / f"sub-01/eeg/{SECOND}_eeg.eeg")


def no_markers(root: Path) -> None:
    path = root / f"sub-01/eeg/{FIRST}_eeg.vmrk"
    replaced(path, path.read_bytes().replace(b"R128", b"R129"))
    (root / f"sub-01/eeg/{FIRST}_events.tsv").unlink()


def no_overlap(root: Path) -> None:
    """Leave out the markers of the first two volumes: which volumes those are is a guess."""
    path = root / f"sub-01/eeg/{FIRST}_eeg.vmrk"
    lines = path.read_bytes().split(b"\n")
    first = [line for line in lines if b"R128" in line][:2]
    replaced(path, b"\n".join(line for line in lines if line not in first))


def no_runs(root: Path) -> None:
    for path in root.rglob("*_eeg.vhdr"):
        path.unlink()


def nothing(root: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("damage", "toml", "words"),
    [
        (truncated_nifti, "", [f"{SECOND}_bold.nii.gz cannot be read whole"]),
        (truncated_eeg, "", [f"{SECOND}_eeg.vhdr is truncated"]),
        (no_markers, "", [f"EEG of {FIRST} has no volume markers", "R129"]),
        (no_overlap, "", [FIRST, "38", "40"]),
        (no_runs, "", ["no run with both EEG and BOLD", "0 EEG and 2 BOLD files"]),
        (nothing, "[[targets]]\nspheres = [[500, 0, 0]]", ["no voxel in the BOLD image"]),
        (nothing, "channels = ['Cz', 'ECG']", [f"'{FIRST}_eeg' has no channel ECG", "Fp1"]),
        (nothing, "[chains.a]\nnotch = [60, 180]", ["180 Hz cannot be filtered", "250 Hz"]),
    ],
)
def test_a_dataset_that_is_broken_exits_1_with_one_paragraph_and_leaves_nothing(
    rtfeedback: Run,
    bids_copy: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    toml: str,
    words: list[str],
) -> None:
    damage(bids_copy)
    (tmp_path / "prepare.toml").write_text(toml)
    code, out, said = rtfeedback("prepare", "bids", "--config", "prepare.toml")
    assert (code, out) == (1, "")
    assert [word for word in words if word not in said[-1]] == []
    assert top(tmp_path) == ["bids", "prepare.toml"]


def test_the_paragraph_is_the_last_thing_said(bids_copy: Path, tmp_path: Path) -> None:
    truncated_eeg(bids_copy)
    command = [sys.executable, "-m", "rtfeedback", "prepare", "bids"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is truncated" in done.stderr.rstrip().splitlines()[-1]
    assert top(tmp_path) == ["bids"]


def test_a_run_too_short_for_one_window_exits_1(
    rtfeedback: Run, prepared: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.toml").write_text("model = {name = 'ridge', length = 200}")
    code, out, said = rtfeedback("train", prepared, "--config", "a.toml")
    assert (code, out, len(said)) == (1, "", 1)
    assert f"The run {FIRST} is too short for one window" in said[0]
    assert top(tmp_path) == ["a.toml"]


def test_a_full_disk_exits_1_and_is_left_empty(
    rtfeedback: Run, bids: Path, tiny_disk: Path
) -> None:
    for command in (
        ["prepare", bids, tiny_disk / "p"],
        ["simulate", tiny_disk / "s", "--runs", 1],
    ):
        code, _, said = rtfeedback(
            *command, *(["--subjects", 1] if command[0] == "simulate" else [])
        )
        assert code == 1
        assert "cannot be written" in said[-1]
        assert list(tiny_disk.iterdir()) == []


def test_a_folder_that_cannot_be_written_exits_1(
    rtfeedback: Run, bids: Path, prepared: Path, ridge: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("data")
    for command in (
        ["prepare", bids, "file/out"],
        ["train", prepared, "--out", "file/out"],
        ["evaluate", ridge, prepared, "--out", "file/out"],
    ):
        code, out, said = rtfeedback(*command)
        assert (code, out, len(said)) == (1, "", 1)
        assert "file/out cannot be written" in said[0]
    assert top(tmp_path) == ["file"]


def test_the_store_of_another_checkpoint_exits_1(
    rtfeedback: Run, ridge: Path, bids_copy: Path, tmp_path: Path
) -> None:
    rtfeedback("prepare", "bids", "other")
    code, _, said = rtfeedback("evaluate", ridge, "other")
    assert (code, len(said)) == (1, 1)
    assert "was not trained on the store other" in said[0]
    assert top(tmp_path) == ["bids", "other"]


def test_a_broken_checkpoint_exits_1(
    rtfeedback: Run, ridge: Path, prepared: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in ridge.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "weights.safetensors").write_bytes(b"cut")
    code, _, said = rtfeedback("evaluate", broken, prepared)
    assert (code, len(said)) == (1, 1)
    assert "The weights of" in said[0]
    assert top(tmp_path) == ["broken"]
