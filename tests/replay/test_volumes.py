"""Whole volumes are computed again to the same bits, and one that was altered is found out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rtfeedback.online.settings import RunConfig
from rtfeedback.predictor import Predictor
from rtfeedback.replay.archive import Archive
from rtfeedback.replay.replay import replay
from rtfeedback.replay.report import is_same
from tests.lab import TR
from tests.replay.conftest import run_of
from tests.replay.troubled import Life, Troubled, clean, marked, without
from tests.volume_lab import save_volume_model, volume_spec

CommandLine = Callable[..., tuple[int, str, list[str]]]
Messages = list[dict[str, Any]]
BOTH: dict[str, Any] = {"markers": "markers", "hop": 0.25}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return save_volume_model(tmp_path_factory.mktemp("volumes") / "model", volume_spec())


def life() -> Life:
    """Return EEG with a gap, and chunks that waited, so that no volume of theirs is told."""
    return replace(without(clean(20), (2500, 2600)), late=frozenset(range(60, 70)))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, model: Predictor) -> Path:
    """Return the folder of a run that published volumes, and kept no voxels."""
    config = RunConfig.model_validate({"volume": {"publish": True}})
    out = tmp_path_factory.mktemp("sessions")
    return run_of(out, model, Troubled([life()], marked(20)), config=config, **BOTH)


@pytest.fixture
def session(tmp_path: Path, told: Path) -> Path:
    return Path(shutil.copytree(told, tmp_path / "run-01"))


def change(session: Path, change: Callable[[Messages], Messages]) -> Archive:
    path = session / "messages.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    changed = change([json.loads(line) for line in lines])
    path.write_text("".join(json.dumps(m) + "\n" for m in changed), encoding="utf-8")
    return Archive(session)


def volumes(messages: Messages) -> Messages:
    return [m for m in messages if m["topic"] == "volume"]


def test_every_volume_is_computed_again_with_the_same_hash(
    told: Path, model: Predictor
) -> None:
    archive = Archive(told)
    comparison = replay(archive, model)
    assert comparison.differences == []
    assert comparison.identical_volumes == len(volumes(archive.messages)) >= 4
    assert is_same(archive, comparison)
    again = replay(archive, model, 33)
    assert again.identical_volumes == comparison.identical_volumes
    assert not (told / "volumes.f4").exists()


def test_the_command_counts_them(told: Path, rtfeedback: CommandLine) -> None:
    code, out, said = rtfeedback("replay", told)
    n = len(volumes(Archive(told).messages))
    assert (code, said) == (0, [])
    assert f"volumes: {n} of {n} identical" in out.splitlines()


def test_a_volume_of_another_hash_is_no_replay(session: Path, model: Predictor) -> None:
    def alter(messages: Messages) -> Messages:
        volumes(messages)[2]["sha256"] = "0" * 64
        return messages

    archive = change(session, alter)
    comparison = replay(archive, model)
    assert comparison.identical == len(comparison.published)
    assert comparison.identical_volumes == len(comparison.published_volumes) - 1
    assert not is_same(archive, comparison)
    assert any("sha256 was published as 000" in line for line in comparison.differences)
    # Where the arithmetic is another machine's, a hash says nothing.
    assert is_same(archive, comparison, tolerance=1e-3)


@pytest.mark.parametrize("name", ["seq", "volume", "target_time", "shape", "affine"])
def test_a_header_that_was_altered_is_no_replay_on_any_machine(
    session: Path, model: Predictor, name: str
) -> None:
    def alter(messages: Messages) -> Messages:
        one = volumes(messages)[1]
        one[name] = one[name][::-1] if isinstance(one[name], list) else one[name] + 1
        return messages

    archive = change(session, alter)
    assert not is_same(archive, replay(archive, model), tolerance=1e-3)


@pytest.mark.parametrize("which", [0, -1])
def test_a_volume_that_is_missing_is_no_replay(
    session: Path, model: Predictor, which: int
) -> None:
    def alter(messages: Messages) -> Messages:
        gone = volumes(messages)[which]
        return [m for m in messages if m is not gone]

    archive = change(session, alter)
    assert not is_same(archive, replay(archive, model), tolerance=1e-3)


def test_a_volume_that_was_never_computed_is_no_replay(session: Path, model: Predictor) -> None:
    def alter(messages: Messages) -> Messages:
        return [*messages[:-1], volumes(messages)[-1], messages[-1]]

    archive = change(session, alter)
    comparison = replay(archive, model)
    assert comparison.missing == 1
    assert not is_same(archive, comparison, tolerance=1e-3)


def test_where_feedback_comes_late_volumes_are_left_out_and_that_is_replayed(
    tmp_path: Path, model: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.replay.troubled.LATE", 0.6 * TR)
    waited = replace(clean(12), late=frozenset(range(10**4)))
    config = RunConfig.model_validate({"volume": {"publish": True}})
    source = Troubled([waited], marked(12))
    archive = Archive(run_of(tmp_path, model, source, config=config, markers="markers"))
    assert [m for m in archive.messages if m.get("valid")]
    assert not volumes(archive.messages)
    assert is_same(archive, replay(archive, model))


def test_volumes_of_eeg_that_waited_are_not_told(told: Path) -> None:
    messages = Archive(told).messages
    late = {m["seq"] for m in messages if m.get("reason") == "late"}
    known = {m["seq"] for m in volumes(messages)}
    assert late
    assert not late & known
