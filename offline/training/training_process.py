"""A process as a training has it: threads to share its sums, and memory that it keeps."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

from rtfeedback.arithmetic import fix_arithmetic

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's <malloc.h>
NEVER = 2**31 - 1


@contextmanager
def training_process() -> Iterator[None]:
    """Train in here; what is published or compared is computed afterwards, as ever."""
    fix_arithmetic(threads=0)
    keep_memory()
    try:
        yield
    finally:
        fix_arithmetic()


def keep_memory() -> bool:
    """Tell glibc to keep what it took from the system; return whether it does.

    A step's buffers are as large as those of the step before. By default glibc gives each
    one above 32 MiB back, and gets it anew: pages that the system fills with zeros first, at a
    third of the time of a step of `calhas` (`bench.calhas_twin`). The process then holds the
    most that it ever needed until it ends. Other C libraries are left as they are.

    References
    ----------
    mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
