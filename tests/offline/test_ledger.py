from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from offline.store.ledger import count_one


def test_readings_at_once_are_all_counted(tmp_path: Path) -> None:
    path = tmp_path / "test_reads.json"
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: count_one(path), range(64)))
    assert sorted(counts) == list(range(1, 65))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]  # no lock is left behind


def test_a_count_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "test_reads.json"
    path.write_text('{"reads": 41}\n')
    assert count_one(path) == 42
    assert path.read_text() == '{"reads": 42}\n'
