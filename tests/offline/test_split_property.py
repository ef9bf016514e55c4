"""No training window shares a sample, or a BOLD volume within 20 s, with a test window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from offline.splits.blocks import BESIDE, Part
from offline.splits.parts import Split
from offline.splits.split import SplitConfig
from offline.store.dataset import Run, Store
from offline.store.examples import Examples
from offline.store.manifest import RunManifest, StoreManifest
from offline.training.split_examples import examples_of, split_store
from rtfeedback.chain import ChainConfig, ChainSpec
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float64, Int64
from rtfeedback.windows import WindowSpec

KINDS = ("run", "session", "subject", "block")
CHAIN = "s"


@dataclass
class Dataset:
    """Runs of any length, and a model's windows on them."""

    subjects: int
    sessions: int
    runs: int
    tr: float
    rate: int
    n_volumes: int
    begin: float
    window: WindowSpec

    def store(self) -> Store:
        """Return a store whose arrays are made up, and in memory."""
        bare = ChainConfig(notch=(), artefacts=None, band=None, max_rate=self.rate)
        chain = ChainSpec(config=bare, channels=("C3", "C4"), sfreq=self.rate)
        manifest = SimpleNamespace(chains={CHAIN: chain}, runs=[])
        runs = {}
        for subject in range(self.subjects):
            for session in range(self.sessions):
                for run in range(self.runs):
                    name = f"sub-{subject}_ses-{session}_run-{run}"
                    facts = SimpleNamespace(
                        name=name,
                        subject=str(subject),
                        session=str(session),
                        tr=self.tr,
                        marked_tr=self.tr,
                        n_volumes=self.n_volumes,
                    )
                    manifest.runs.append(facts)
                    runs[name] = Made(self, cast(RunManifest, facts), manifest)
        found = SimpleNamespace(manifest=manifest, runs=runs, chain=lambda _: chain)
        return cast(Store, found)


class Made(Run):
    """A run of no file; some volumes have no onset."""

    def __init__(self, dataset: Dataset, facts: RunManifest, store: Any) -> None:
        super().__init__(Path(), facts, cast(StoreManifest, store))
        n, tr = dataset.n_volumes, dataset.tr
        onsets = dataset.begin + tr * np.arange(n)
        n_rows = round((onsets[-1] + 2 * tr) * dataset.rate)
        self.arrays = {
            CHAIN: np.zeros((n_rows, 2), np.float32),
            f"{CHAIN}_stamps": np.arange(n_rows) / dataset.rate,
            "onsets": np.where(np.arange(n) % 11 == 7, np.nan, onsets),
            "targets": np.arange(n, dtype=np.float64)[:, None],
        }

    def _array(self, name: str) -> Any:
        return self.arrays[name]


datasets = st.builds(
    Dataset,
    subjects=st.integers(1, 3),
    sessions=st.integers(1, 2),
    runs=st.integers(1, 2),
    tr=st.floats(0.5, 3.0),
    rate=st.sampled_from([4, 10, 25]),
    n_volumes=st.integers(30, 250),
    begin=st.floats(0, 12, allow_subnormal=False),
    window=st.builds(
        WindowSpec, length=st.floats(1, 20), lead=st.floats(0, 6, allow_subnormal=False)
    ),
)
splits = st.builds(
    SplitConfig,
    kind=st.sampled_from(KINDS),
    test=st.integers(1, 2),
    validation=st.integers(0, 1),
    blocks=st.integers(4, 6),
)


def windows_of(store: Store, split: Split, part: Part, window: WindowSpec) -> Examples | None:
    try:
        return examples_of(store, split, part, CHAIN, window)
    except DatasetError:
        return None


def volume_times(examples: Examples, volumes: Int64) -> Float64:
    runs = [examples.runs[i].manifest for i in examples.run]
    return np.array([v * run.tr for v, run in zip(volumes, runs, strict=True)])


def violations(lower: Examples, upper: Examples, ends: Int64 | None = None) -> int:
    """Count pairs of windows of one run that share a sample, or whose volumes are near."""
    ends = lower.ends if ends is None else ends
    names = np.array([lower.runs[i].name for i in lower.run])[:, None]
    others = np.array([upper.runs[i].name for i in upper.run])[None]
    shared = np.abs(ends[:, None] - upper.ends[None]) < lower.n_times
    apart = volume_times(lower, lower.volumes)[:, None] - volume_times(upper, upper.volumes)
    return int(np.sum((names == others) & (shared | (np.abs(apart) < BESIDE))))


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.filter_too_much])
@given(dataset=datasets, config=splits, seed=st.integers(0, 99))
def test_no_part_has_windows_that_share_anything_with_another(
    dataset: Dataset, config: SplitConfig, seed: int
) -> None:
    store = dataset.store()
    try:
        split = split_store(store, config)
    except DatasetError:
        assume(False)
        raise
    parts = [
        windows_of(store, split, part, dataset.window)
        for part in ("train", "validation", "test")
    ]
    train, validation, test = parts
    for lower, upper in ((train, test), (validation, test), (train, validation)):
        if lower is None or upper is None:
            continue
        assert violations(lower, upper) == 0
        which = np.arange(len(lower))
        shift = np.random.default_rng(seed).integers(-200, 201, len(which))
        assert violations(lower, upper, lower.shift(which, shift).ends) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_leaves_windows_to_train_and_to_test_on(kind: str) -> None:
    dataset = Dataset(3, 3, 1, 2.0, 10, 200, 5.0, WindowSpec(length=10.0))
    store = dataset.store()
    split = split_store(store, SplitConfig.model_validate({"kind": kind}))
    for part in ("train", "validation", "test"):
        examples = windows_of(store, split, part, dataset.window)
        assert examples is not None
        assert len(examples) > 50


def test_shuffled_windows_do_share_samples_and_volumes_with_the_test() -> None:
    dataset = Dataset(1, 1, 2, 2.0, 10, 60, 0.0, WindowSpec(length=10.0))
    store = dataset.store()
    split = split_store(store, SplitConfig(kind="shuffled", allow_shuffled=True))
    train = windows_of(store, split, "train", dataset.window)
    test = windows_of(store, split, "test", dataset.window)
    assert train is not None
    assert test is not None
    assert violations(train, test) > len(test)


def test_windows_of_no_gap_would_be_found_out() -> None:
    """The count of violations fails where it has to: the same windows on both sides."""
    dataset = Dataset(1, 1, 2, 2.0, 10, 60, 0.0, WindowSpec(length=10.0))
    store = dataset.store()
    split = split_store(store, SplitConfig())
    train = windows_of(store, split, "train", dataset.window)
    assert train is not None
    assert violations(train, train) >= len(train)
