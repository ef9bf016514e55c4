"""Whole volumes are computed again to the same bits, and one that was altered is found out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtfeedback.errors import RecordingError
from rtfeedback.online.settings import RunConfig
from rtfeedback.predictor import Predictor
from rtfeedback.replay.archive import Archive
from rtfeedback.replay.kept_volumes import KeptVolumes, kept_volumes
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


# ------------------------------------------------------------------ what was kept of them


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, model: Predictor) -> Path:
    """Return the folder of a run that kept the voxels of its volumes as well."""
    config = RunConfig.model_validate({"volume": {"publish": True, "record": True}})
    out = tmp_path_factory.mktemp("sessions")
    return run_of(out, model, Troubled([clean(16)], marked(16)), config=config, **BOTH)


@pytest.fixture
def kept(tmp_path: Path, recorded: Path) -> Path:
    return Path(shutil.copytree(recorded, tmp_path / "run-01"))


def test_kept_voxels_are_held_against_their_headers(
    recorded: Path, told: Path, model: Predictor, rtfeedback: CommandLine
) -> None:
    n = len(volumes(Archive(recorded).messages))
    assert n >= 4
    assert kept_volumes(Archive(recorded), model.spec.volume) == KeptVolumes(n, n, [])
    assert kept_volumes(Archive(told), model.spec.volume) is None
    code, out, said = rtfeedback("replay", recorded)
    assert (code, said) == (0, [])
    assert f"kept voxels: {n} of {n} as published" in out.splitlines()


@pytest.mark.parametrize("which", [0, -1])
def test_one_bit_of_a_kept_frame_is_found(
    kept: Path, which: int, rtfeedback: CommandLine
) -> None:
    path, messages = kept / "volumes.f4", volumes(Archive(kept).messages)
    frames = np.fromfile(path, np.uint8).reshape(len(messages), -1)
    frames[which, 7] ^= 1
    frames.tofile(path)
    code, out, _ = rtfeedback("replay", kept)
    n = len(messages)
    assert code == 1
    assert f"kept voxels: {n - 1} of {n} as published" in out.splitlines()
    assert f"volumes.f4: the voxels of seq {messages[which]['seq']} are other" in out
    assert f"volumes: {n} of {n} identical" in out


def test_kept_voxels_that_are_missing_or_too_many_are_found(
    kept: Path, model: Predictor
) -> None:
    path, spec = kept / "volumes.f4", model.spec.volume
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    cut = kept_volumes(Archive(kept), spec)
    assert cut is not None
    assert cut.intact == cut.n - 1
    assert cut.wanting[0].endswith("are missing")
    path.write_bytes(whole + b"\0")
    longer = kept_volumes(Archive(kept), spec)
    assert longer is not None
    assert (longer.intact, len(longer.wanting)) == (longer.n, 1)
    path.unlink()
    with pytest.raises(RecordingError, match="volumes"):
        kept_volumes(Archive(kept), spec)


def test_a_kill_may_leave_a_frame_without_its_header(kept: Path, model: Predictor) -> None:
    def killed(messages: Messages) -> Messages:
        return messages[: messages.index(volumes(messages)[-1])]

    archive = change(kept, killed)
    path = kept / "volumes.f4"
    path.write_bytes(path.read_bytes()[:-4])
    found = kept_volumes(archive, model.spec.volume)
    assert found is not None
    assert found.n == len(volumes(archive.messages)) == found.intact
    assert found.wanting == []
