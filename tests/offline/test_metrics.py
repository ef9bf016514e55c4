from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import pearsonr

from offline.evaluation.metrics import (
    partial_correlation,
    pearson,
    r2,
    residual,
    skill,
    standardised,
)
from offline.evaluation.surrogates import phase_randomised, surrogate_test
from rtfeedback.signals import Float64

NO_NUISANCE = np.zeros((300, 0))


def autoregressive(rng: np.random.Generator, n: int, phi: float = 0.9) -> Float64:
    noise = rng.standard_normal(n + 200)
    return np.asarray(lfilter([1.0], [1.0, -phi], noise)[200:], np.float64)


def boxcar(n: int, period: int = 20) -> Float64:
    return np.asarray((np.arange(n) // (period // 2)) % 2, np.float64)


def test_pearson_agrees_with_scipy() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 50))
    assert pearson(a, b) == pytest.approx(pearsonr(a, b).statistic, abs=1e-14)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3])
def test_correlation_with_a_constant_is_zero(value: float) -> None:
    a = np.random.default_rng(0).standard_normal(50)
    assert pearson(a, np.full(50, value)) == 0.0
    assert pearson(np.full(50, value), a) == 0.0


def test_correlation_knows_neither_scale_nor_offset() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 50))
    assert pearson(3 * a + 7, -2e-6 * b + 1) == pytest.approx(-pearson(a, b), abs=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused_and_never_passed_on(bad: float) -> None:
    good, other = np.random.default_rng(0).standard_normal((2, 10))
    other[3] = bad
    with pytest.raises(ValueError, match="NaN"):
        pearson(good, other)
    with pytest.raises(ValueError, match="NaN"):
        skill(good, other, 0.0)
    with pytest.raises(ValueError, match="NaN"):
        surrogate_test([good], [other], [np.zeros((10, 0))])


def test_courses_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="do not go together"):
        pearson(np.arange(3.0), np.arange(4.0))


def test_perfect_prediction_has_skill_1() -> None:
    measured = np.random.default_rng(0).standard_normal(50)
    assert skill(measured, measured.copy(), 0.3) == 1.0
    assert r2(measured, measured.copy(), 0.3) == 1.0


def test_training_mean_has_skill_0() -> None:
    measured = np.random.default_rng(0).standard_normal(50)
    assert skill(measured, np.full(50, 0.3), 0.3) == 0.0
    assert r2(measured, np.full(50, 0.3), 0.3) == 0.0


def test_a_prediction_worse_than_its_baseline_has_negative_skill() -> None:
    measured = np.random.default_rng(0).standard_normal(50)
    assert skill(measured, -measured, 0.5 * measured) == pytest.approx(1 - 4 / 0.25)


def test_a_baseline_without_error_leaves_nothing_to_gain() -> None:
    measured = np.full(5, 2.0)
    assert skill(measured, measured.copy(), 2.0) == 0.0
    assert skill(measured, np.zeros(5), 2.0) == -np.inf


def test_residual_agrees_with_least_squares() -> None:
    rng = np.random.default_rng(0)
    series, nuisances = rng.standard_normal(60), rng.standard_normal((60, 3)) * [1, 1e-6, 1e6]
    columns = np.column_stack([np.ones(60), nuisances])
    expected = series - columns @ np.linalg.lstsq(columns, series, rcond=None)[0]
    np.testing.assert_allclose(residual(series, nuisances), expected, atol=1e-10)


def test_residual_is_free_of_nuisances_even_if_collinear() -> None:
    rng = np.random.default_rng(0)
    nuisances = rng.standard_normal((60, 3)) + 5
    nuisances[:, 2] = nuisances[:, 0] - 2 * nuisances[:, 1]
    left = residual(rng.standard_normal((4, 60)), np.column_stack([nuisances, np.ones(60)]))
    assert np.abs(left @ nuisances).max() < 1e-10
    assert np.abs(left.sum(axis=1)).max() < 1e-10


def test_what_nuisances_explain_leaves_exact_zeros() -> None:
    nuisances = np.random.default_rng(0).standard_normal((60, 2))
    series = nuisances @ [0.3, -2.0] + 100
    assert not residual(series, nuisances).any()
    assert not residual(series.astype(np.float32).astype(np.float64), nuisances).any()
    assert not residual(np.full(60, 0.1), nuisances).any()


def test_more_nuisances_than_volumes_leave_nothing() -> None:
    rng = np.random.default_rng(0)
    assert not residual(rng.standard_normal(5), rng.standard_normal((5, 9))).any()


def test_nuisances_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="do not go with 5"):
        residual(np.arange(5.0), np.zeros((6, 1)))


def test_standardised_has_mean_0_and_variance_1() -> None:
    z = standardised(np.random.default_rng(0).normal(1e3, 5, size=(2, 40)))
    np.testing.assert_allclose(z.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(z.var(axis=1), 1)


@settings(deadline=None)
@given(n_times=st.integers(1, 65), seed=st.integers(0, 99))
def test_surrogates_keep_the_power_spectrum(n_times: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    series = rng.standard_normal(n_times) + 3
    surrogates = phase_randomised(series, 5, rng)
    assert surrogates.shape == (5, n_times)
    assert surrogates.dtype == np.float64
    power = np.abs(np.fft.rfft(surrogates)) ** 2
    expected = np.broadcast_to(np.abs(np.fft.rfft(series)) ** 2, power.shape)
    np.testing.assert_allclose(power, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n_times", [100, 101])
def test_surrogates_differ_from_the_series_and_each_other(n_times: int) -> None:
    series = autoregressive(np.random.default_rng(0), n_times)
    surrogates = phase_randomised(series, 50, np.random.default_rng(1))
    among = np.abs(np.corrcoef(np.vstack([series, surrogates])) - np.eye(51))
    assert among.max() < 0.9


def test_surrogates_come_from_their_generator_alone() -> None:
    series = np.arange(10.0)
    once, twice = (phase_randomised(series, 3, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(once, twice)


def test_partial_correlation_agrees_with_the_formula() -> None:
    a, b, c = np.random.default_rng(0).standard_normal((3, 80))
    ab, ac, bc = pearson(a, b), pearson(a, c), pearson(b, c)
    expected = (ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2))
    assert partial_correlation(a, b, c[:, None]) == pytest.approx(expected, abs=1e-12)


def test_independent_autocorrelated_courses_pass_at_their_nominal_rate() -> None:
    rng = np.random.default_rng(7)
    pairs = [(autoregressive(rng, 300), autoregressive(rng, 300)) for _ in range(200)]
    plain = np.mean([pearsonr(a, b).pvalue < 0.05 for a, b in pairs])
    tested = np.mean(
        [
            surrogate_test([a], [b], [NO_NUISANCE], n_surrogates=199, seed=i).p <= 0.05
            for i, (a, b) in enumerate(pairs)
        ]
    )
    assert 0.4 < plain < 0.6, "an ordinary p is wrong for half of them"
    assert 0.01 <= tested <= 0.11


def test_taking_nuisances_out_does_not_raise_the_rate_of_false_alarms() -> None:
    # Turning the phases of the residuals' own spectrum passes 11 to 13 % here.
    rng = np.random.default_rng(7)
    p = []
    for seed in range(300):
        runs = [rng_courses(rng, 60) for _ in range(2)]
        measured, predicted, nuisances = zip(*runs, strict=True)
        p.append(surrogate_test(measured, predicted, nuisances, n_surrogates=99, seed=seed).p)
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.09


def rng_courses(rng: np.random.Generator, n: int) -> tuple[Float64, Float64, Float64]:
    motion = np.stack([autoregressive(rng, n, 0.95) for _ in range(6)], axis=1)
    nuisances = np.column_stack([boxcar(n), motion])
    return autoregressive(rng, n), autoregressive(rng, n), nuisances


def test_a_true_relation_is_found_beside_the_task() -> None:
    rng = np.random.default_rng(0)
    measured = [autoregressive(rng, 150) + 5 * boxcar(150) for _ in range(2)]
    predicted = [run + autoregressive(rng, 150) for run in measured]
    test = surrogate_test(measured, predicted, [boxcar(150)[:, None]] * 2)
    assert test.r > 0.4
    assert test.p <= 0.005
    assert (test.n, test.n_surrogates) == (300, 999)


def test_a_prediction_that_is_the_design_has_no_partial_r() -> None:
    design = boxcar(150)
    measured = 3 * design + autoregressive(np.random.default_rng(0), 150)
    predicted = (0.7 * design + 0.1).astype(np.float32).astype(np.float64)
    assert pearson(measured, predicted) > 0.3
    assert partial_correlation(measured, predicted, design[:, None]) == 0.0
    test = surrogate_test([measured], [predicted], [design[:, None]], n_surrogates=99)
    assert (test.r, test.p) == (0.0, 1.0)


def test_a_prediction_of_design_and_noise_is_not_significant() -> None:
    rng = np.random.default_rng(0)
    design = boxcar(150)
    measured = 3 * design + autoregressive(rng, 150)
    test = surrogate_test([measured], [design + 0.1 * rng.normal(size=150)], [design[:, None]])
    assert abs(test.r) < 0.2
    assert test.p > 0.1


def test_p_is_never_zero_and_one_sided() -> None:
    measured = autoregressive(np.random.default_rng(0), 300)
    right = surrogate_test([measured], [measured], [NO_NUISANCE], n_surrogates=99)
    wrong = surrogate_test([measured], [-measured], [NO_NUISANCE], n_surrogates=99)
    assert right.p == 0.01
    assert right.r == pytest.approx(1)
    assert wrong.p == 1.0
    assert wrong.r == pytest.approx(-1)


def test_run_means_and_sizes_make_no_correlation() -> None:
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((2, 2, 300))
    offset = np.array([0.0, 50.0])[:, None]
    none = [NO_NUISANCE] * 2
    plain = surrogate_test(list(noise[0]), list(noise[1]), none, n_surrogates=9)
    moved = surrogate_test(
        list(noise[0] + offset), list((1 + offset) * noise[1] + offset), none, n_surrogates=9
    )
    assert moved.r == pytest.approx(plain.r, abs=1e-9)


def test_a_run_with_a_constant_prediction_counts_as_r_0() -> None:
    rng = np.random.default_rng(1)
    measured = list(rng.standard_normal((2, 300)))
    predicted = [measured[0], np.full(300, 0.1)]
    test = surrogate_test(measured, predicted, [NO_NUISANCE] * 2, n_surrogates=9)
    assert test.r == pytest.approx(0.5)


def test_a_surrogate_test_repeats_itself() -> None:
    measured, predicted = np.random.default_rng(0).standard_normal((2, 300))
    tests = {surrogate_test([measured], [predicted], [NO_NUISANCE], seed=4) for _ in range(2)}
    assert len(tests) == 1


def test_volumes_may_be_missing_at_the_start_only() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 6))
    none = [np.zeros((6, 0))]
    late = np.arange(4, 10)
    surrogate_test([a], [b], none, volumes_by_run=[late], n_surrogates=9)
    with pytest.raises(ValueError, match="volume 6 is followed by 8"):
        surrogate_test([a], [b], none, volumes_by_run=[late + (late > 6)])
    with pytest.raises(ValueError, match="do not go with 6"):
        surrogate_test([a], [b], none, volumes_by_run=[late[1:]])


def test_a_test_without_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        surrogate_test([], [], [])
