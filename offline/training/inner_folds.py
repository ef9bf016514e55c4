"""What is held out inside the training part, to choose a penalty by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from offline.splits.blocks import BESIDE
from offline.store.examples import Examples
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool


def inner_folds(train: Examples) -> Iterator[tuple[Bool, Bool]]:
    """Yield which windows are held out and which are fitted on, each of shape (n,).

    Runs are held out, or blocks where there is but one run; windows that overlap a block
    that is held out, or that BOLD's response to it reaches, are in neither.

    Raises
    ------
    DatasetError
        If what is left of a lone run beside a held-out block is nothing.
    """
    folds = train.folds()
    for fold in np.unique(folds):
        held = folds == fold
        kept = ~held & ~_beside(held, train)
        if not kept.any():
            raise DatasetError(
                "There is too little to train on to choose a penalty by",
                found=f"{len(train)} windows of one run, all within {_gap(train):g} s of a"
                " block that is held out",
                do="Train on two runs or more, or on a longer one",
            )
        yield held, kept


def _beside(held: Bool, train: Examples) -> Bool:
    """Tell which windows of the held-out block's own run are too near to it."""
    times, gap = train.times[held], _gap(train)
    near = (train.times > times.min() - gap) & (train.times < times.max() + gap)
    return np.asarray(near & np.isin(train.run, train.run[held]))


def _gap(train: Examples) -> float:
    return train.n_times / train.rate + BESIDE
