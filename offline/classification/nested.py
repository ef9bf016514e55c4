"""A classifier of subjects, cross-validated by subject, its penalty chosen inside."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from sklearn.linear_model import LogisticRegression

from offline.classification.space import Space
from rtfeedback.signals import Bool, Float64, Int64

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)  # sklearn's C: the first is the strongest
ITERATIONS = 10_000
LEAST = 1e-12  # probability: the logarithm of none is none


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of each subject by a classifier that had not seen it.

    Attributes
    ----------
    probabilities : float64, shape (n_subjects, n_classes)
    chosen : int64, shape (n_subjects,)
        The class of the largest.
    penalties : tuple of float
        C of each fold, chosen within its training part.
    """

    probabilities: Float64
    chosen: Int64
    penalties: tuple[float, ...]


class Nested:
    """Logistic regression in folds of subjects.

    A fold is held out; of the others each in turn, to choose the penalty by the likelihood
    of its labels, all classes weighing alike. The space of every training part is fitted
    once: it depends on no label, so permuted labels go through the same.

    Parameters
    ----------
    rows : float64, shape (n_subjects, n_columns)
    folds : int64, shape (n_subjects,)
        From 0 on, three at least.
    """

    def __init__(self, rows: Float64, folds: Int64) -> None:
        self.rows, self.folds = rows, folds
        every = range(int(folds.max()) + 1)
        self._outer = [_Part(rows, folds, (k,)) for k in every]
        self._inner = {pair: _Part(rows, folds, pair) for pair in combinations(every, 2)}

    def __call__(self, codes: Int64) -> Told:
        """Return what is told of each subject where their classes are these, from 0 on."""
        inner = self._scores_inside(codes)
        probabilities = np.empty((len(codes), int(codes.max()) + 1))
        penalties = []
        for part, scores in zip(self._outer, inner, strict=True):
            best = PENALTIES[int(np.argmax(scores))]  # of equals the strongest
            probabilities[part.held] = part.fit(codes, best)
            penalties.append(best)
        return Told(probabilities, probabilities.argmax(axis=1), tuple(penalties))

    def penalty_of_all(self, codes: Int64) -> float:
        """Return the penalty that tells each fold best from all the others."""
        scores = np.zeros(len(PENALTIES))
        for part in self._outer:
            for i, penalty in enumerate(PENALTIES):
                scores[i] += _likelihood(part.fit(codes, penalty), codes[part.held])
        return PENALTIES[int(np.argmax(scores))]

    def _scores_inside(self, codes: Int64) -> Float64:
        """Return the likelihood of each penalty inside each fold's training part."""
        scores = np.zeros((len(self._outer), len(PENALTIES)))
        for pair, part in self._inner.items():
            for i, penalty in enumerate(PENALTIES):
                told = part.fit(codes, penalty)
                # With k held out, l is what is chosen by, and the other way round.
                for k, chosen_by in (pair, pair[::-1]):
                    own = self.folds[part.held] == chosen_by
                    scores[k, i] += _likelihood(told[own], codes[part.held][own])
        return scores


class _Part:
    """The subjects of all folds but some, and those that are left out."""

    def __init__(self, rows: Float64, folds: Int64, out: tuple[int, ...]) -> None:
        self.held: Bool = np.isin(folds, out)
        space = Space(rows[~self.held])
        self._train, self._test = space(rows[~self.held]), space(rows[self.held])

    def fit(self, codes: Int64, penalty: float) -> Float64:
        """Return the probabilities of those left out, by a fit to the others."""
        return Logistic(self._train, codes[~self.held], penalty)(self._test)


class Logistic:
    """A fitted logistic regression, all classes weighing alike."""

    def __init__(self, x: Float64, codes: Int64, penalty: float) -> None:
        self._model = LogisticRegression(
            C=penalty, class_weight="balanced", max_iter=ITERATIONS
        )
        self._model.fit(_some(x), codes)

    def __call__(self, x: Float64) -> Float64:
        """Return the probability of each class, shape (n_subjects, n_classes)."""
        return np.asarray(self._model.predict_proba(_some(x)))

    def decision(self, x: Float64) -> Float64:
        """Return each class's score, shape (n_subjects, n); of two classes the second's."""
        return np.asarray(self._model.decision_function(_some(x))).reshape(len(x), -1)


def _some(x: Float64) -> Float64:
    """Return what has a column at least: subjects that are all alike vary in nothing."""
    return x if x.shape[1] else np.zeros((len(x), 1))


def _likelihood(probabilities: Float64, codes: Int64) -> float:
    """Return the mean logarithm of what was true, of each class alike."""
    own = np.log(np.maximum(probabilities[np.arange(len(codes)), codes], LEAST))
    return float(np.mean([own[codes == each].mean() for each in np.unique(codes)]))
