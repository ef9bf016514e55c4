"""How many threads a process computes on."""

from __future__ import annotations

import os

import pytest
import torch

from rtfeedback.arithmetic import fix_arithmetic


@pytest.mark.parametrize(
    ("asked", "threads"), [("3", 3), ("1", 1), (None, 4), ("", 4), ("4,2", 4), ("0", 1)]
)
def test_a_training_takes_what_was_asked_for_or_half_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, threads: int
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    fix_arithmetic(threads=0)
    fix_arithmetic()
    assert taken == [threads, 1]
