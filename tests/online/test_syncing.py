from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rtfeedback.online.recorder import Recorder
from rtfeedback.online.syncing import sync_folder, sync_tree


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return what is synced from now on, in order, by what tells one file from another."""
    one, fsync = [], os.fsync

    def told(file: int) -> None:
        fsync(file)
        one.append(identity(os.fstat(file)))

    monkeypatch.setattr(os, "fsync", told)
    return one


def identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino


def test_a_record_syncs_its_folder_once_and_every_file(
    tmp_path: Path, synced: list[tuple[int, int]]
) -> None:
    record = Recorder(tmp_path, "run")
    record.line("messages", "one")
    record.flush()
    record.line("log", "two")
    record.close()
    assert record.lost == ""
    assert synced[0] == identity(tmp_path.stat())
    assert synced.count(synced[0]) == 1
    for path in tmp_path.iterdir():
        assert identity(path.stat()) in synced


def test_a_folder_is_synced_after_all_that_is_below_it(
    tmp_path: Path, synced: list[tuple[int, int]]
) -> None:
    inner = tmp_path / "checkpoint" / "inner"
    inner.mkdir(parents=True)
    (inner / "weights").write_bytes(b"w")
    (inner.parent / "spec").write_bytes(b"s")
    (tmp_path / "beside").write_bytes(b"b")
    sync_tree(inner.parent)
    order = [synced.index(identity(path.stat())) for path in (inner / "weights", inner)]
    assert order == sorted(order)
    assert synced[-1] == identity(inner.parent.stat())
    assert identity((inner.parent / "spec").stat()) in synced
    assert len(synced) == 4
    sync_tree(tmp_path / "beside")
    assert synced[-1] == identity((tmp_path / "beside").stat())


@pytest.mark.parametrize(("code", "refused"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_system_that_cannot_sync_folders_is_none_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, refused: bool
) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    if not refused:
        sync_folder(tmp_path)
        return
    with pytest.raises(OSError, match=os.strerror(code)):
        sync_folder(tmp_path)
