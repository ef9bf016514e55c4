"""Windows with their targets, gathered out of a store when they are asked for.

Those that the daemon would call invalid for their artefacts are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from offline.dataset import Examples as RunExamples
from offline.dataset import Store, window_at
from rtfeedback.artefacts import ArtefactRule
from rtfeedback.checkpoint import Target
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float32, Float64, Int64
from rtfeedback.windows import WindowSpec

N_BLOCKS = 5  # parts of a lone training run, for cross-validation inside it


class Examples:
    """The windows of some runs, in their order.

    Parameters
    ----------
    store : Store
    runs : sequence of str
    chain : str
        Which chain's features.
    window : WindowSpec

    Attributes
    ----------
    targets : float64, shape (n, n_targets)
        In the targets' unit.
    run : int64, shape (n,)
        Which of the runs each window is from.
    volumes : int64, shape (n,)
    times : float64, shape (n,)
        When each window ends, in seconds of its run's features.
    left_out : int
        How many windows hold too much that is masked as artefacts.

    Raises
    ------
    DatasetError
        If a run is too short for one window, or has none without too many artefacts.
    """

    def __init__(
        self, store: Store, runs: Sequence[str], chain: str, window: WindowSpec
    ) -> None:
        spec = store.chain(chain)
        self.rate = spec.rate
        self.n_times = window.n_times(self.rate)
        self._rule = ArtefactRule(spec, window)
        self._features = [store.runs[name].features(chain) for name in runs]
        found = []
        for name, rows in zip(runs, self._features, strict=True):
            examples = store.runs[name].examples(chain, window)
            _check_any(
                name,
                examples,
                f"{len(rows)} settled rows of '{chain}', where a window"
                f" of {window.length:g} s takes {self.n_times}",
            )
            found.append(examples)
        self.left_out = int(sum(np.sum(~each.allowed) for each in found))
        volumes = [each.volumes[each.allowed] for each in found]
        self.run = np.repeat(np.arange(len(runs)), [len(each) for each in volumes])
        self.volumes: Int64 = np.concatenate(volumes)
        self._ends: Int64 = np.concatenate([each.ends[each.allowed] for each in found])
        self.times: Float64 = self._ends / self.rate
        self.targets: Float64 = np.concatenate(
            [store.runs[n].targets[each] for n, each in zip(runs, volumes, strict=True)]
        )

    def __len__(self) -> int:
        return len(self._ends)

    def gather(self, which: Int64) -> Float32:
        """Return windows, shape (n, n_features, n_times)."""
        return np.stack(
            [window_at(self._features[self.run[i]], self._ends[i], self.n_times) for i in which]
        )

    def shifted(self, which: Int64, shift: Int64, z: Float64) -> tuple[Float32, Float64]:
        """Return windows that end some rows later, and their targets between volumes.

        Parameters
        ----------
        which, shift : int64, shape (n,)
            A shift to before the first or after the last window of its run, where
            there is no target to interpolate, is left out; so is one between volumes of
            which one was left out, or to a window that holds too many artefacts.
        z : float64, shape (n_windows, n_targets)
            The targets of all windows.

        Returns
        -------
        x : float32, shape (n, n_features, n_times)
        y : float64, shape (n, n_targets)
            Interpolated linearly in time.
        """
        x, y = [], []
        for i, rows in zip(which, shift, strict=True):
            end = self._shifted_end(int(i), int(rows))
            first, last = np.searchsorted(self.run, [self.run[i], self.run[i] + 1])
            x.append(window_at(self._features[self.run[i]], end, self.n_times))
            y.append(_interpolate(end, self._ends[first:last], z[first:last]))
        return np.stack(x), np.stack(y)

    def _shifted_end(self, i: int, rows: int) -> int:
        """Return where a window ends that is shifted, or where it did if it cannot be."""
        own, end = int(self._ends[i]), int(self._ends[i] + rows)
        first, last = np.searchsorted(self.run, [self.run[i], self.run[i] + 1])
        ends, volumes = self._ends[first:last], self.volumes[first:last]
        if not ends[0] <= end <= ends[-1]:
            return own
        j = int(np.searchsorted(ends, end))
        if ends[j] != end and volumes[j] - volumes[j - 1] > 1 and self.left_out:
            return own
        features = self._features[self.run[i]]
        allowed = self._rule.allows(features[end + 1 - self.n_times : end + 1].T)
        return end if allowed else own

    def z(self, targets: Sequence[Target]) -> Float64:
        """Return the targets as z by their statistics, shape (n, n_targets)."""
        means, sds = np.array([(t.mean, t.sd) for t in targets]).T
        return np.asarray((self.targets - means) / sds)

    def statistics(self) -> tuple[Float64, Float64]:
        """Return mean and sd of each feature over all rows of the runs that are not masked.

        A feature that never changes, or is always masked, gets an sd of 1.
        """
        n = sum(np.sum(~np.isnan(rows), axis=0) for rows in self._features)
        n = np.maximum(n, 1)
        mean = sum(np.nansum(rows, axis=0, dtype=np.float64) for rows in self._features) / n
        square = sum(np.nansum((rows - mean) ** 2, axis=0) for rows in self._features) / n
        sd = np.sqrt(square)
        return np.asarray(mean), np.where(sd > 0, sd, 1.0)

    def folds(self) -> Int64:
        """Return the fold of each window: its run, or blocks where there is one run only."""
        if self.run[-1] > 0:
            return self.run
        return np.arange(len(self)) * N_BLOCKS // len(self)


def _check_any(name: str, examples: RunExamples, rows: str) -> None:
    if len(examples.volumes) == 0:
        raise DatasetError(
            f"The run {name} is too short for one window",
            found=rows,
            do="Shorten the window, or leave the run out",
        )
    if not examples.allowed.any():
        raise DatasetError(
            f"No window of the run {name} is free enough of artefacts",
            found=f"All {len(examples.volumes)} hold more that is masked than the chain's"
            " recipe allows",
            do="Look at its EEG and leave the run out, or loosen [artefacts] and prepare again",
        )


def _interpolate(end: int, ends: Int64, z: Float64) -> Float64:
    """Return the row of z at one of the ends, or between two of them."""
    j = int(np.searchsorted(ends, end))
    if ends[j] == end:
        return np.asarray(z[j])
    share = (end - ends[j - 1]) / (ends[j] - ends[j - 1])
    return np.asarray((1 - share) * z[j - 1] + share * z[j])
