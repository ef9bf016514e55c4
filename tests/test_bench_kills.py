"""A run that is killed leaves all that it had published, and the EEG that it came from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.kills import Killed, examine, kill_runs, moments
from rtfeedback.predictor import Predictor
from rtfeedback.replay.archive import Archive


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kills")


@pytest.fixture(scope="module")
def killed(folder: Path) -> list[Killed]:
    return list(kill_runs(folder, moments(3, seed=0)))


def test_a_run_killed_at_any_moment_is_computed_again_with_its_eeg(
    killed: list[Killed],
) -> None:
    assert [each.wrong for each in killed] == [()] * 3
    assert [each.identical for each in killed] == [each.messages for each in killed]
    assert killed[0].messages > 30  # it was killed after more than 2 s


def test_what_is_missing_is_found_out(
    folder: Path, killed: list[Killed], tmp_path: Path
) -> None:
    """The checks fail where they have to: EEG cut off, and a message that was received."""
    session = next((folder / "kill-0").glob("*/*/run-*"))
    predictor = Predictor.load(folder / "checkpoint", "cpu")
    messages = [m for m in Archive(session).messages if m["topic"] == "feedback"]
    received = [m | {"receive_time": m["publish_time"]} for m in messages]
    end = messages[-1]["publish_time"]
    assert examine(session, predictor, received, end).wrong == ()
    altered = Path(shutil.copytree(session, tmp_path / "run-01"))
    xdf = next(altered.glob("*.xdf"))
    xdf.write_bytes(xdf.read_bytes()[:-40_000])
    found = examine(altered, predictor, received, end)
    assert "EEG of a message is missing" in found.wrong
    assert "its values are not computed again" in found.wrong
    received.append(received[-1] | {"seq": 10**6, "publish_time": end - 1.5})
    found = examine(session, predictor, received, end)
    assert found.wrong == ("more than the last second is missing",)
    assert found.lost == 1
    assert found.lost_for == pytest.approx(1.5)
