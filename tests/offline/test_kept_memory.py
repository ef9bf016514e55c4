"""What a training step gave back to the allocator is there for the next one."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
import torch
from offline.training.kept_memory import keep_memory

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
