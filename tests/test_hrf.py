from __future__ import annotations

from math import factorial

import numpy as np
import pytest

from rtfeedback.hrf import hrf


def test_it_is_spms_canonical_response() -> None:
    times = np.linspace(0, 32, 3201)
    response = times**5 * np.exp(-times) / factorial(5)
    undershoot = times**15 * np.exp(-times) / factorial(15)
    expected = response - undershoot / 6
    np.testing.assert_allclose(hrf(times), expected / expected.max(), rtol=0, atol=1e-6)
    assert times[hrf(times).argmax()] == pytest.approx(5.0, abs=0.01)
    assert times[hrf(times).argmin()] == pytest.approx(15.75, abs=0.05)


def test_nothing_is_answered_before_it_happens() -> None:
    assert not hrf(np.array([-5.0, -0.1, 0.0])).any()
