"""Scores of predicted against measured courses: pure functions on float64 arrays.

Knows nothing of files, runs on disk, models or what is a baseline: it is handed arrays.
"""

from __future__ import annotations

import numpy as np

from rtfeedback.signals import Float64

ROUNDING = 1e-12  # of a series' size: what is smaller once the mean is out is rounding
EXPLAINED = 1e-6  # of a series' size: less is what float32 rounds a prediction by
RANK = 1e-10  # of the largest singular value: nuisances below it say nothing new


def standardised(series: Float64) -> Float64:
    """Return series of mean 0 and variance 1, or of zeros where they are constant.

    Parameters
    ----------
    series : float64, shape (n_times,) or (n_series, n_times)
        In any unit. All finite.

    Returns
    -------
    z : float64, shape of `series`
        Without unit.
    """
    centred = _centred(series)
    size = _norm(centred) / np.sqrt(series.shape[-1])
    return centred / np.where(size > 0.0, size, 1.0)


def pearson(a: Float64, b: Float64) -> float:
    """Return the correlation of two series, 0 where either is constant.

    The correlation with a constant is undefined. It is given as 0, because a constant
    prediction says nothing of the course, and so that no NaN can reach a report.

    Parameters
    ----------
    a, b : float64, shape (n_times,)
        In any unit. All finite.
    """
    check_pair(a, b)
    return float(np.dot(standardised(a), standardised(b)) / len(a))


def skill(measured: Float64, predicted: Float64, baseline: Float64 | float) -> float:
    """Return 1 - MSE / MSE of the baseline: 1 is perfect, 0 as good as the baseline.

    Where the baseline makes no error at all (a measured course that is constant), there
    is nothing to gain: 0 for a prediction as exact, minus infinity for any other.

    Parameters
    ----------
    measured, predicted : float64, shape (n_times,)
        In the same unit. All finite.
    baseline : float64, shape (n_times,), or float
        What the baseline predicts; a number is predicted throughout.
    """
    check_pair(measured, predicted)
    reference = np.broadcast_to(np.asarray(baseline, np.float64), measured.shape)
    check_pair(measured, reference)
    error = float(np.mean((measured - predicted) ** 2))
    baseline_error = float(np.mean((measured - reference) ** 2))
    if baseline_error == 0.0:
        return 0.0 if error == 0.0 else -float("inf")
    return 1.0 - error / baseline_error


def r2(measured: Float64, predicted: Float64, mean: float) -> float:
    """Return 1 - SSE / SST, with SST about a mean that was known beforehand.

    The usual R2 takes the mean of the measured course itself, which no deployed model
    knows; `mean` is the training part's. It is the skill against that mean.

    Parameters
    ----------
    measured, predicted : float64, shape (n_times,)
        In the same unit. All finite.
    mean : float
        The baseline, in that unit.
    """
    return skill(measured, predicted, mean)


def residual(series: Float64, nuisances: Float64) -> Float64:
    """Return what intercept and nuisances leave of a series, by least squares.

    A series that they explain but for rounding leaves exact zeros: rounding, scaled up
    to unit variance, would look like a course.

    Parameters
    ----------
    series : float64, shape (n_times,) or (n_series, n_times)
        In any unit. All finite.
    nuisances : float64, shape (n_times, n_nuisances)
        In any units, with any number of columns, none included; they may be collinear.

    Returns
    -------
    residual : float64, shape of `series`
        In its unit; each one's mean is 0.
    """
    centred = _centred(series)
    basis = nuisance_basis(nuisances, series.shape[-1])
    left = centred - (centred @ basis) @ basis.T
    return np.where(_norm(left) <= EXPLAINED * _norm(series), 0.0, left)


def partial_correlation(measured: Float64, predicted: Float64, nuisances: Float64) -> float:
    """Return the correlation that is left once the nuisances are out of both series.

    Parameters
    ----------
    measured, predicted : float64, shape (n_times,)
        In any unit. All finite.
    nuisances : float64, shape (n_times, n_nuisances)
        Such as task design and motion.

    Returns
    -------
    r : float
        0 where the nuisances explain either series.
    """
    check_pair(measured, predicted)
    return pearson(residual(measured, nuisances), residual(predicted, nuisances))


def _norm(series: Float64) -> Float64:
    return np.asarray(np.linalg.norm(series, axis=-1, keepdims=True), np.float64)


def _centred(series: Float64) -> Float64:
    """Return series less their means, exact zeros where that leaves but rounding."""
    check_finite(series)
    centred = series - series.mean(axis=-1, keepdims=True)
    return np.where(_norm(centred) <= ROUNDING * _norm(series), 0.0, centred)


def nuisance_basis(nuisances: Float64, n_times: int) -> Float64:
    """Return an orthonormal basis of the centred nuisances, shape (n_times, rank)."""
    if nuisances.ndim != 2 or len(nuisances) != n_times:
        raise ValueError(f"{nuisances.shape} nuisances do not go with {n_times} volumes")
    # Unit variance first, or the rank would hang on whether motion is in mm or in metres.
    columns = standardised(nuisances.T).T
    if columns.shape[1] == 0:
        return np.zeros((n_times, 0))
    left, values, _ = np.linalg.svd(columns, full_matrices=False)
    return np.ascontiguousarray(left[:, values > RANK * max(values[0], 1.0)])


def check_finite(series: Float64) -> None:
    """Refuse a course that is empty, or holds NaN or infinity."""
    if series.shape[-1] == 0 or not np.isfinite(series).all():
        raise ValueError("a course is empty or holds NaN or infinity")


def check_pair(a: Float64, b: Float64) -> None:
    """Refuse two courses that do not go together."""
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"courses of shape {a.shape} and {b.shape} do not go together")
    check_finite(a)
    check_finite(b)
