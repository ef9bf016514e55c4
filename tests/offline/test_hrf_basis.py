from __future__ import annotations

import numpy as np
import pytest

from offline.training.hrf_basis import PEAKS, hrf_basis
from rtfeedback.hrf import hrf
from rtfeedback.models.ridge import RESPONSE


@pytest.mark.parametrize("lead", [0.0, 2.0])
def test_each_response_peaks_as_long_before_the_target_as_it_says(lead: float) -> None:
    rate, n_times = 50.0, 1000
    basis = hrf_basis(n_times, rate, lead)
    assert basis.shape == (n_times, 3)
    assert PEAKS == (3.0, 4.0, 5.0)
    ago = lead + (n_times - 1 - basis.argmax(axis=0)) / rate
    assert np.allclose(ago, PEAKS, atol=0.03)


def test_the_last_response_is_spms_own() -> None:
    basis = hrf_basis(80, 4.0, 0.0)[:, 2]
    spm = hrf(np.arange(80)[::-1] / 4.0)
    assert np.allclose(basis, spm / np.linalg.norm(spm), rtol=0, atol=1e-12)


def test_responses_are_of_one_size_and_none_of_the_others() -> None:
    basis = hrf_basis(80, 4.0, 0.0)
    assert np.allclose(np.linalg.norm(basis, axis=0), 1.0)
    assert np.linalg.matrix_rank(basis) == 3


def test_the_shortest_window_holds_every_response_until_it_is_over() -> None:
    ago = np.arange(0, 20, 0.01)
    basis = hrf_basis(len(ago), 100.0, 0.0)[::-1]
    late = basis[ago >= RESPONSE]
    assert (late < 0.02 * basis.max(axis=0)).all()
    assert (basis[(ago > 1) & (ago < 6)] > 0).all()
