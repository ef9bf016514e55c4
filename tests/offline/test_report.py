from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from offline.evaluation.report import (
    DPI,
    MEASURED,
    PREDICTED,
    TRUTH,
    WIDTHS,
    Course,
    course_figure,
    table,
)
from rtfeedback.errors import OutputError


def course(name: str = "run-01", n: int = 40, *, design: bool = True) -> Course:
    rng = np.random.default_rng(0)
    volumes = np.arange(8, 8 + n, dtype=np.int64)
    task = ((volumes // 10) % 2).astype(float)
    measured = task + rng.standard_normal(n)
    return Course(
        name=name,
        volumes=volumes,
        times=volumes.astype(np.float64) * 2 + 1,
        measured=100 + measured,
        predicted=0.2 * measured,
        design=task[:, None] if design else None,
        truth=task if design else None,
    )


def colours(path: Path) -> set[tuple[int, ...]]:
    pixels = np.round(imread(path)[..., :3] * 255).astype(int).reshape(-1, 3)
    return {tuple(map(int, row)) for row in np.unique(pixels, axis=0)}


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def titles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Course) -> list[str]:
    said: list[str] = []
    keep = Axes.set_title

    def listen(self: Axes, label: str, **kwargs: Any) -> Any:
        said.append(label)
        return keep(self, label, **kwargs)

    monkeypatch.setattr(Axes, "set_title", listen)
    course_figure(tmp_path / "figure.png", [run], "title")
    return said


def test_a_figure_shows_measured_predicted_and_truth(tmp_path: Path) -> None:
    path = tmp_path / "courses.png"
    course_figure(path, [course("run-01"), course("run-02")], "title", "note")
    shown = colours(path)
    assert {rgb(colour) for colour in (MEASURED, PREDICTED, TRUTH)} <= shown
    assert [child.name for child in tmp_path.iterdir()] == ["courses.png"]


def test_truth_is_not_drawn_where_it_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "courses.png"
    course_figure(path, [course(design=False)], "title")
    assert rgb(TRUTH) not in colours(path)


@pytest.mark.parametrize(("n_runs", "columns"), [(1, 1), (6, 1), (7, 2)])
def test_many_runs_stand_in_two_columns(tmp_path: Path, n_runs: int, columns: int) -> None:
    path = tmp_path / "courses.png"
    course_figure(path, [course(f"run-{i}") for i in range(n_runs)], "title", "note " * 80)
    assert imread(path).shape[1] == WIDTHS[columns] * DPI


def test_a_plain_r_says_that_a_task_is_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, said = titles(monkeypatch, tmp_path, course())
    assert name == "run-01"
    assert said == "r = 1.00 (includes task), partial r given design = 1.00"


def test_without_a_task_there_is_one_r(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert titles(monkeypatch, tmp_path, course(design=False))[1] == "r = 1.00"


def test_a_design_without_columns_is_no_task() -> None:
    run = course()
    assert (
        Course(
            run.name, run.volumes, run.times, run.measured, run.predicted, np.zeros((40, 0))
        ).task
        is None
    )


def test_constant_predictions_and_holes_can_be_drawn(tmp_path: Path) -> None:
    run = course()
    volumes = run.volumes + 5 * (run.volumes > 20)
    flat = Course("flat", volumes, run.times, run.measured, np.full(40, 0.1))
    course_figure(tmp_path / "courses.png", [flat], "title")
    assert (tmp_path / "courses.png").stat().st_size > 10_000


def test_a_figure_replaces_an_older_one_and_repeats_itself(tmp_path: Path) -> None:
    path = tmp_path / "courses.png"
    path.write_text("old")
    course_figure(path, [course()], "title")
    once = path.read_bytes()
    course_figure(path, [course()], "title")
    assert path.read_bytes() == once


def test_a_figure_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"courses\.png cannot be written"):
        course_figure(tmp_path / "absent" / "courses.png", [course()], "title")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        course_figure(tmp_path / "taken.png", [course()], "title")
    assert [child.name for child in tmp_path.iterdir()] == ["taken.png"]


def test_courses_that_differ_in_length_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        Course("x", np.arange(3), np.arange(3.0), np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="at least one run"):
        course_figure(Path("x.png"), [], "title")


def test_a_table_prints_numbers_dashes_and_brackets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table(
        [["ridge [1]", 0.12345, 12, None], ["[bold]design", -1.0, 3, 0.5]],
        ["model", "skill", "n", "p [one-sided]"],
        "Skill [ROI]",
    )
    captured = capsys.readouterr()
    lines = [line.split() for line in captured.out.splitlines()]
    assert ["Skill", "[ROI]"] in lines
    assert ["ridge", "[1]", "0.123", "12", "–"] in lines
    assert ["[bold]design", "-1.000", "3", "0.500"] in lines
    assert captured.err == ""


def test_a_piped_table_is_not_cut_at_80_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table([["x" * 60, "y" * 60]], ["a", "b"], "wide")
    out = capsys.readouterr().out
    assert "x" * 60 in out
    assert "y" * 60 in out


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells under 1 headers"):
        table([["a", "b"]], ["only"], "title")
