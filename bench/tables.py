"""Figures as Markdown tables, with the machine they come from, put into docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from rtfeedback.provenance import processor

BENCHMARKS = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
GIB = 2**30  # bytes


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table, its columns aligned in the source as well.

    A column is set to the right where each of its cells begins with a digit or a sign.
    """
    body = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    columns = list(zip(header, *body, strict=True))
    widths = [max(3, *map(len, column)) for column in columns]
    right = [bool(body) and all(map(_is_number, column[1:])) for column in columns]
    rule = [
        "-" * (width - 1) + (":" if r else "-") for width, r in zip(widths, right, strict=True)
    ]
    lines = [list(header), rule, *body]
    return "\n".join(_line(line, widths, right) for line in lines) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if r else cell.ljust(width)
        for cell, width, r in zip(cells, widths, right, strict=True)
    )
    return f"| {' | '.join(padded)} |"


def _is_number(cell: str) -> bool:
    return re.match(r"[-+<>≤≥]?\s?\.?\d", cell) is not None or cell in ("", "-", "–")


def machine() -> str:
    """Return the shape of this machine in words: processor, cores, memory, GPU, versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    parts = [f"{os.cpu_count()} x {processor()}", f"{memory:.0f} GiB"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    parts.append(f"{platform.system()}, Python {platform.python_version()}")
    parts.append(f"torch {torch.__version__}")
    return ", ".join(parts)


def provenance(command: str) -> str:
    """Return a line that says which command made a table, on which day and machine."""
    return f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, {machine()}.\n"


def put(section: str, text: str, path: Path = BENCHMARKS) -> None:
    """Put text between a section's markers, `<!-- section -->` and `<!-- /section -->`.

    A file without the markers gets them at its end; the rest of it stays as it is.

    Parameters
    ----------
    section : str
        Such as `bench.inference`: the module that makes it.
    text : str
        Markdown.
    path : Path

    Raises
    ------
    ValueError
        If only one of the two markers is in the file, or they stand in the wrong order.
    """
    begin, end = f"<!-- {section} -->", f"<!-- /{section} -->"
    whole = f"{begin}\n{text.strip()}\n{end}"
    old = path.read_text(encoding="utf-8") if path.exists() else "# Benchmarks\n"
    if begin not in old and end not in old:
        new = f"{old.rstrip()}\n\n{whole}\n"
    else:
        before, _, behind = old.partition(begin)
        _, closing, after = behind.partition(end)
        if not closing:
            raise ValueError(f"{path} holds no {begin} that an {end} follows")
        new = before + whole + after
    part = path.with_name(path.name + ".part")
    part.write_text(new, encoding="utf-8")
    part.replace(path)
