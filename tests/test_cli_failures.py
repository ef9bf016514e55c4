"""What the command line makes of what goes wrong below it: a user's to mend, or a bug."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rtfeedback import cli

Run = Callable[..., tuple[int, str, list[str]]]


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file or directory", "a/b"), ["a/b cannot be read"]),
        (PermissionError(13, "Permission denied", "a/b"), ["a/b cannot", "Permission denied"]),
        (OSError(28, "No space left on device"), ["No space left on device", "free some"]),
        (OSError(30, "Read-only file system", "a"), ["Read-only file system"]),
        (ModuleNotFoundError("No", name="mne_bids.path"), ["needs mne_bids", "[offline]'"]),
    ],
)
def test_what_the_system_refuses_is_one_paragraph(
    rtfeedback: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, words: list[str]
) -> None:
    raising(monkeypatch, error)
    code, out, said = rtfeedback()
    assert (code, out, len(said)) == (1, "", 1)
    assert [word for word in words if word not in said[0]] == []


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        KeyError("a bug"),
        OSError(9, "Bad file descriptor"),
        ModuleNotFoundError("No module named 'rtfeedback.bug'", name="rtfeedback.bug"),
    ],
)
def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    raising(monkeypatch, error)
    with pytest.raises(type(error)) as caught:
        cli.main()
    assert caught.value is error


def test_an_interrupt_ends_quietly(rtfeedback: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    assert rtfeedback() == (130, "", [])


WITHOUT = """
import sys
absent = sys.argv.pop(1)
sys.modules[absent] = None
from rtfeedback.cli import main
main()
"""


@pytest.mark.parametrize(
    ("absent", "line"),
    [
        ("mne", "simulate out"),
        ("pybv", "simulate out"),
        ("nibabel", "demo --out out"),
        ("mne_bids", "prepare empty"),
        ("nilearn", "prepare empty"),
        ("sklearn", "prepare empty"),
        ("matplotlib", "evaluate a b"),
        ("pyxdf", "play a.xdf --stream x"),
    ],
)
def test_a_command_without_what_it_needs_says_what_to_install(
    tmp_path: Path, absent: str, line: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.xdf").write_bytes(b"XDF:")
    command = [sys.executable, "-c", WITHOUT, absent, *line.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.strip() and "──" not in line]
    assert (done.returncode, len(said)) == (1, 1)
    assert absent in said[0]
    assert "pip install 'rtfeedback[offline]'" in said[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.xdf", "empty"]
