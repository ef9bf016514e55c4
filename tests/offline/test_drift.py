"""The EEG's clock against the scanner's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.alignment.drift import fit_grid

LAW = settings(deadline=None, derandomize=True, max_examples=50)
TR = 2.0


@LAW
@given(
    ppm=st.floats(-400, 400, allow_subnormal=False),  # which this process may flush to zero
    seed=st.integers(0, 99),
    rate=st.sampled_from([250.0, 5000.0]),
)
def test_drift_is_found_through_quantised_stamps_and_some_that_are_far_off(
    ppm: float, seed: int, rate: float
) -> None:
    rng = np.random.default_rng(seed)
    numbers = np.sort(rng.choice(400, 300, replace=False))
    onsets = np.round((3.21 + numbers * TR * (1 + ppm * 1e-6)) * rate) / rate
    onsets[rng.choice(300, 30, replace=False)] += 0.3
    found = fit_grid(numbers, onsets, TR)
    a_sample_in_half_the_run = 1e6 / rate / (200 * TR)
    assert found.drift(TR) == pytest.approx(ppm, abs=a_sample_in_half_the_run)
    assert found.jitter is not None
    assert found.jitter <= 2 / rate


def test_jitter_is_the_sd_of_the_markers_about_the_grid() -> None:
    rng = np.random.default_rng(0)
    numbers = np.arange(2000)
    found = fit_grid(numbers, 1.0 + numbers * TR + rng.normal(0, 3e-3, 2000), TR)
    assert found.jitter == pytest.approx(3e-3, rel=0.1)
