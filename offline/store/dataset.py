"""The prepared store: one continuous array per run and chain, and the windows in it.

Windows are never materialised: an example is a volume and the place of its newest
sample, found by the rule that the daemon goes by.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from offline.store.ledger import count_one
from offline.store.manifest import RunManifest, StoreManifest
from rtfeedback.artefacts import ArtefactRule
from rtfeedback.chain import ChainSpec
from rtfeedback.config import explain
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float32, Float64, Int64
from rtfeedback.windows import WindowSpec, due_of_marker, reached

MANIFEST = "store.json"
SHARED = "shared"  # folder of what goes for all runs, such as a mask of volumes
READS = "test_reads.json"
SEMI_SYNTHETIC = (
    "Semi-synthetic: real EEG, BOLD simulated from it. This tests the plumbing;"
    " it is no claim of skill."
)


@dataclass(frozen=True, slots=True)
class Examples:
    """The volumes of a run that have a whole window, and where it ends.

    Attributes
    ----------
    volumes : int64, shape (n,)
        Counted from 0.
    ends : int64, shape (n,)
        Row of the newest sample in the run's features.
    allowed : bool, shape (n,)
        Whether little enough of it is masked as artefacts (`ArtefactRule`).
    """

    volumes: Int64
    ends: Int64
    allowed: Bool


class Run:
    """One run of a store; its arrays are memory maps, opened when first asked for."""

    def __init__(self, folder: Path, manifest: RunManifest, store: StoreManifest) -> None:
        self.folder, self.manifest, self._store = folder, manifest, store
        self.name = manifest.name

    def features(self, chain: str) -> Float32:
        """Return a chain's output, shape (n_times, n_features)."""
        features: Float32 = self._array(chain)
        return features

    def stamps(self, chain: str) -> Float64:
        """Return the time of each row of `features`, in seconds of the recording."""
        stamps: Float64 = self._array(f"{chain}_stamps")
        return stamps

    @cached_property
    def onsets(self) -> Float64:
        """Onset of each volume in seconds of the recording, NaN where none is known."""
        onsets: Float64 = self._array("onsets")
        return onsets

    @property
    def target_names(self) -> list[str]:
        """What the columns of `targets` are."""
        return [target.name for target in self._store.targets]

    @cached_property
    def targets(self) -> Float64:
        """Target courses, shape (n_volumes, n_targets)."""
        targets: Float64 = self._array("targets")
        return targets

    @cached_property
    def voxels(self) -> Float32:
        """Whole volumes, shape (n_volumes, n_voxels): a memory map, NaN where scrubbed."""
        voxels: Float32 = self._array("volumes")
        return voxels

    @cached_property
    def design(self) -> Float64:
        """Task regressors at the target times, shape (n_volumes, n_regressors)."""
        design: Float64 = self._array("design")
        return design

    @cached_property
    def task(self) -> Float64:
        """Which condition holds at each target time, 1 or 0, (n_volumes, n_conditions)."""
        task: Float64 = self._array("task")
        return task

    @cached_property
    def truth(self) -> Float64 | None:
        """A simulation's noise-free courses, shape (n_volumes, n_targets), or None."""
        return self._array("truth") if "truth.npy" in self.manifest.arrays else None

    def examples(self, chain: str, spec: WindowSpec) -> Examples:
        """Return the volumes of this run whose window is whole and lies in it."""
        rate, tr = self._store.chains[chain].rate, self.manifest.marked_tr
        due = [
            due_of_marker(spec, int(volume), float(self.onsets[volume]), tr=tr, rate=rate)
            for volume in np.flatnonzero(np.isfinite(self.onsets))
        ]
        ends, nearest = reached(self.stamps(chain), np.array([d.end for d in due]), rate)
        volumes = np.array([d.volume for d in due], dtype=np.int64)
        whole = nearest & (ends + 1 >= spec.n_times(rate)) & (volumes < self.manifest.n_volumes)
        allowed = self._allowed(chain, spec, ends[whole])
        return Examples(volumes[whole], ends[whole], allowed)

    def _allowed(self, chain: str, window: WindowSpec, ends: Int64) -> Bool:
        spec = self._store.chains[chain]
        rule, n_times = ArtefactRule(spec, window), window.n_times(spec.rate)
        if not rule.judges:
            return np.ones(len(ends), dtype=np.bool_)
        rows = self.features(chain)
        return np.array(
            [rule.allows(rows[i + 1 - n_times : i + 1].T) for i in ends], dtype=bool
        )

    def _array(self, name: str) -> Any:
        return _array(self.folder / f"{name}.npy")


class Store:
    """A folder that `rtfeedback prepare` wrote.

    Raises
    ------
    DatasetError
        If it is absent, broken, or made by another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = _manifest_text(path)
        self.hash = hashlib.sha256(text).hexdigest()
        try:
            self.manifest = StoreManifest.model_validate_json(text)
        except ValidationError as error:
            raise DatasetError(
                f"The store {path} is not one that this version reads",
                found=explain(error, StoreManifest, MANIFEST),
                do="Prepare the dataset again",
            ) from error
        self.runs = {
            run.name: Run(path / run.name, run, self.manifest) for run in self.manifest.runs
        }

    def chain(self, name: str) -> ChainSpec:
        """Return one of the store's chains.

        Raises
        ------
        DatasetError
            If the store was prepared without it.
        """
        if name not in self.manifest.chains:
            raise DatasetError(
                f"The store {self.path} has no chain '{name}'",
                found=f"It has {', '.join(self.manifest.chains)}",
                do="Prepare with that chain, or name another in the recipe",
            )
        return self.manifest.chains[name]

    def shared(self, name: str) -> Any:
        """Return an array that goes for all runs, such as `volumes_mask`.

        Raises
        ------
        DatasetError
            If it cannot be read.
        """
        return _array(self.path / SHARED / f"{name}.npy")

    def count_test_read(self) -> int:
        """Count one more reading of the test part, and return how many there were."""
        return count_one(self.path / READS)


def _array(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise DatasetError(
            f"{path} of the store cannot be read",
            found=str(error),
            do="Prepare the dataset again",
        ) from error


def window_at(features: Float32, end: int, n_times: int) -> Float32:
    """Return the window whose newest row is `end`, as the ring gives it.

    Returns
    -------
    float32, shape (n_features, n_times), C-contiguous
    """
    return np.ascontiguousarray(features[end + 1 - n_times : end + 1].T)


def _manifest_text(path: Path) -> bytes:
    try:
        return (path / MANIFEST).read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{path} is no prepared store",
            found=f"{MANIFEST}: {error.strerror or error}",
            do="Name a folder that 'rtfeedback prepare' wrote",
        ) from error
