"""Scores of classes against scikit-learn's, and chance against what is known of it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import signal
from sklearn import metrics as sklearn

from offline.evaluation.class_scores import (
    _blocks_permuted,
    balanced_accuracy,
    class_scores,
    confusion,
)
from rtfeedback.signals import Int64


def classes(n: int, n_classes: int, seed: int) -> Int64:
    return np.random.default_rng(seed).integers(0, n_classes, n)


def slow_classes(n: int, rng: np.random.Generator) -> Int64:
    """Return classes whose neighbours are alike, as those of BOLD are."""
    course = signal.lfilter([1.0], [1.0, -0.95], rng.normal(0, 1, n + 99))[99:]
    return np.asarray(course > np.median(course), dtype=np.int64)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_the_scores_are_sklearns(n_classes: int) -> None:
    measured = [classes(40, n_classes, 0), classes(30, n_classes, 1)]
    predicted = [np.where(np.arange(len(m)) % 3 > 0, m, (m + 1) % n_classes) for m in measured]
    scores = class_scores(measured, predicted, n_classes=n_classes, block=5, n_permutations=9)
    y, told = np.concatenate(measured), np.concatenate(predicted)
    assert np.array_equal(scores.confusion, sklearn.confusion_matrix(y, told))
    assert scores.accuracy == pytest.approx(sklearn.accuracy_score(y, told))
    assert scores.balanced_accuracy == pytest.approx(sklearn.balanced_accuracy_score(y, told))
    of_class = sklearn.precision_recall_fscore_support(y, told)
    assert np.allclose([scores.precision, scores.recall, scores.f1], of_class[:3])


def test_a_class_that_never_comes_counts_in_nothing() -> None:
    counts = confusion(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]), 3)
    assert counts.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert balanced_accuracy(counts) == 0.75


def test_what_is_told_rightly_is_no_chance_and_a_constant_is() -> None:
    measured = [slow_classes(100, np.random.default_rng(seed)) for seed in range(3)]
    right = class_scores(measured, measured, n_classes=2, block=15, n_permutations=199)
    assert (right.balanced_accuracy, right.p) == (1.0, 1 / 200)
    constant = [np.zeros_like(each) for each in measured]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = class_scores(measured, constant, n_classes=2, block=15, n_permutations=199)
    assert (said.balanced_accuracy, said.p) == (0.5, 1.0)
    assert said.f1[1] == 0.0


@pytest.mark.parametrize(("block", "least", "most"), [(20, 0.0, 0.11), (1, 0.15, 0.4)])
def test_blocks_keep_false_alarms_rare_where_volumes_do_not(
    block: int, least: float, most: float
) -> None:
    rng, alarms = np.random.default_rng(5), []
    for _ in range(150):
        runs = [[slow_classes(100, rng) for _ in range(2)] for _ in range(2)]
        scores = class_scores(*runs, n_classes=2, block=block, n_permutations=19)
        alarms.append(scores.p <= 0.05)
    assert least < np.mean(alarms) < most


def test_blocks_are_moved_whole_and_nothing_is_lost() -> None:
    rng = np.random.default_rng(0)
    for n, block in ((20, 5), (23, 5), (11, 10)):
        order = _blocks_permuted(n, block, rng)
        assert sorted(order) == list(range(n))
        n_blocks = -(-n // block)
        assert np.sum(np.diff(order) % n != 1) <= n_blocks - 1


def test_the_same_seed_gives_the_same_p() -> None:
    runs = [classes(50, 2, 0)], [classes(50, 2, 1)]
    p = [class_scores(*runs, n_classes=2, block=5, seed=seed).p for seed in (1, 1, 2)]
    assert p[0] == p[1] != p[2]


@pytest.mark.parametrize(
    ("measured", "predicted", "message"),
    [
        ([[0, 1, 0]], [[0, 1]], "do not go together"),
        ([], [], "there are none"),
        ([[0, 2, 0]], [[0, 1, 0]], "from 0 to 1"),
        ([[0, 1]], [[0, 1]], "two blocks"),
    ],
)
def test_what_does_not_go_together_is_refused(
    measured: list[list[int]], predicted: list[list[int]], message: str
) -> None:
    runs = ([np.array(each) for each in runs] for runs in (measured, predicted))
    with pytest.raises(ValueError, match=message):
        class_scores(*runs, n_classes=2, block=2)
