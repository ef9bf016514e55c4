from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from offline.dataset import Run, RunManifest, Store, StoreManifest
from offline.examples import N_BLOCKS, Examples
from rtfeedback.chain import ChainConfig, ChainSpec
from rtfeedback.checkpoint import Target
from rtfeedback.errors import DatasetError
from rtfeedback.windows import WindowSpec

RATE, TR, N_TIMES = 100.0, 0.8, 300
CHAIN = ChainSpec(config=ChainConfig(notch=()), channels=("C3", "C4"), sfreq=RATE)
WINDOW = WindowSpec(length=N_TIMES / RATE)
LENGTHS = {"a": 3000, "b": 2111, "c": 250}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return three runs, in which row and target both say the time; 'c' is too short."""
    folder = tmp_path_factory.mktemp("store")
    manifest = cast(StoreManifest, SimpleNamespace(chains={"s": CHAIN}))
    runs = {}
    for number, (name, n_rows) in enumerate(LENGTHS.items()):
        (folder / name).mkdir()
        n_volumes = int(n_rows / RATE / TR)
        times = np.arange(n_rows) / RATE + 1000 * number
        arrays: dict[str, NDArray[np.floating]] = {
            "s": np.stack([times, -times], axis=1).astype(np.float32),
            "s_stamps": np.arange(n_rows) / RATE,
            "onsets": np.where(
                np.arange(n_volumes) % 7 == 5, np.nan, np.arange(n_volumes) * TR
            ),
            "targets": ((np.arange(n_volumes) + 0.5) * TR + 1000 * number)[:, None]
            * [1.0, -2.0],
        }
        for key, array in arrays.items():
            np.save(folder / name / f"{key}.npy", array)
        facts = SimpleNamespace(name=name, tr=TR, n_volumes=n_volumes)
        runs[name] = Run(folder / name, cast(RunManifest, facts), manifest)
    return cast(Store, SimpleNamespace(chain=lambda _: CHAIN, runs=runs))


@pytest.fixture(scope="module")
def examples(store: Store) -> Examples:
    return Examples(store, ["a", "b"], "s", WINDOW)


def test_windows_lie_in_their_run_and_end_at_their_volumes_time(examples: Examples) -> None:
    x = examples.gather(np.arange(len(examples)))
    assert x.shape == (len(examples), 2, N_TIMES)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x[:, 0, -1], examples.targets[:, 0], atol=0.51 / RATE)
    np.testing.assert_allclose(np.diff(x[:, 0]), 1 / RATE, atol=2e-4)
    np.testing.assert_array_equal(x[:, 0], -x[:, 1])
    assert set(examples.run) == {0, 1}


@settings(deadline=None, derandomize=True, max_examples=50)
@given(seed=st.integers(0, 999), reach=st.sampled_from([0, 1, 40, 100, 5000]))
def test_a_shifted_window_has_the_target_of_its_own_time(
    examples: Examples, seed: int, reach: int
) -> None:
    rng = np.random.default_rng(seed)
    which = rng.permutation(len(examples))
    shift = rng.integers(-reach, reach + 1, len(which))
    x, y = examples.shifted(which, shift, examples.targets)
    end = x[:, 0, -1].astype(np.float64)
    # Targets are linear in time, so between volumes they still say the window's end.
    np.testing.assert_allclose(y[:, 0], end, atol=0.51 / RATE + 1e-3)
    np.testing.assert_allclose(y[:, 1], -2 * y[:, 0], atol=1e-9)
    moved = np.round((end - examples.gather(which)[:, 0, -1]) * RATE).astype(np.int64)
    assert np.all((moved == shift) | (moved == 0))


def test_a_window_that_is_not_shifted_keeps_its_target_to_the_bit(examples: Examples) -> None:
    which = np.arange(len(examples))
    x, y = examples.shifted(which, np.zeros_like(which), examples.targets)
    np.testing.assert_array_equal(x, examples.gather(which))
    np.testing.assert_array_equal(y, examples.targets)


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_shift_that_leaves_the_volumes_of_a_run_is_left_out(
    examples: Examples, shift: int
) -> None:
    first = np.flatnonzero(np.diff(examples.run, prepend=-1))
    last = np.flatnonzero(np.diff(examples.run, append=9))
    outer, inner = (first, last) if shift < 0 else (last, first)
    rows = np.full(2, shift)
    x, y = examples.shifted(outer, rows, examples.targets)
    np.testing.assert_array_equal(x, examples.gather(outer))
    np.testing.assert_array_equal(y, examples.targets[outer])
    x, _ = examples.shifted(inner, rows, examples.targets)
    assert np.all(np.sign(x[:, 0, -1] - examples.gather(inner)[:, 0, -1]) == shift)


def test_a_run_that_is_too_short_for_a_window_is_refused(store: Store) -> None:
    with pytest.raises(DatasetError, match=r"run c is too short .* 250 settled rows .* 300"):
        Examples(store, ["a", "c"], "s", WINDOW)


def test_z_has_the_targets_mean_and_sd(examples: Examples) -> None:
    mean, sd = examples.targets.mean(axis=0), examples.targets.std(axis=0)
    targets = [Target(name=str(i), unit="", mean=mean[i], sd=sd[i]) for i in range(2)]
    z = examples.z(targets)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-9)


def test_statistics_are_those_of_all_rows(examples: Examples, store: Store) -> None:
    rows = np.concatenate([store.runs[name].features("s") for name in "ab"]).astype(np.float64)
    mean, sd = examples.statistics()
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(sd, rows.std(axis=0), rtol=1e-6)


def test_folds_are_runs_or_blocks_of_a_lone_one(examples: Examples, store: Store) -> None:
    np.testing.assert_array_equal(examples.folds(), examples.run)
    alone = Examples(store, ["a"], "s", WINDOW).folds()
    assert np.all(np.diff(alone) >= 0)
    assert set(alone) == {*range(N_BLOCKS)}
