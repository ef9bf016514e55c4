from __future__ import annotations

from pathlib import Path

import pytest

from bench.tables import machine, markdown_table, put


def test_a_table_has_its_numbers_to_the_right() -> None:
    text = markdown_table(["model", "p50 ms"], [["ridge", "0.2"], ["a|b", "12.0"]])
    assert text == (
        "| model | p50 ms |\n| ----- | -----: |\n| ridge |    0.2 |\n| a\\|b  |   12.0 |\n"
    )


def test_a_row_that_does_not_go_with_the_header_is_an_error() -> None:
    with pytest.raises(ValueError, match="argument"):
        markdown_table(["a", "b"], [["1"]])


def test_each_section_is_put_in_its_place_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    put("bench.a", "one", path)
    put("bench.b", "two\n", path)
    between = path.read_text()
    path.write_text(between.replace("<!-- bench.b -->", "By hand.\n\n<!-- bench.b -->"))
    put("bench.a", "three\n\nfour", path)
    assert path.read_text() == (
        "# Benchmarks\n\n<!-- bench.a -->\nthree\n\nfour\n<!-- /bench.a -->\n\n"
        "By hand.\n\n<!-- bench.b -->\ntwo\n<!-- /bench.b -->\n"
    )
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("broken", ["<!-- a -->", "<!-- /a -->", "<!-- /a -->\n<!-- a -->"])
def test_a_section_without_its_other_marker_is_left_as_it_is(
    tmp_path: Path, broken: str
) -> None:
    path = tmp_path / "benchmarks.md"
    path.write_text(broken)
    with pytest.raises(ValueError, match="holds no"):
        put("a", "text", path)
    assert path.read_text() == broken


def test_the_machine_is_described_in_words() -> None:
    words = machine()
    assert "GiB" in words
    assert "torch" in words
