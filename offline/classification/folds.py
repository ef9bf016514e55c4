"""Folds of subjects: each class in each fold, each subject in one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from rtfeedback.errors import DatasetError, listed
from rtfeedback.signals import Int64

FOLDS = 5
FEWEST = 3  # folds: one held out, one to choose by, one to fit on
EACH = 2  # subjects of each class in each fold, at least


def subject_folds(labels: Sequence[str], seed: int) -> Int64:
    """Return the fold of each subject, from 0 on.

    Parameters
    ----------
    labels : sequence of str
        Each subject's class.
    seed : int
        Subjects of a class are dealt in an order drawn from it.

    Raises
    ------
    DatasetError
        As `number_of_folds`.
    """
    n_folds = number_of_folds(labels)
    classes, codes = np.unique(labels, return_inverse=True)
    rng, folds, dealt = np.random.default_rng(seed), np.zeros(len(codes), np.int64), 0
    for each in range(len(classes)):
        own = rng.permutation(np.flatnonzero(codes == each))
        folds[own] = (dealt + np.arange(len(own))) % n_folds
        dealt += len(own)
    return folds


def number_of_folds(labels: Sequence[str]) -> int:
    """Return how many folds subjects go into.

    Raises
    ------
    DatasetError
        If there are fewer than two classes, or a class has too few subjects for two in
        each of three folds.
    """
    counts = Counter(labels)
    n_folds = min(FOLDS, min(counts.values()) // EACH)
    if len(counts) < 2 or n_folds < FEWEST:
        raise DatasetError(
            "There are too few subjects to tell groups apart",
            found=listed([f"{counts[name]} of '{name}'" for name in sorted(counts)])
            + f"; {EACH} of a group are needed in each of {FEWEST} folds",
            do=f"Name a column of two groups or more with {FEWEST * EACH} usable subjects of"
            " each; n/a leaves a subject out",
        )
    return n_folds


def permuted(codes: Int64, folds: Int64, rng: np.random.Generator) -> Int64:
    """Return labels permuted within each fold, so that each keeps its number of each class.

    Given the folds, all such labellings are as likely where labels say nothing of subjects.
    """
    found = codes.copy()
    for fold in np.unique(folds):
        own = np.flatnonzero(folds == fold)
        found[own] = codes[rng.permutation(own)]
    return found
