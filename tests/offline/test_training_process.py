"""What a training finds: memory of the step before, and threads that are its own."""

from __future__ import annotations

import platform
import subprocess
import sys
from contextlib import suppress

import pytest
import torch

from offline.training.training_process import training_process

STEPS = """
import resource, sys
import torch
from offline.training.training_process import keep_memory

if sys.argv[1] == "kept":
    assert keep_memory()

def step():
    buffers = [torch.ones(2**24) for _ in range(2)]  # 64 MiB each

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for _ in range(10):  # the heap is settled after a few
    step()
before = faults()
step()
print(faults() - before)
"""


def faults(how: str) -> int:
    """Return how many pages a step takes anew from the system, in a process of its own."""
    command = [sys.executable, "-c", STEPS, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc here")
def test_a_step_reuses_the_pages_of_the_step_before() -> None:
    assert faults("given back") > 10 * (faults("kept") + 1)


def test_threads_are_one_again_whatever_becomes_of_a_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with suppress(RuntimeError), training_process():
        assert torch.get_num_threads() == 3
        raise RuntimeError
    assert torch.get_num_threads() == 1
