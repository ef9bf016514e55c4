"""Windows with their targets, gathered out of a store when they are asked for.

Those that the daemon would call invalid for their artefacts are left out, and so are those
of volumes that have no target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from offline.store.aims import Aims
from offline.store.dataset import Examples as RunExamples
from offline.store.dataset import Run, Store, window_at
from rtfeedback.artefacts import ArtefactRule
from rtfeedback.checkpoint import Target
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float32, Float64, Int64
from rtfeedback.windows import WindowSpec

N_BLOCKS = 5  # parts of a lone training run, for cross-validation inside it
FAR = 2**40  # rows: no run is so long, so ends of different stretches never mix

Holds = Callable[[Run, Int64, Float64], Bool]
"""Tells which windows of a run are wanted, by their volumes and the times of those."""


@dataclass(frozen=True, slots=True)
class Shifted:
    """Windows that end some rows later than those of volumes.

    Attributes
    ----------
    run, ends : int64, shape (n,)
        Which of the runs each is from, and the row of its newest sample.
    before, after : int64, shape (n,)
        The windows of volumes between which each ends: twice the same, where it is one.
    share : float64, shape (n,)
        How far it is on its way from the one to the other.
    """

    run: Int64
    ends: Int64
    before: Int64
    after: Int64
    share: Float64

    def between(self, z: Float64) -> Float64:
        """Return the row of z, shape (n_windows, n), at each end, interpolated in time."""
        share, after = self.share[:, None], z[self.after]
        between = (1 - share) * z[self.before] + share * after
        return np.asarray(np.where(share == 1, after, between))


class Examples:
    """The windows of some runs, in their order.

    Parameters
    ----------
    store : Store
    runs : sequence of str
    chain : str
        Which chain's features.
    window : WindowSpec
    holds : callable, optional
        Where a split cuts runs: which windows belong to the part. A run without any is
        passed over.
    aims : Aims, optional
        What is to be predicted; all of the store's targets without.

    Attributes
    ----------
    runs : list of Run
        Those that windows are from.
    targets : float64, shape (n, n_targets)
        In the targets' unit.
    run : int64, shape (n,)
        Which of the runs each window is from.
    volumes : int64, shape (n,)
    ends : int64, shape (n,)
        Row of each window's newest sample in its run's features.
    times : float64, shape (n,)
        When each window ends, in seconds of its run's features.
    left_out : int
        How many windows hold too much that is masked as artefacts.
    without_target : int
        How many of the others have no target, as volumes that were scrubbed.

    Raises
    ------
    DatasetError
        If a run is too short for one window, or has none without too many artefacts, or
        no run has a window that is wanted.
    """

    def __init__(
        self,
        store: Store,
        runs: Sequence[str],
        chain: str,
        window: WindowSpec,
        holds: Holds | None = None,
        aims: Aims | None = None,
    ) -> None:
        spec = store.chain(chain)
        self.chain, self.rate = chain, spec.rate
        self.n_times = window.n_times(self.rate)
        self.runs: list[Run] = []
        self._openers: list[Callable[[], Float32]] = []
        self._aims = aims
        self._rule, self._cut = ArtefactRule(spec, window), holds is not None
        self.left_out = self.without_target = 0
        found: list[_Found] = []
        for run in (store.runs[name] for name in runs):
            each = self._find(run, window, holds)
            if len(each.volumes):
                self.runs.append(run)
                self._openers.append(_opener(run.features(chain)))
                found.append(each)
        if not found:
            raise DatasetError(
                "No window is left for a part of the split",
                found=f"In {len(runs)} runs, {self.left_out} windows hold too many artefacts"
                f" and {self.without_target} have no target",
                do="Cut runs into fewer blocks, shorten the window, or record longer runs",
            )
        self.run = np.repeat(np.arange(len(found)), [len(each.volumes) for each in found])
        self.volumes: Int64 = np.concatenate([each.volumes for each in found])
        self.ends: Int64 = np.concatenate([each.ends for each in found])
        self.times: Float64 = self.ends / self.rate
        self.targets: Float64 = np.concatenate([each.targets for each in found])
        begins = np.concatenate([each.begins for each in found])
        self._stretch = np.cumsum(begins) - 1  # windows between which a shift may end
        self._first = np.flatnonzero(begins)
        self._last = np.append(self._first[1:], len(self)) - 1

    def __len__(self) -> int:
        return len(self.ends)

    def _find(self, run: Run, window: WindowSpec, holds: Holds | None) -> _Found:
        """Return the windows of a run that may be used, and count those that may not."""
        examples = run.examples(self.chain, window)
        _check_any(run, examples, self.chain, window, self.n_times)
        held = np.ones(len(examples.volumes), dtype=np.bool_)
        if holds is not None:
            times = run.stamps(self.chain)[examples.ends] + window.lead
            held = holds(run, examples.volumes, times)
        courses = self._aims.courses(run) if self._aims else run.targets
        targets = courses[examples.volumes]
        known = np.isfinite(targets).all(axis=1)
        kept = held & examples.allowed & known
        self.left_out += int(np.sum(held & ~examples.allowed))
        self.without_target += int(np.sum(held & examples.allowed & ~known))
        # A stretch goes on over what is left out, and ends where another part begins.
        stretch = np.cumsum(np.diff(held, prepend=held[:1]))[kept]
        return _Found(
            volumes=examples.volumes[kept],
            ends=examples.ends[kept],
            targets=targets[kept],
            begins=np.diff(stretch, prepend=-1) != 0,
        )

    def gather(self, which: Int64) -> Float32:
        """Return windows, shape (n, n_features, n_times)."""
        features = {i: self.features(i) for i in np.unique(self.run[which])}
        return np.stack(
            [window_at(features[self.run[i]], self.ends[i], self.n_times) for i in which]
        )

    def features(self, i: int) -> Float32:
        """Return the features of the i-th run: a memory map, to be let go of soon.

        What of a map has been read counts as memory of the process while it is open.
        """
        return self._openers[i]()

    def shift(self, which: Int64, shift: Int64) -> Shifted:
        """Return where windows end that end some rows later, and between which volumes.

        Parameters
        ----------
        which, shift : int64, shape (n,)
            A shift to before the first or after the last window of its run, or of its
            stretch where a split cuts the run, has no target to interpolate and is left
            out; so is one between volumes of which one was left out, or to a window that
            holds too many artefacts.
        """
        run, own, stretch = self.run[which], self.ends[which], self._stretch[which]
        ends = own + shift
        first, last = self.ends[self._first[stretch]], self.ends[self._last[stretch]]
        ends = np.where((first <= ends) & (ends <= last), ends, own)
        j = self._at_or_after(stretch, ends)
        missing = (self.ends[j] != ends) & (self.volumes[j] - self.volumes[j - 1] > 1)
        if self.left_out or self.without_target:
            ends = np.where(missing, own, ends)
        if self._rule.judges:
            moved = np.flatnonzero(ends != own)
            allowed = self._allowed(run[moved], ends[moved])
            ends[moved] = np.where(allowed, ends[moved], own[moved])
        after = self._at_or_after(stretch, ends)
        exact = self.ends[after] == ends
        before = np.where(exact, after, after - 1)
        span = np.where(exact, 1, self.ends[after] - self.ends[before])
        share = np.where(exact, 1.0, (ends - self.ends[before]) / span)
        return Shifted(run, ends, before, after, share)

    def _at_or_after(self, stretch: Int64, ends: Int64) -> Int64:
        """Return the first window of each stretch that ends at a row or after it."""
        every = self._stretch * FAR + self.ends
        return np.searchsorted(every, stretch * FAR + ends)

    def _allowed(self, run: Int64, ends: Int64) -> Bool:
        """Return whether little enough of each window is masked."""
        features = {i: self.features(i) for i in np.unique(run)}
        return np.array(
            [
                self._rule.allows(features[i][end + 1 - self.n_times : end + 1].T)
                for i, end in zip(run, ends, strict=True)
            ],
            dtype=np.bool_,
        )

    def z(self, targets: Sequence[Target]) -> Float64:
        """Return the targets as z by their statistics, shape (n, n_targets)."""
        means, sds = np.array([(t.mean, t.sd) for t in targets]).T
        return np.asarray((self.targets - means) / sds)

    def statistics(self) -> tuple[Float64, Float64]:
        """Return mean and sd of each feature over all rows of the runs that are not masked.

        Where a split cuts runs, over the rows that lie in a window. A feature that never
        changes, or is always masked, gets an sd of 1.
        """
        return feature_statistics(lambda: map(self._rows, range(len(self.runs))))

    def _rows(self, i: int) -> Float32:
        """Return the rows of a run that may be read."""
        rows, ends = self.features(i), self.ends[self.run == i]
        if not self._cut:
            return rows
        edges = np.zeros(len(rows) + 1, dtype=np.int64)
        np.add.at(edges, ends + 1 - self.n_times, 1)
        np.add.at(edges, ends + 1, -1)
        return rows[np.cumsum(edges[:-1]) > 0]

    def folds(self) -> Int64:
        """Return the fold of each window: its run, or blocks where there is one run only."""
        if self.run[-1] > 0:
            return self.run
        return np.arange(len(self)) * N_BLOCKS // len(self)


def feature_statistics(stretches: Callable[[], Iterable[Float32]]) -> tuple[Float64, Float64]:
    """Return mean and sd of each feature over all rows that are not masked.

    A feature that never changes, or is always masked, gets an sd of 1.

    Parameters
    ----------
    stretches : callable
        Returns the features, each of shape (n_times, n_features); called three times, so
        that one at a time need be in memory.
    """
    n = np.maximum(sum(np.sum(~np.isnan(rows), axis=0) for rows in stretches()), 1)
    mean = sum(np.nansum(rows, axis=0, dtype=np.float64) for rows in stretches()) / n
    square = sum(np.nansum((rows - mean) ** 2, axis=0) for rows in stretches()) / n
    sd = np.sqrt(square)
    return np.asarray(mean), np.where(sd > 0, sd, 1.0)


@dataclass(frozen=True, slots=True)
class _Found:
    """The windows of a run, and which of them begin a stretch."""

    volumes: Int64
    ends: Int64
    targets: Float64
    begins: Bool


def _opener(features: Float32) -> Callable[[], Float32]:
    """Return what opens a memory map again, in any thread.

    To load one reads its header by `ast`, which two threads at once break in CPython 3.11.
    """
    if not isinstance(features, np.memmap) or features.filename is None:
        return lambda: features
    name, begin, shape = features.filename, features.offset, features.shape
    return lambda: np.memmap(name, np.float32, "r", begin, shape)


def _check_any(
    run: Run, examples: RunExamples, chain: str, window: WindowSpec, n_times: int
) -> None:
    if len(examples.volumes) == 0:
        raise DatasetError(
            f"The run {run.name} is too short for one window",
            found=f"{len(run.features(chain))} settled rows of '{chain}', where a window"
            f" of {window.length:g} s takes {n_times}",
            do="Shorten the window, or leave the run out",
        )
    if not examples.allowed.any():
        raise DatasetError(
            f"No window of the run {run.name} is free enough of artefacts",
            found=f"All {len(examples.volumes)} hold more that is masked than the chain's"
            " recipe allows",
            do="Look at its EEG and leave the run out, or loosen [artefacts] and prepare again",
        )
