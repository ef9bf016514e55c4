"""Memory that is kept from one training step to the next."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's <malloc.h>
NEVER = 2**31 - 1


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
