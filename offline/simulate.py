"""A BIDS EEG-fMRI dataset whose truth is known; the one place that puts its parts together.

What it makes is a simulation: it shows that the software works, not that the method does.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from offline.progress import progress
from offline.simulation.dataset_files import write_dataset
from offline.simulation.one_run import SimulateConfig, Truth, simulate_run
from offline.simulation.run_files import RunFiles
from offline.simulation.semisynthetic import simulate_on_recording
from rtfeedback.errors import RtfeedbackError
from rtfeedback.folders import new_folder

__all__ = ["SimulateConfig", "simulate"]

WORKERS = 2


def simulate(out: Path, config: SimulateConfig, *, eeg: tuple[Path, ...] = ()) -> None:
    """Write a BIDS dataset of EEG and BOLD with known truth, whole or not at all.

    Parameters
    ----------
    out : Path
        A folder that does not exist yet, or is empty.
    config : SimulateConfig
    eeg : tuple of Path
        Real recordings, one per run of one subject: the EEG is theirs, unchanged, and
        BOLD is made of the log power of their C3 and C4. `subjects`, `runs`, `volumes`,
        `coupling`, `channels` and `rate` are then ignored: the recordings say.

    Raises
    ------
    OutputError
        `out` is taken, or cannot be written.
    RecordingError, ChannelError
        A recording is broken, too short, or has no C3 and C4.
    """
    with new_folder(out) as folder:
        if eeg:
            jobs = [
                partial(simulate_on_recording, RunFiles(folder, 1, k), path, config)
                for k, path in enumerate(eeg, start=1)
            ]
        else:
            jobs = [
                partial(simulate_run, RunFiles(folder, subject, run), config)
                for subject in range(1, config.subjects + 1)
                for run in range(1, config.runs + 1)
            ]
        truths = {truth.name: {"motor": truth.message()} for truth in _in_parallel(jobs)}
        write_dataset(folder, config.model_dump(), truths, tuple(p.name for p in eeg))


def _in_parallel(jobs: Sequence[Callable[[], Truth]]) -> Iterator[Truth]:
    """Run the jobs in processes of their own, and yield their results in order."""
    total = len(jobs)
    if total == 1:
        yield from progress(map(_on_one_thread, jobs), "Simulating runs", total=total)
        return
    # Spawned, not forked: BLAS and torch threads of this process do not survive a fork.
    spawn = get_context("spawn")
    try:
        with ProcessPoolExecutor(WORKERS, spawn, initializer=_leave_interrupts) as pool:
            done = pool.map(_on_one_thread, jobs)
            yield from progress(done, "Simulating runs", total=total)
    except BrokenProcessPool as error:
        raise RtfeedbackError(
            "A process that simulates runs has died",
            found=str(error),
            do="Free memory, or simulate shorter runs; from a script of your own, call it "
            "under `if __name__ == '__main__'`",
        ) from error


def _leave_interrupts() -> None:
    """Let Ctrl-C stop the parent only, which then stops its workers without tracebacks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _on_one_thread(job: Callable[[], Truth]) -> Truth:
    """Run a job so that its sums round the same wherever, and cores are shared fairly."""
    with threadpool_limits(1):
        return job()
