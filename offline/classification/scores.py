"""How well subjects' classes were told, and how often permuted ones are told as well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from offline.classification.folds import permuted
from offline.classification.nested import Nested, Told
from offline.progress import progress
from rtfeedback.signals import Float64, Int64

PERMUTING = 1  # beside the seed: no draw of the folds' is one of a permutation's
TIE = 1e-9  # of a balanced accuracy: no two that differ are as near


@dataclass(frozen=True, slots=True)
class SubjectScores:
    """One decision for each subject, all of them held out once.

    Attributes
    ----------
    told : Told
    confusion : int64, shape (n_folds, n_classes, n_classes)
        Subjects of each fold, by their class (row) and by what was told (column).
    accuracy, balanced_accuracy : float
        Over all subjects: the share that is right, and its mean over the classes.
    auc : float
        Mean over folds, whose classifiers differ, of the area under each one's ROC; of
        more than two classes the mean of each against the rest.
    p : float
        One-sided, of the balanced accuracy: at least 1 / (1 + n_permutations).
    n_permutations : int
    """

    told: Told
    confusion: Int64
    accuracy: float
    balanced_accuracy: float
    auc: float
    p: float
    n_permutations: int


def subject_scores(
    nested: Nested,
    codes: Int64,
    n_permutations: int,
    seed: int,
    title: str = "Permutations",
) -> SubjectScores:
    """Score a classifier, and against chance.

    Labels are permuted within folds, and all that depends on them is fitted anew: penalty
    and weights. The observed labels count as one of the draws, hence p > 0 [1]_.

    Parameters
    ----------
    nested : Nested
    codes : int64, shape (n_subjects,)
        Classes from 0 on.
    n_permutations, seed : int
    title : str
        Of the bar.

    References
    ----------
    .. [1] Ojala & Garriga 2010, JMLR 11:1833; Phipson & Smyth 2010, doi:10.2202/1544-6115.1585.
    """
    rng = np.random.default_rng([seed, PERMUTING])
    told = nested(codes)
    confusion = _confusion(told, codes, nested.folds)
    reached, above = balanced(confusion.sum(axis=0)), 0
    for _ in progress(range(n_permutations), title):
        other = permuted(codes, nested.folds, rng)
        found = _confusion(nested(other), other, nested.folds)
        above += balanced(found.sum(axis=0)) >= reached - TIE
    return SubjectScores(
        told=told,
        confusion=confusion,
        accuracy=float(np.mean(told.chosen == codes)),
        balanced_accuracy=reached,
        auc=_auc(told, codes, nested.folds),
        p=(1 + above) / (1 + n_permutations),
        n_permutations=n_permutations,
    )


def balanced(confusion: Int64) -> float:
    """Return the balanced accuracy of a confusion matrix without empty rows."""
    return float(np.mean(np.diag(confusion) / confusion.sum(axis=1)))


def _confusion(told: Told, codes: Int64, folds: Int64) -> Int64:
    n = told.probabilities.shape[1]
    found = np.zeros((int(folds.max()) + 1, n, n), np.int64)
    np.add.at(found, (folds, codes, told.chosen), 1)
    return found


def _auc(told: Told, codes: Int64, folds: Int64) -> float:
    """Return the mean over folds and classes; of two classes both say the same."""
    areas: list[float] = []
    for fold in np.unique(folds):
        own = folds == fold
        by_class: Float64 = told.probabilities[own].T
        areas += [roc_auc_score(codes[own] == i, of) for i, of in enumerate(by_class)]
    return float(np.mean(areas))
