from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.noise_store import CHAIN, Shape, make_store
from offline.store.batches import (
    AHEAD,
    Mapped,
    Resident,
    Windows,
    batches,
    made_ahead,
    windows_of,
)
from offline.store.dataset import window_at
from offline.store.examples import Examples, Shifted
from rtfeedback.windows import WindowSpec

CPU = torch.device("cpu")
SHAPE = Shape(channels=5, rate=50, seconds=61, n_volumes=30, length=7.0, runs=2)
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    store = make_store(tmp_path_factory.mktemp("store"), 2, SHAPE)
    return Examples(store, list(store.runs), CHAIN, WindowSpec(length=SHAPE.length))


def steps_of(examples: Examples, size: int = 9) -> Iterator[Shifted]:
    """Yield batches in random order, each window moved by some rows."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(examples))
    for first in range(0, len(order), size):
        which = order[first : first + size]
        yield examples.shift(which, rng.integers(-40, 41, len(which)))


@pytest.mark.parametrize("kind", [Resident, Mapped])
def test_windows_have_the_bits_of_window_at(
    examples: Examples, kind: type[Resident] | type[Mapped]
) -> None:
    windows, n = kind(examples, CPU), 0
    for x, step in batches(windows, steps_of(examples), CPU):
        n += len(x)
        for window, run, end in zip(x, step.run, step.ends, strict=True):
            expected = window_at(examples.features(run), int(end), examples.n_times)
            assert window.numpy().tobytes() == expected.tobytes()
    assert n == len(examples)


@pytest.mark.parametrize("kind", [Resident, Mapped])
def test_a_batch_is_the_trainings_own_to_change(
    examples: Examples, kind: type[Resident] | type[Mapped]
) -> None:
    windows = kind(examples, CPU)
    step = next(steps_of(examples))
    before = windows.gather(step.run, step.ends)
    changed = windows.gather(step.run, step.ends)
    changed.zero_()
    assert torch.equal(before, windows.gather(step.run, step.ends))


def test_the_one_gather_of_a_gpu_is_that_of_the_cpus_copies(examples: Examples) -> None:
    windows, step = Resident(examples, CPU), next(steps_of(examples))
    copied = windows.gather(step.run, step.ends)
    windows.read_ahead = False
    assert torch.equal(copied, windows.gather(step.run, step.ends))


@pytest.mark.parametrize(("memory", "kind"), [(1.0, Resident), (1e-6, Mapped)])
def test_what_fits_is_kept_in_memory_and_the_rest_is_not(
    examples: Examples, memory: float, kind: type[Windows]
) -> None:
    assert type(windows_of(examples, CPU, memory)) is kind


def test_no_map_is_left_open_between_batches(examples: Examples) -> None:
    """Pages of an open map count as memory of the process; ds000116's are 4.6 GB."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("the system does not tell which files are mapped")
    folder = str(examples.runs[0].folder.parent)
    for _ in batches(Mapped(examples, CPU), steps_of(examples, 4), CPU):
        pass
    examples.statistics()
    opened = {line.split()[-1] for line in maps.read_text().splitlines() if folder in line}
    assert not [path for path in opened if path.endswith(f"/{CHAIN}.npy")]


def test_masked_rows_stay_so(tmp_path: Path) -> None:
    store = make_store(tmp_path, 1, SHAPE)
    path = next(iter(store.runs.values())).folder / f"{CHAIN}.npy"
    rows = np.load(path)
    rows[400:500, 2] = np.nan
    np.save(path, rows)
    every = Examples(store, list(store.runs), CHAIN, WindowSpec(length=SHAPE.length))
    which = np.arange(len(every))
    for kind in (Resident, Mapped):
        x = kind(every, CPU).gather(every.run[which], every.ends[which]).numpy()
        np.testing.assert_array_equal(x, every.gather(which))
        assert np.isnan(x).any()


# ------------------------------------------------------------------------------ made ahead


def test_what_is_made_ahead_comes_in_order_and_no_further_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(20):
            made.append(i)
            yield i

    for i, item in enumerate(made_ahead(items())):
        assert item == i
        assert len(made) <= i + 1 + AHEAD
    assert made == list(range(20))


def test_items_are_made_in_another_thread() -> None:
    threads = list(made_ahead(threading.get_ident() for _ in range(3)))
    assert threading.get_ident() not in threads
    assert len(set(threads)) == 1


def test_what_fails_ahead_fails_where_it_was_due() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    made = made_ahead(items())
    assert next(made) == 1
    with pytest.raises(OSError, match="gone"):
        next(made)


def test_a_training_that_stops_early_leaves_no_thread_behind() -> None:
    made = made_ahead(iter(range(1000)))
    assert next(made) == 0
    made.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("batches")]


# ---------------------------------------------------------------------------------- a GPU


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("kind", [Resident, Mapped])
def test_a_gpu_gets_the_same_bits(
    examples: Examples, kind: type[Resident] | type[Mapped]
) -> None:
    device = torch.device("cuda")
    there = batches(kind(examples, device), steps_of(examples), device)
    here = batches(kind(examples, CPU), steps_of(examples), CPU)
    for (x, _), (y, _) in zip(there, here, strict=True):
        assert x.is_cuda
        assert torch.equal(x.cpu(), y)


@gpu
@pytest.mark.gpu
def test_memory_for_a_gpu_is_pinned(examples: Examples) -> None:
    step = next(steps_of(examples))
    assert Mapped(examples, torch.device("cuda")).gather(step.run, step.ends).is_pinned()
