from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rtfeedback.errors import OutputError, RtfeedbackError
from rtfeedback.folders import new_folder


def write(path: Path, *, n_bytes: int = 4) -> None:
    with new_folder(path) as folder:
        (folder / "a").write_bytes(b"x" * n_bytes)
        (folder / "below").mkdir()
        (folder / "below" / "b").write_text("b")


def contents(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_a_folder_appears_when_all_of_it_is_written(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with new_folder(out) as folder:
        (folder / "a").write_text("a")
        assert not out.exists()
        assert folder.parent == out.parent  # so that the rename is one step
    assert contents(tmp_path) == ["new", "new/out", "new/out/a"]
    assert out.stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out")
    assert contents(tmp_path / "out") == ["a", "below", "below/b"]


@pytest.mark.parametrize("error", [RtfeedbackError, ValueError, KeyboardInterrupt])
def test_nothing_is_left_where_writing_breaks_off(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def half() -> None:
        with new_folder(tmp_path / "new" / "deep" / "out") as folder:
            (folder / "a").write_text("a")
            raise error("broken off")

    with pytest.raises(error, match="broken off"):
        half()
    assert contents(tmp_path) == []


def test_only_parents_that_it_made_go_again(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputError), new_folder(tmp_path / "mine" / "new" / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert contents(tmp_path) == ["mine"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_there_stays_untouched(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
        (out / "precious").write_text("data")
    else:
        out.write_text("data")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=r"out is there already\. Name a new folder"):
        write(out)
    assert contents(tmp_path) == before
    assert (out / "precious" if kind == "folder" else out).read_text() == "data"


def test_a_folder_that_fills_while_it_is_written_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def late() -> None:
        with new_folder(out) as folder:
            (folder / "a").write_text("a")
            out.mkdir()
            (out / "precious").write_text("data")

    with pytest.raises(OutputError, match="cannot be written"):
        late()
    assert contents(tmp_path) == ["out", "out/precious"]


def test_a_file_in_a_parents_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("data")
    with pytest.raises(OutputError, match=r"file/deep/out cannot be written\. .+ Choose"):
        write(tmp_path / "file" / "deep" / "out")
    assert contents(tmp_path) == ["file"]


def test_a_name_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="too long"):
        write(tmp_path / ("x" * 300))
    assert contents(tmp_path) == []


def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"out cannot be written\. No space left on device\."):
        write(tmp_path / "out")
    assert contents(tmp_path) == []


def test_a_disk_that_is_really_full_is_told_and_left_empty(tiny_disk: Path) -> None:
    with pytest.raises(OutputError, match="No space left"):
        write(tiny_disk / "out", n_bytes=2**20)
    assert contents(tiny_disk) == []
    write(tiny_disk / "out")  # and there is room again


def test_a_disk_that_cannot_be_written_is_told(tiny_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(OutputError, match="Read-only"):
        write(tiny_disk / "new" / "out")
    assert contents(tiny_disk) == []


def test_a_file_elsewhere_is_not_blamed_on_the_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"), new_folder(tmp_path / "out"):
        (tmp_path / "absent").read_text()
    assert contents(tmp_path) == []


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real", target_is_directory=True)
    with pytest.raises(OutputError):
        write(tmp_path / "out")
    assert contents(tmp_path) == ["out", "real"]
    shutil.rmtree(tmp_path / "real")
