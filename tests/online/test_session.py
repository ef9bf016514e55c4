from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from rtfeedback.checkpoint import load_checkpoint
from rtfeedback.errors import OutputError
from rtfeedback.online.session import SessionFolder
from rtfeedback.predictor import Predictor
from tests.lab import Lab, make_recording


def session(root: Path, run: str | None = None) -> SessionFolder:
    folder = SessionFolder(root, subject="02", session="pre", run=run)
    folder.close()
    return folder


# ------------------------------------------------------------------ where it lies


def test_runs_are_numbered_on(tmp_path: Path) -> None:
    paths = [session(tmp_path).path for _ in range(3)]
    assert paths == [tmp_path / "sub-02" / "ses-pre" / f"run-{n}" for n in ("01", "02", "03")]


def test_the_next_number_follows_the_highest_and_passes_over_names(tmp_path: Path) -> None:
    session(tmp_path, "07")
    session(tmp_path, "rest")
    assert session(tmp_path).run == "08"
    (tmp_path / "sub-02" / "ses-pre" / "run-99").mkdir()
    assert session(tmp_path).run == "100"


def test_a_run_that_is_there_already_is_refused_and_kept(tmp_path: Path) -> None:
    there = session(tmp_path, "01").path / "messages.jsonl"
    there.write_text("kept")
    with pytest.raises(OutputError, match=r"is there already\. Name another run"):
        session(tmp_path, "01")
    assert there.read_text() == "kept"


@pytest.mark.parametrize("blocked", ["sessions", "sessions/sub-02", "sessions/sub-02/ses-pre"])
def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path, blocked: str) -> None:
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).touch()
    with pytest.raises(OutputError, match=r"cannot be written\. Not a directory"):
        session(tmp_path / "sessions")


def test_a_link_to_nowhere_in_place_of_the_run_is_refused(tmp_path: Path) -> None:
    visit = session(tmp_path).path.parent
    (visit / "run-02").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="is there already"):
        session(tmp_path, "02")


# ------------------------------------------------------------------ what lies there


def test_a_run_is_locked_with_its_config_and_a_copy_of_its_checkpoint(
    tmp_path: Path, predictor: Predictor, free_port: int
) -> None:
    with Lab(tmp_path, predictor, free_port, hop=0.5, stream={"gap": 0.1}) as lab:
        locked = json.loads((lab.folder / "run.json").read_text())
        options = locked["options"]
        assert options["run"]["hop"] == 0.5
        assert options["run"]["stream"] == lab.name
        assert options["run"]["out"] == str(tmp_path)
        assert options["config"]["stream"]["gap"] == 0.1
        assert set(locked["versions"]) >= {"rtfeedback", "torch", "pylsl"}
        copied = load_checkpoint(lab.folder / "checkpoint")
    assert copied.hash == predictor.checkpoint.hash
    assert copied.spec == predictor.spec


def test_what_no_encoding_takes_still_goes_into_the_record(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path, subject="01", session="01", run=None)
    folder.log("stream=\ud800")
    folder.message("event", json.dumps({"label": "\ud800"}))
    folder.close()
    assert folder.record.lost == ""
    assert (folder.path / "run.log").read_text() == "stream=\\ud800\n"
    line = json.loads((folder.path / "messages.jsonl").read_text())
    assert line == {"topic": "event", "label": "\ud800"}


# ------------------------------------------------------------------ a full disk


def full_from_now_on(lab: Lab) -> None:
    """Let the disk take no more: the file is one that the kernel says is full."""
    disk = lab.daemon.folder.record._disk
    disk._files["messages"]._file.close()
    disk._files["messages"]._file = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115


def test_a_run_whose_disk_is_full_goes_on_and_says_so(
    tmp_path: Path, predictor: Predictor, free_port: int
) -> None:
    recording = make_recording(12)
    with Lab(tmp_path, predictor, free_port) as lab:
        outlet = lab.connect()
        full_from_now_on(lab)
        lab.play(recording, outlet)
        lab.until(lambda: lab.of("feedback", volume=11))
        lab.until(lambda: lab.of("status", recording="lost"))
    assert isinstance(lab.error, OutputError)  # said at the end, as exit 1
    assert lab.of("status")[0]["recording"] == "ok"
    assert lab.of("status")[-1]["recording"] == "lost"
    (said,) = lab.of("event", event="recording_lost")
    assert said["reason"] == "No space left on device"
    volumes = [m["volume"] for m in lab.of("feedback") if m["volume"] is not None]
    assert volumes == list(range(12))


def test_a_disk_that_is_full_at_the_very_end_is_said(
    tmp_path: Path, predictor: Predictor, free_port: int
) -> None:
    with Lab(tmp_path, predictor, free_port, hop=0.25) as lab:
        lab.play(make_recording(6), lab.connect())
        lab.until(lambda: lab.of("feedback", valid=True))
        full_from_now_on(lab)
        lab.stop()
        lab.until(lambda: lab.of("event", event="recording_lost"))
        lab.until(lambda: lab.of("status", state="stopped", recording="lost"))
    assert isinstance(lab.error, OutputError)
    assert "No space left on device" in str(lab.error)


def test_a_disk_that_is_full_at_the_start_is_refused(
    tmp_path: Path, predictor: Predictor, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copytree", full)
    for _ in range(2):  # and the ports are free again
        with pytest.raises(OutputError, match=r"No space left on device\. .* free some space"):
            Lab(tmp_path, predictor, free_port)


def test_a_run_that_was_refused_leaves_nothing_but_the_other_runs(tmp_path: Path) -> None:
    kept = SessionFolder(tmp_path, subject="01", session="01", run=None)
    refused = SessionFolder(tmp_path, subject="01", session="01", run=None)
    lone = SessionFolder(tmp_path, subject="02", session="01", run=None)
    for folder in (kept, refused, lone):
        folder.close()
    refused.discard()
    lone.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["sub-01"]
    assert kept.path.is_dir()
    assert not refused.path.exists()
