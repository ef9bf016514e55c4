"""A function over many items, on every core, with a bar; results in the items' order."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from offline.progress import progress
from rtfeedback.arithmetic import fix_arithmetic

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def cores() -> int:
    """Return how many cores this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def in_parallel(
    act: Callable[[ItemT], ResultT],
    items: Sequence[ItemT],
    description: str,
    *,
    jobs: int = 0,
) -> list[ResultT]:
    """Return what a function makes of each item, computed in processes of their own.

    One job, or one item, is done in this process. What a process computes has the same
    bits as here: each goes by one thread and this project's arithmetic.

    Parameters
    ----------
    act : callable
        Importable by name (or a `functools.partial` of such), as its items and results
        cross to another process. What it raises ends all.
    items : sequence
    description : str
        Of the bar.
    jobs : int
        Processes; 0 for one a core.
    """
    jobs = min(jobs or cores(), len(items))
    if jobs <= 1:
        return [act(item) for item in progress(items, description)]
    # Not a fork: torch and MNE have threads by now. The server imports them only once.
    context = multiprocessing.get_context(
        "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    )
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([act_module(act)])
    with ProcessPoolExecutor(jobs, context, fix_arithmetic) as pool:
        futures = [pool.submit(act, item) for item in items]
        try:
            for done in progress(as_completed(futures), description, total=len(items)):
                done.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def act_module(act: Callable[..., object]) -> str:
    """Return where a function, or what a `partial` calls, is defined."""
    return str(getattr(act, "func", act).__module__)
