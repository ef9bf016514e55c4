"""Windows on the training device: gathered there from one copy, or out of memory maps.

Both give the bits of `window_at`. What fits is copied once, features by time, so that a window
is long rows, and a batch one gather on a GPU. What does not is read in order of run and place,
and no map is kept open: its pages would count as memory of the process. What a CPU gathers is
gathered in a thread that stays ahead of the training.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from offline.store.examples import Examples
from rtfeedback.signals import Float32, Int64

ItemT = TypeVar("ItemT")
StepT = TypeVar("StepT", bound="Step")

CPU = torch.device("cpu")
READERS = 2  # threads that read a batch: a copy waits for pages of the file
AHEAD = 2  # batches that are made while one is trained on
SIDE = 512  # rows that are turned at a time: what they span stays in the cache
GIB = 2**30  # bytes
GPU_SHARE = 0.5  # of what is free on a GPU: the rest is the model's


class Step(Protocol):
    """The windows of a batch: which run each is from, and the row of its newest sample."""

    @property
    def run(self) -> Int64:
        """Which of the examples' runs, shape (n,)."""

    @property
    def ends(self) -> Int64:
        """Rows of that run, shape (n,)."""


class Windows(Protocol):
    """Where the windows of some examples come from."""

    read_ahead: bool
    """Whether `gather` is for the thread that stays ahead, and not for the training's."""

    def gather(self, run: Int64, ends: Int64) -> Tensor:
        """Return windows that end at rows of runs, shape (n, n_features, n_times)."""


def windows_of(examples: Examples, device: torch.device, memory: float) -> Windows:
    """Return what gathers windows: `Resident` where their runs fit, `Mapped` elsewhere.

    Parameters
    ----------
    examples : Examples
    device : torch.device
        That the model is trained on.
    memory : float
        GiB that the features of the examples may take on a CPU. A GPU gives half of what is
        free on it.
    """
    size = sum(examples.features(i).nbytes for i in range(len(examples.runs)))
    room = memory * GIB
    if device.type == "cuda":
        room = GPU_SHARE * torch.cuda.mem_get_info(device)[0]
    return Resident(examples, device) if size <= room else Mapped(examples, device)


class Resident:
    """One copy of the runs' features on the device, features by time.

    Parameters
    ----------
    examples : Examples
    device : torch.device
    """

    def __init__(self, examples: Examples, device: torch.device) -> None:
        self.read_ahead = device.type == "cpu"
        n_times = examples.n_times
        shapes = [examples.features(i).shape for i in range(len(examples.runs))]
        lengths = np.array([n for n, _ in shapes])
        total, n_features = int(lengths.sum()), shapes[0][1]
        self._begins = np.cumsum(lengths) - lengths - (n_times - 1)
        data = _empty((n_features, total), device)
        for i, (begin, n) in enumerate(zip(np.cumsum(lengths) - lengths, lengths, strict=True)):
            run = torch.from_numpy(_turned(examples.features(i)))
            data[:, begin : begin + n] = run.to(device)
        self._data = data
        # Every window there is, as a view: window by feature by time.
        self._every = data.as_strided((total - n_times + 1, n_features, n_times), (1, total, 1))

    def gather(self, run: Int64, ends: Int64) -> Tensor:
        """Return windows that end at rows of runs, shape (n, n_features, n_times)."""
        first = self._begins[run] + ends
        if not self.read_ahead:
            every = torch.from_numpy(first).to(self._every.device, non_blocking=True)
            return self._every.index_select(0, every)
        # Plain copies: torch's threads wait for each other, 10 times as long on a busy CPU.
        _, n_features, n_times = self._every.shape
        windows, data = _empty((len(ends), n_features, n_times)), self._data.numpy()
        out = windows.numpy()
        for k, begin in enumerate(first):
            out[k] = data[:, begin : begin + n_times]
        return windows


class Mapped:
    """Windows read from the store's files, a batch at a time, in order of run and place.

    Parameters
    ----------
    examples : Examples
    device : torch.device
        For a GPU, memory is pinned: the copy there then waits for nothing.
    """

    read_ahead = True

    def __init__(self, examples: Examples, device: torch.device) -> None:
        self._examples, self._pinned = examples, device.type == "cuda"
        self._n_features = examples.features(0).shape[1]
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="readers")

    def gather(self, run: Int64, ends: Int64) -> Tensor:
        """Return windows that end at rows of runs, shape (n, n_features, n_times)."""
        shape = (len(ends), self._n_features, self._examples.n_times)
        windows = torch.empty(shape, pin_memory=True) if self._pinned else _empty(shape)
        parts = np.array_split(np.lexsort((ends, run)), READERS)
        list(self._readers.map(lambda which: self._read(which, run, ends, windows), parts))
        return windows

    def _read(self, which: Int64, run: Int64, ends: Int64, windows: Tensor) -> None:
        out, n_times = windows.numpy(), self._examples.n_times
        opened, features = -1, np.empty((0, 0), np.float32)
        for k in which:
            if run[k] != opened:
                opened = int(run[k])
                features = self._examples.features(opened)
            _turn(features[ends[k] + 1 - n_times : ends[k] + 1], out[k])


def batches(
    windows: Windows, steps: Iterator[StepT], device: torch.device
) -> Iterator[tuple[Tensor, StepT]]:
    """Yield the windows of each step on the device, with the step.

    Steps are taken one after the other, in a thread that stays ahead, so what is drawn at
    random for them comes in the same order whatever the training does.
    """

    def early(step: StepT) -> tuple[StepT, Tensor | None]:
        return step, windows.gather(step.run, step.ends) if windows.read_ahead else None

    for step, x in made_ahead(map(early, steps)):
        if x is None:
            x = windows.gather(step.run, step.ends)
        yield x.to(device, non_blocking=True), step


def made_ahead(items: Iterator[ItemT]) -> Iterator[ItemT]:
    """Yield what an iterator yields, in its order, made ahead in a thread.

    What the iterator raises is raised here, where its item was due.
    """
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        ahead = deque(thread.submit(next, items, end) for _ in range(AHEAD))
        try:
            while (item := ahead.popleft().result()) is not end:
                ahead.append(thread.submit(next, items, end))
                yield item  # type: ignore[misc]  # `end` is no item
        finally:
            for future in ahead:
                future.cancel()


def _empty(shape: tuple[int, ...], device: torch.device = CPU) -> Tensor:
    """Return memory for windows: on a CPU numpy's, whose huge pages cost a sixth to touch."""
    if device.type == "cpu":
        return torch.from_numpy(np.empty(shape, dtype=np.float32))
    return torch.empty(shape, dtype=torch.float32, device=device)


def _turned(rows: Float32) -> Float32:
    """Return rows, shape (n_times, n_features), as features by time."""
    out = np.empty(rows.shape[::-1], dtype=np.float32)
    _turn(rows, out)
    return out


def _turn(rows: Float32, out: Float32) -> None:
    """Write rows into features by time, a piece at a time: twice as quick as all at once."""
    for first in range(0, len(rows), SIDE):
        out[:, first : first + SIDE] = rows[first : first + SIDE].T
