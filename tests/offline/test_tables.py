"""Tables as found in the wild: quotes that do not match, tabs before, rows of nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline.datasets.tables import read_json, read_rows, read_table
from rtfeedback.errors import DatasetError


def table(folder: Path, text: str | bytes) -> Path:
    path = folder / "t.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_rows_of_uneven_length_are_read(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffname\ttype\nCz\tEEG\textra\t\nC3\tEEG\nC4\n")
    assert read_table(path) == {"name": ["Cz", "C3", "C4"], "type": ["EEG", "EEG", ""]}


def test_a_table_with_blanks_in_place_of_tabs_loses_its_quotes(tmp_path: Path) -> None:
    text = "name   type   units\n'Fp1'   EEG   microV\n'ECG\u2019   ECG   microV\n'X'\n"
    assert read_table(table(tmp_path, text)) == {
        "name": ["Fp1", "ECG", "X"],
        "type": ["EEG", "ECG", ""],
        "units": ["microV", "microV", ""],
    }


def test_a_tab_before_all_columns_and_mixed_line_ends_are_passed_over(tmp_path: Path) -> None:
    text = "\tx\tyaw\n\t 1.5e-02\t-2\r\n\t3\t4\r\n"
    assert read_table(table(tmp_path, text)) == {"x": [" 1.5e-02", "3"], "yaw": ["-2", "4"]}


def test_empty_rows_are_none_and_lines_are_counted_with_them(tmp_path: Path) -> None:
    columns, rows = read_rows(table(tmp_path, "a\tb\n1\t2\n\n\t\n3\t4\n\t"))
    assert columns == ("a", "b")
    assert [(row.line, row.cells["a"]) for row in rows] == [(2, "1"), (5, "3")]


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"t\.tsv cannot be read"):
        read_table(table(tmp_path, b"name\xff\xfe\n"))


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"'])
def test_what_is_no_json_object_is_broken(tmp_path: Path, text: str) -> None:
    with pytest.raises(DatasetError, match=r"t\.tsv is broken"):
        read_json(table(tmp_path, text))


def test_the_real_tables_are_read(shared: Path) -> None:
    root = shared / "openneuro_sidecars"
    types = read_table(root / "ds002336/task-MIpre_channels.tsv")
    assert (types["name"][31], types["type"][31]) == ("ECG", "ECG")
    assert types["type"].count("EEG") == 63
    moved = [*root.rglob("d_*_headmotion.tsv")]
    assert len(moved) > 100
    for path in moved:
        columns = read_table(path)
        assert list(columns) == ["x", "y", "z", "pitch", "roll", "yaw"], path
        assert all(float(cell) < 100 for cells in columns.values() for cell in cells), path
