"""Subjects' classes: no one on both sides of a fold, and no labels told out of nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from offline.classification.band_means import BandMeans
from offline.classification.folds import EACH, permuted, subject_folds
from offline.classification.moments import Moments, mean_and_sd
from offline.classification.nested import Logistic, Nested
from offline.classification.pattern import pattern_of
from offline.classification.scores import balanced, subject_scores
from offline.classification.space import Space
from rtfeedback.chain import ChainConfig, ChainSpec
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float64, Int64
from tests.lab import checkpoint_spec

COLUMNS = 40


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Fit as `classify` does: threads that wait for each other take ten times as long."""
    with threadpool_limits(1):
        yield


def subjects(n: int, size: float, seed: int = 0, n_classes: int = 2) -> tuple[Float64, Int64]:
    """Return noise of n subjects, and classes that differ by so many sds in some columns."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % n_classes
    rows = rng.normal(0, 1, (n, COLUMNS))
    for each in range(1, n_classes):
        rows[codes == each, 5 * each : 5 * each + 5] += size
    return rows, codes


@given(st.lists(st.integers(6, 25), min_size=2, max_size=4), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_each_subject_is_held_out_once_and_each_fold_has_each_class(
    counts: list[int], seed: int
) -> None:
    labels = [str(i) for i, n in enumerate(counts) for _ in range(n)]
    folds = subject_folds(labels, seed)
    assert folds.shape == (len(labels),)
    codes = np.array(list(map(int, labels)))
    of_each = np.array([np.bincount(codes[folds == f]) for f in range(folds.max() + 1)])
    assert len(of_each) >= 3
    assert of_each.min() >= EACH
    assert np.ptp(of_each.sum(axis=1)) <= 1
    assert np.ptp(of_each, axis=0).max() <= 1
    other = permuted(codes, folds, np.random.default_rng(seed))
    assert all(
        np.array_equal(np.sort(other[folds == f]), np.sort(codes[folds == f]))
        for f in range(len(of_each))
    )


@pytest.mark.parametrize(
    ("labels", "found"), [("aaaaaabbbbb", "6 of 'a', 5 of 'b'"), ("aaaaaaaa", "8 of 'a'")]
)
def test_too_few_of_a_class_are_refused_with_what_there_is(labels: str, found: str) -> None:
    with pytest.raises(DatasetError, match=found):
        subject_folds(list(labels), 0)


def test_what_differs_is_told_and_no_permutation_does_as_well() -> None:
    rows, codes = subjects(14, 3.0)
    nested = Nested(rows, subject_folds([*map(str, codes)], 0))
    scores = subject_scores(nested, codes, n_permutations=19, seed=0)
    assert scores.balanced_accuracy > 0.8
    assert scores.auc > 0.9
    assert scores.p == 1 / 20
    assert scores.confusion.sum(axis=0).trace() / 14 == pytest.approx(scores.accuracy)


def test_permutations_are_drawn_apart_from_the_folds_that_they_are_within(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, codes = subjects(12, 1.0)
    began = []

    def noted(codes: Int64, folds: Int64, rng: np.random.Generator) -> Int64:
        began.append(rng.bit_generator.state["state"])
        return permuted(codes, folds, rng)

    monkeypatch.setattr("offline.classification.scores.permuted", noted)
    nested = Nested(rows, subject_folds([*map(str, codes)], 4))
    subject_scores(nested, codes, n_permutations=1, seed=4)
    assert began != [np.random.default_rng(4).bit_generator.state["state"]]


def test_of_three_classes_each_is_told() -> None:
    rows, codes = subjects(21, 2.5, n_classes=3)
    nested = Nested(rows, subject_folds([*map(str, codes)], 0))
    scores = subject_scores(nested, codes, n_permutations=1, seed=0)
    assert np.diag(scores.confusion.sum(axis=0)).min() >= 5
    assert pattern_of(nested, codes).shape == (3, COLUMNS)


def test_labels_that_say_nothing_are_told_by_chance() -> None:
    """Permuted within folds: their mean is chance, for rows that do differ by the true ones."""
    rows, codes = subjects(14, 1.5)
    folds = subject_folds([*map(str, codes)], 0)
    nested, rng = Nested(rows, folds), np.random.default_rng(1)
    found = []
    for _ in range(30):
        other = permuted(codes, folds, rng)
        right = nested(other).chosen == other
        found.append(np.mean([right[other == each].mean() for each in (0, 1)]))
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_a_held_out_subject_changes_no_bit_of_what_others_are_told_by() -> None:
    """Poison in half of a fold: the fits' training sides and the fold's others are the same."""
    rows, codes = subjects(18, 1.0)
    folds = subject_folds([*map(str, codes)], 0)
    clean = Nested(rows, folds)
    held = np.flatnonzero(folds == 1)
    poisoned, spared = rows.copy(), held[2:]
    poisoned[held[0]], poisoned[held[1], ::2] = 1e9, np.nan
    other, told = Nested(poisoned, folds), clean(codes)
    found = other(codes)
    assert found.penalties[1] == told.penalties[1]
    np.testing.assert_array_equal(found.probabilities[spared], told.probabilities[spared])
    # The rows are read at all: where they are trained on, another classifier comes of them.
    assert not np.array_equal(found.probabilities[folds == 0], told.probabilities[folds == 0])


def test_components_hold_all_that_the_training_subjects_vary_in() -> None:
    """So a ridge penalty on them is one on the standardised columns."""
    rows, _ = subjects(10, 1.0)
    space = Space(rows)
    assert space.n == 9
    x, z = space(rows), (rows - rows.mean(axis=0)) / rows.std(axis=0) / np.sqrt(COLUMNS)
    np.testing.assert_allclose(x @ x.T, z @ z.T, atol=1e-12)


def test_what_is_constant_but_for_rounding_is_no_component() -> None:
    rows = np.tile(np.linspace(5, 6, COLUMNS), (8, 1)).astype(np.float32).astype(np.float64)
    rows[::2] *= 1 + 1e-7
    space = Space(rows)
    assert space.n == 0
    folds = np.arange(8) // 2 % 4
    codes = np.arange(8) % 2
    told = Nested(rows, folds)(codes)
    np.testing.assert_allclose(told.probabilities, 0.5)
    assert np.all(pattern_of(Nested(rows, folds), codes) == 0)


def test_a_pattern_is_of_what_differs_and_not_of_what_is_cancelled() -> None:
    """A column of noise alone gets a large weight, and no pattern."""
    rng = np.random.default_rng(2)
    codes = np.arange(200) % 2
    noise = rng.normal(0, 1, 200)
    rows = np.column_stack([codes + noise, noise, rng.normal(0, 1, 200)])
    (pattern,) = pattern_of(Nested(rows, codes.cumsum() % 3), codes)
    space = Space(rows)
    weights = Logistic(space(rows), codes, 100.0)
    slopes = weights.decision(space(np.eye(3))) - weights.decision(space(np.zeros((3, 3))))
    assert abs(slopes[1]) > 0.5 * abs(slopes[0])
    assert pattern[0] > 0.3
    assert abs(pattern[1]) < 0.2 * pattern[0]


def test_mean_and_sd_are_over_all_windows_the_sd_within_recordings() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size, 1 + size, (n, 3)) for size, n in ((0, 7), (5, 4))]
    parts[0][2, 1] = np.nan
    parts[0][:, 2] = parts[1][:, 2] = np.nan
    moments = []
    for part in parts:
        moments.append(Moments(3))
        for row in part:
            moments[-1].push(row)
    row = mean_and_sd(moments)
    every = np.concatenate(parts)[:, :2]
    centred = np.concatenate([part[:, :2] - np.nanmean(part[:, :2], axis=0) for part in parts])
    np.testing.assert_allclose(row[:2], np.nanmean(every, axis=0))
    free = np.sum(~np.isnan(centred), axis=0) - 2  # a mean of each recording is taken out
    np.testing.assert_allclose(row[3:5], np.sqrt(np.nansum(centred**2, axis=0) / free))
    assert np.isnan(row[[2, 5]]).all()


def test_short_recordings_have_no_smaller_variance_than_long_ones() -> None:
    """Else groups would be told apart by how long they were recorded."""
    rng = np.random.default_rng(0)
    variances = []
    for lengths in ((2,), (2, 2), (50,)):
        recordings = [Moments(4000) for _ in lengths]
        for each, n in zip(recordings, lengths, strict=True):
            for row in rng.normal(0, 1, (n, 4000)):
                each.push(row)
        variances.append(np.mean(mean_and_sd(recordings)[4000:] ** 2))
    assert variances == pytest.approx([1, 1, 1], abs=0.1)


def test_of_a_column_that_is_known_once_there_is_a_mean_and_no_sd() -> None:
    once = Moments(1)
    once.push(np.array([3.0]))
    np.testing.assert_array_equal(mean_and_sd([once, Moments(1)]), [3.0, np.nan])


def test_an_unknown_feature_is_the_mean_of_the_others() -> None:
    rows, _ = subjects(10, 1.0)
    gap = rows.copy()
    gap[3, 4] = np.nan
    filled = rows.copy()
    filled[3, 4] = np.delete(rows[:, 4], 3).mean()
    np.testing.assert_allclose(Space(gap).filled(gap), filled)


def test_band_means_of_samples_find_a_rhythm_in_its_band_masked_or_not() -> None:
    chain = ChainSpec(config=ChainConfig(band=(1, 40)), channels=("C3", "Cz"), sfreq=250.0)
    n_times = round(4 * chain.rate)
    band_means = BandMeans(chain, n_times)
    times = np.arange(n_times) / chain.rate
    noise = np.random.default_rng(0).normal(0, 1e-7, (2, n_times))
    window = (noise + 1e-5 * np.sin(2 * np.pi * 10.3 * times)).astype(np.float32)
    assert band_means.bands == ((1, 4), (4, 8), (8, 13), (13, 30), (30, 40))
    whole = band_means(window).reshape(2, -1)
    assert (whole.argmax(axis=1) == 2).all()
    window[0, 200:280] = np.nan
    window[1] = np.nan
    masked = band_means(window).reshape(2, -1)
    assert masked[0].argmax() == 2
    assert masked[0, 2] == pytest.approx(whole[0, 2], abs=0.3)
    assert np.isnan(masked[1]).all()


def test_band_means_of_tokens_are_the_tokens_own() -> None:
    chain = checkpoint_spec().chain
    tokens = np.random.default_rng(0).normal(-11, 1, (chain.n_features, 8)).astype(np.float32)
    tokens[2:4, 3] = np.nan
    band_means = BandMeans(chain, 8)
    assert band_means.n == chain.n_features
    np.testing.assert_allclose(band_means(tokens), np.nanmean(tokens.astype(float), axis=1))


def test_balanced_accuracy_weighs_classes_alike() -> None:
    assert balanced(np.array([[8, 2], [1, 1]])) == pytest.approx((0.8 + 0.5) / 2)
