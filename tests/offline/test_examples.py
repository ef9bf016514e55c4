from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from offline.store.dataset import Run, Store, window_at
from offline.store.examples import N_BLOCKS, Examples, Holds
from offline.store.manifest import RunManifest, StoreManifest
from rtfeedback.artefacts import ArtefactRule
from rtfeedback.chain import ChainConfig, ChainSpec
from rtfeedback.chain.limits import ArtefactLimits
from rtfeedback.checkpoint import Target
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float32, Float64, Int64
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
        facts = SimpleNamespace(name=name, tr=TR, marked_tr=TR, n_volumes=n_volumes)
        runs[name] = Run(folder / name, cast(RunManifest, facts), manifest)
    return cast(Store, SimpleNamespace(chain=lambda _: CHAIN, runs=runs))


@pytest.fixture(scope="module")
def examples(store: Store) -> Examples:
    return Examples(store, ["a", "b"], "s", WINDOW)


def shifted(
    examples: Examples, which: Int64, shift: Int64, z: Float64
) -> tuple[Float32, Float64]:
    """Return windows that end some rows later, and their targets."""
    moved = examples.shift(which, shift)
    ends = zip(moved.run, moved.ends, strict=True)
    x = [window_at(examples.features(i), int(end), examples.n_times) for i, end in ends]
    return np.stack(x), moved.between(z)


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
    x, y = shifted(examples, which, shift, examples.targets)
    end = x[:, 0, -1].astype(np.float64)
    # Targets are linear in time, so between volumes they still say the window's end.
    np.testing.assert_allclose(y[:, 0], end, atol=0.51 / RATE + 1e-3)
    np.testing.assert_allclose(y[:, 1], -2 * y[:, 0], atol=1e-9)
    moved = np.round((end - examples.gather(which)[:, 0, -1]) * RATE).astype(np.int64)
    assert np.all((moved == shift) | (moved == 0))


def test_a_window_that_is_not_shifted_keeps_its_target_to_the_bit(examples: Examples) -> None:
    which = np.arange(len(examples))
    x, y = shifted(examples, which, np.zeros_like(which), examples.targets)
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
    x, y = shifted(examples, outer, rows, examples.targets)
    np.testing.assert_array_equal(x, examples.gather(outer))
    np.testing.assert_array_equal(y, examples.targets[outer])
    x, _ = shifted(examples, inner, rows, examples.targets)
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


# --- artefacts ------------------------------------------------------------------------


@pytest.fixture
def masked(store: Store, tmp_path: Path) -> Store:
    """Return run 'a' of a chain that masks: channel C3 for 4 s, and both for 2 s."""
    both = (1e-4, 1e-4)
    limits = ArtefactLimits(
        amplitude=both,
        field=1.0,
        step=both,
        muscle=both,
        flat=both,
        typical=both,
        fitted_on=("a",),
    )
    chain = CHAIN.model_copy(update={"artefacts": limits})
    folder = tmp_path / "a"
    shutil.copytree(store.runs["a"].folder, folder)
    rows = np.load(folder / "s.npy")
    rows[600:1000, 0] = np.nan
    rows[1500:1700] = np.nan
    np.save(folder / "s.npy", rows)
    manifest = cast(StoreManifest, SimpleNamespace(chains={"s": chain}))
    run = Run(folder, store.runs["a"].manifest, manifest)
    return cast(Store, SimpleNamespace(chain=lambda _: chain, runs={"a": run}))


def test_windows_with_too_many_artefacts_are_left_out_and_counted(
    store: Store, masked: Store
) -> None:
    every, kept = Examples(store, ["a"], "s", WINDOW), Examples(masked, ["a"], "s", WINDOW)
    rule = ArtefactRule(masked.chain("s"), WINDOW)
    windows = masked.runs["a"].examples("s", WINDOW)
    rows = masked.runs["a"].features("s")
    allowed = [rule.allows(window_at(rows, int(end), N_TIMES)) for end in windows.ends]
    assert windows.allowed.tolist() == allowed
    assert kept.volumes.tolist() == every.volumes[allowed].tolist()
    assert kept.left_out == len(every) - len(kept) > 0
    assert np.isnan(kept.gather(np.arange(len(kept)))).any()  # a few masked rows are no harm
    np.testing.assert_array_equal(kept.targets, every.targets[allowed])


def test_no_window_is_shifted_to_one_with_too_many_artefacts(masked: Store) -> None:
    examples = Examples(masked, ["a"], "s", WINDOW)
    rule, rng = ArtefactRule(masked.chain("s"), WINDOW), np.random.default_rng(0)
    which = np.repeat(np.arange(len(examples)), 20)
    x, y = shifted(examples, which, rng.integers(-90, 91, len(which)), examples.targets)
    assert all(rule.allows(each) for each in x)
    whole = ~np.isnan(x[:, 1, -1])  # where the newest row says its time
    np.testing.assert_allclose(y[whole, 0], -x[whole, 1, -1], atol=0.51 / RATE + 1e-3)
    assert 0.5 < whole.mean() < 1


def test_statistics_leave_out_what_is_masked(masked: Store) -> None:
    rows = masked.runs["a"].features("s").astype(np.float64)
    mean, sd = Examples(masked, ["a"], "s", WINDOW).statistics()
    np.testing.assert_allclose(mean, np.nanmean(rows, axis=0), rtol=1e-9)
    np.testing.assert_allclose(sd, np.nanstd(rows, axis=0), rtol=1e-6)


def test_a_run_of_nothing_but_artefacts_is_refused(masked: Store) -> None:
    path = masked.runs["a"].folder / "s.npy"
    np.save(path, np.full_like(np.load(path), np.nan))
    with pytest.raises(DatasetError, match="No window of the run a is free enough"):
        Examples(masked, ["a"], "s", WINDOW)


# ------------------------------------------------------------- where a split cuts the runs


def only(name: str, first: float, last: float) -> Holds:
    """Return what holds the windows of one run between two times."""

    def holds(run: Run, volumes: Int64, times: Float64) -> Bool:
        return np.asarray((run.name == name) & (times >= first) & (times < last))

    return holds


def test_windows_of_no_part_are_passed_over_with_their_run(store: Store) -> None:
    examples = Examples(store, ["a", "b"], "s", WINDOW, only("b", 10.0, 15.0))
    assert [run.name for run in examples.runs] == ["b"]
    assert set(examples.run) == {0}
    assert np.all((examples.times >= 10.0) & (examples.times < 15.0))
    np.testing.assert_allclose(
        examples.gather(np.arange(len(examples)))[:, 0, -1], examples.targets[:, 0], atol=0.51
    )


def test_a_part_without_a_window_is_refused(store: Store) -> None:
    with pytest.raises(DatasetError, match="No window is left for a part of the split"):
        Examples(store, ["a", "b"], "s", WINDOW, only("b", 90.0, 99.0))


def test_no_shift_leaves_the_part_of_the_split(store: Store) -> None:
    def holds(run: Run, volumes: Int64, times: Float64) -> Bool:
        return np.asarray((times < 9.0) | (times > 15.0))

    examples = Examples(store, ["a", "b"], "s", WINDOW, holds)
    which = np.arange(len(examples)).repeat(40)
    rng = np.random.default_rng(0)
    moved = examples.shift(which, rng.integers(-500, 501, len(which)))
    times = moved.ends / RATE
    assert np.any(moved.ends != examples.ends[which])
    assert np.all((times < 9.0) | (times > 15.0))


def test_statistics_of_a_part_are_of_the_rows_in_its_windows(store: Store) -> None:
    examples = Examples(store, ["a"], "s", WINDOW, only("a", 10.0, 15.0))
    first, last = examples.ends[0] + 1 - N_TIMES, examples.ends[-1] + 1
    rows = store.runs["a"].features("s")[first:last].astype(np.float64)
    mean, sd = examples.statistics()
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(sd, rows.std(axis=0), rtol=1e-6)
