"""The soak's own arithmetic; the soak itself takes an hour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bench.soaked import Heard, Look


def looks(megabytes: Sequence[float]) -> list[Look]:
    """Return a look each 30 s."""
    return [Look(30.0 * k, size, 0.0, 0.0) for k, size in enumerate(megabytes)]


def test_growth_is_counted_once_memory_has_settled() -> None:
    assert Heard(looks=looks([100, 150, 200, 200, 200, 200])).growth() == pytest.approx(0)
    rising = [100, 150, *(200 + k for k in range(20))]
    assert Heard(looks=looks(rising)).growth() == pytest.approx(120)
    assert np.isnan(Heard(looks=looks([100, 200])).growth())


def test_latency_is_from_the_push_of_the_newest_sample_to_the_receipt() -> None:
    pushed = np.array([10.0, 10.0, 10.5, 10.5])
    messages: list[tuple[float, dict[str, Any]]] = [
        (10.007, {"topic": "feedback", "valid": True, "lsl_time": 5.01}),
        (10.600, {"topic": "feedback", "valid": True, "lsl_time": 5.0299}),
        (10.700, {"topic": "feedback", "valid": False, "lsl_time": None}),
        (10.800, {"topic": "status", "state": "stopped"}),
    ]
    heard = Heard(received=messages)
    latency = heard.latency(pushed, first=5.0, rate=100.0)
    np.testing.assert_allclose(latency, [0.007, 0.1])
    assert heard.stopped
