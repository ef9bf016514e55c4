"""The one call that fixes how this process computes; every entry point makes it first."""

from __future__ import annotations

import os

import torch


def fix_arithmetic(threads: int = 1) -> None:
    """Set the number of torch threads, and flush denormals to zero for torch and numpy.

    Sums split over other numbers of threads round differently, so values that are
    compared are computed on one. Denormals, which a dead channel leaves in a recursive
    filter, make it some 30 times slower; flushing them changes numpy's bits too, and
    new threads inherit the mode, so the desk and the daemon both call this at once.

    Parameters
    ----------
    threads : int
        1 wherever values are published or compared. 0, for training: what OMP_NUM_THREADS
        asks for, or half of the logical processors, which are the physical cores where
        there are two threads to one; threads that outnumber the free cores spin and slow
        each other tenfold.
    """
    torch.set_flush_denormal(True)
    # TF32 keeps 10 bits of a float32's 23: a GPU would not predict what a CPU does.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    # The same algorithm in each process, and one that adds in the same order each time.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.set_num_threads(threads or _of_a_training())


def _of_a_training() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "")
    half = (os.cpu_count() or 1) // 2
    return max(1, int(asked) if asked.isdigit() else half)
