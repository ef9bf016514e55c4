"""The bench of Monte-Carlo dropout measures what it says."""

from __future__ import annotations

import pytest

from bench import monte_carlo, zoo


def test_a_recipe_and_its_passes_stand_in_a_row() -> None:
    text = monte_carlo.report(passes=3, rounds=2, names=("tcn",))
    header, _, row = (line for line in text.splitlines() if line.startswith("|"))
    assert "3 passes, ms" in header
    name, _, alone, passes, times, masks = (cell.strip() for cell in row.strip("|").split("|"))
    assert name == "tcn"
    assert float(times) == pytest.approx(float(passes) / float(alone), rel=0.1, abs=0.1)
    n = 512 + 64 * sum((31, 15, 7, 3, 1))  # features, and what each block's maps hold
    assert float(masks) == pytest.approx(3 * 4 * n / 2**20, abs=0.06)
    assert "--passes 3 --rounds 2 --recipes tcn" in text


def test_what_is_measured_without_being_asked_are_shipped_recipes() -> None:
    assert set(monte_carlo.NAMES) <= set(zoo.recipes())
