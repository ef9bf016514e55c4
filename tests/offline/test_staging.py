"""A folder appears whole or not at all, and what was done before a kill is there again."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from offline.staging import staged_folder
from rtfeedback.errors import DatasetError, OutputError
from rtfeedback.folders import unwritable
from tests.offline.killed import Killed

OTHER = """
import sys
from pathlib import Path
from offline.staging import staged_folder
from rtfeedback.errors import OutputError
try:
    with staged_folder(Path(sys.argv[1]), sys.argv[2]):
        pass
except OutputError as error:
    print(str(error).partition(".")[0])
"""


def killed_after(path: Path, key: str, *files: str) -> None:
    with pytest.raises(Killed), staged_folder(path, key) as folder:  # noqa: PT012
        for file in files:
            (folder / file).write_text(key)
        raise Killed


def test_a_folder_takes_its_name_when_all_is_written(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with staged_folder(out, "a") as folder:
        (folder / "one").write_text("1")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["one"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_what_was_written_before_a_kill_is_there_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    killed_after(out, "a", "one", "two")
    assert not out.exists()
    with staged_folder(out, "a") as folder:
        assert {path.name for path in folder.iterdir()} == {"one", "two"}
    assert "going on where the last attempt stopped" in capfd.readouterr().err
    assert {path.name for path in out.iterdir()} == {"one", "two"}


def test_what_was_written_for_another_purpose_is_not(tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed_after(out, "a", "one")
    with staged_folder(out, "b") as folder:
        assert list(folder.iterdir()) == []


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with pytest.raises(DatasetError), staged_folder(out, "a") as folder:  # noqa: PT012
        (folder / "one").write_text("1")
        raise DatasetError("It is broken")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("1")
    with pytest.raises(OutputError, match="is there already"), staged_folder(out, "a"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_one_process_at_a_time_works_on_a_path(tmp_path: Path) -> None:
    """Another one, whatever it is to write, leaves what the first has done alone."""
    out = tmp_path / "out"
    with staged_folder(out, "a") as folder:
        (folder / "one").write_text("1")
        for key in ("a", "b"):
            done = subprocess.run(
                [sys.executable, "-c", OTHER, out, key], capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout == f"Another process is at work on {out}\n"
        (folder / "two").write_text("2")
    assert {path.name for path in out.iterdir()} == {"one", "two"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def full(path: Path) -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", str(path))


def of_another_folder(path: Path) -> OutputError:
    """As `new_folder` says it of the checkpoint that a training ends with."""
    try:
        raise full(path)
    except OSError as error:
        told = unwritable(path, error)
        told.__cause__ = error
        return told


@pytest.mark.parametrize("told", [full, of_another_folder])
def test_a_full_disk_loses_nothing_that_was_done(
    tmp_path: Path, told: Callable[[Path], Exception]
) -> None:
    out = tmp_path / "out"
    refused = pytest.raises(OutputError, match=r"no room left for .*out.*No space.*goes on")
    with refused, staged_folder(out, "a") as folder:
        (folder / "one").write_text("1")
        raise told(folder / "two")
    with staged_folder(out, "a") as folder:
        assert [path.name for path in folder.iterdir()] == ["one"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    with (
        pytest.raises(OutputError, match="cannot be written"),
        staged_folder(tmp_path / "file" / "out", "a"),
    ):
        pass
