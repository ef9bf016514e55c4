"""Which windows are compared: the validation part's, two of a run at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offline.splits.blocks import Part
from offline.store.aims import Aims
from offline.store.dataset import Run, Store
from offline.store.examples import Examples
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float64, Int64


@dataclass(frozen=True, slots=True)
class Pairs:
    """Windows of the same run, two by two.

    Attributes
    ----------
    first, second : int64, shape (n_pairs,)
        Which of some examples they are.
    """

    first: Int64
    second: Int64

    def __len__(self) -> int:
        return len(self.first)

    @property
    def windows(self) -> Int64:
        """Every window that is in a pair, once."""
        return np.unique(np.concatenate([self.first, self.second]))


def windows_of(spec: CheckpointSpec, store: Store, part: Part) -> Examples:
    """Return the windows that were a part of a checkpoint's training.

    Raises
    ------
    DatasetError
        If the part has none.
    """
    names: tuple[str, ...] = getattr(spec.training, part)
    cut = spec.training.volumes
    if not names or (cut and not any(cut[part].values())):
        raise DatasetError(
            f"The checkpoint has no {part} part to explain it by",
            found="Nothing was held out but the test part, which only 'evaluate' reads",
            do="Train with [split] validation = 1",
        )

    def holds(run: Run, volumes: Int64, times: Float64) -> Bool:
        return np.isin(volumes, cut[part][run.name])

    aims = Aims.of_targets(spec.targets, of_task=spec.model.of_task)
    chain, window = spec.model.chain, spec.window
    return Examples(store, names, chain, window, holds if cut else None, aims)


def pairs_of(examples: Examples, n: int) -> Pairs:
    """Draw pairs of windows, each of one run: what differs between runs is no answer.

    The same examples give the same pairs. None is drawn twice, so there are fewer than `n`
    where the windows are few.

    Raises
    ------
    DatasetError
        If no run has two windows.
    """
    rng = np.random.default_rng(0)
    run = examples.run
    drawn = rng.integers(0, len(run), (8 * n, 2))
    drawn = drawn[(run[drawn[:, 0]] == run[drawn[:, 1]]) & (drawn[:, 0] != drawn[:, 1])]
    _, at = np.unique(np.sort(drawn, axis=1), axis=0, return_index=True)
    kept = drawn[np.sort(at)][:n]
    if len(kept) == 0:
        raise DatasetError(
            "No two windows of a validation run can be compared",
            found=f"{len(run)} windows of {len(examples.runs)} runs",
            do="Hold out longer runs, or shorten the window",
        )
    return Pairs(kept[:, 0], kept[:, 1])
