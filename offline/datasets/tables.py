"""JSON objects and tables of text that lie beside recordings, as found in the wild."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

from rtfeedback.errors import DatasetError

_QUOTES = "'\"`\u2018\u2019\u201c\u201d"  # a real table opens with ' and closes with ’


class Row(NamedTuple):
    """A row of a table, by its columns, and its line in the file, counted from 1."""

    line: int
    cells: dict[str, str]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    DatasetError
        If it is broken.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} is broken", found=str(error), do="Mend it, or take it anew"
        ) from error
    return content


def read_table(path: Path) -> dict[str, list[str]]:
    """Read a table as columns of text, without rows that are empty.

    Raises
    ------
    DatasetError
        If it cannot be read.
    """
    columns, rows = read_rows(path)
    return {name: [row.cells[name] for row in rows] for name in columns}


def read_rows(path: Path) -> tuple[tuple[str, ...], list[Row]]:
    """Read a table's columns, and its rows but for those that are empty.

    Between the cells are tabs, or blanks where the header has no tab: quotes around cells
    are no part of them then. A first column without a name and without a value is a
    tab before the others.

    Raises
    ------
    DatasetError
        If it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        columns, rows = _split(text)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"The table {path} cannot be read",
            found=getattr(error, "strerror", None) or str(error),
            do="Mend it, or take it anew",
        ) from error
    rows = [row for row in rows if any(cell.strip() for cell in row.cells.values())]
    if "" in columns and not any(row.cells[""].strip() for row in rows):
        columns = tuple(name for name in columns if name)
    return columns, rows


def _split(text: str) -> tuple[tuple[str, ...], list[Row]]:
    header = text.partition("\n")[0]
    if "\t" not in header and len(header.split()) > 1:
        return _split_at_blanks(text)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t")
    rows = []
    for cells in reader:
        cells.pop(None, None)  # what stands beyond the last column
        rows.append(Row(reader.line_num, {k: v or "" for k, v in cells.items()}))
    return tuple(reader.fieldnames or ()), rows


def _split_at_blanks(text: str) -> tuple[tuple[str, ...], list[Row]]:
    lines = [[cell.strip(_QUOTES) for cell in line.split()] for line in text.splitlines()]
    columns = tuple(lines[0])
    blank = [""] * len(columns)
    return columns, [
        Row(number, dict(zip(columns, [*cells, *blank], strict=False)))
        for number, cells in enumerate(lines[1:], start=2)
    ]
