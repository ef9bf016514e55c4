"""What of the predictions goes with a classifier's decision: its pattern, not its weights."""

from __future__ import annotations

import numpy as np

from offline.classification.nested import Logistic, Nested
from offline.classification.space import Space
from rtfeedback.signals import Float64, Int64


def pattern_of(nested: Nested, codes: Int64) -> Float64:
    """Return how each column differs for one sd of the decision.

    A classifier's weights also cancel what it does not want, and are no picture of what
    differs; the covariance of each column with the decision is [1]_. It is of one fit to
    all subjects, with the penalty that tells folds best.

    Parameters
    ----------
    nested : Nested
    codes : int64, shape (n_subjects,)
        Classes from 0 on.

    Returns
    -------
    float64, shape (n_patterns, n_columns)
        In the columns' units. Of two classes one pattern, towards the second; of more
        one of each class against the rest. Zeros where the decision does not vary.

    References
    ----------
    .. [1] Haufe et al. 2014, NeuroImage 87:96, doi:10.1016/j.neuroimage.2013.10.067.
    """
    space = Space(nested.rows)
    x = space(nested.rows)
    decision = Logistic(x, codes, nested.penalty_of_all(codes)).decision(x)
    decision = decision - decision.mean(axis=0)
    size = np.sqrt(np.mean(decision**2, axis=0))
    rows = space.filled(nested.rows)
    covariance = decision.T @ (rows - rows.mean(axis=0)) / len(rows)
    varies = size > 1e-12
    return np.where(varies[:, None], covariance / np.where(varies, size, 1.0)[:, None], 0.0)
