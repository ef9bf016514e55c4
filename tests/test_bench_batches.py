"""The bench of batches runs, on a small store, and says what it has to."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.batches import HEADER, epoch, examples_of, speed
from bench.noise_store import Shape, make_store
from offline.store.dataset import Store
from rtfeedback.arithmetic import fix_arithmetic

SHAPE = Shape(channels=4, rate=50, seconds=61, n_volumes=30, length=7.0, runs=3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("store"), 1, SHAPE)


def test_every_volume_with_a_whole_window_is_an_example(store: Store) -> None:
    examples = examples_of(store, 1, SHAPE)
    assert len(examples) == 3 * 27
    assert examples.n_times == 350


def test_ds000116s_shape_has_155_windows_in_a_run() -> None:
    shape = Shape()
    whole = [v for v in range(shape.n_volumes) if 2.0 * (v + 0.5) >= shape.length]
    assert 16 * shape.runs * len(whole) == 14_880


def test_a_table_has_a_row_for_each_number_of_subjects(store: Store) -> None:
    text = speed(store, [1], SHAPE, rounds=2, n_batches=1)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in rows[0].strip("|").split("|")] == list(HEADER)
    assert len(rows) == 3
    assert "81" in rows[2]


def test_an_epoch_says_what_memory_it_took(store: Store) -> None:
    took = epoch(store, SHAPE)
    fix_arithmetic()
    assert took["windows"] == 81
    assert 0 < took["bare"] <= took["rss"]


def test_a_store_of_noise_is_read_as_any_other(store: Store, tmp_path: Path) -> None:
    assert Store(store.path).hash == store.hash
    assert make_store(tmp_path, 1, SHAPE).hash == store.hash
