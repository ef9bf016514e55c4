"""MNE-LSL's StreamLSL at the job, at its best: acquired by hand, or by its own thread.

python -m bench.rivals.streamlsl [--manual] ..., the rest as bench.online.job reads it

Both sleep until 3 ms before the hop is due, so that nothing is acquired or looked at
needlessly; the window is used as it comes, without the copy that a model would need.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from mne_lsl.lsl import local_clock
from mne_lsl.stream import StreamLSL

from bench.online.job import Job, Outbox, missing

EARLY = 0.003  # s before the hop is due
LOOK = 0.0005  # s between two looks from then on
FOUND = 60.0  # s that the stream may take to appear


def main() -> None:
    """Do the job until killed."""
    manual = "--manual" in sys.argv
    job = Job.parse([argument for argument in sys.argv[1:] if argument != "--manual"])
    outbox = Outbox(job.publish)
    stream = StreamLSL(job.window, name=job.stream)
    stream.connect(acquisition_delay=None if manual else 0.001, timeout=FOUND)
    filled, lost, last = 0, 0, None
    while True:
        while stream.n_new_samples < job.n_hop:
            due = job.hop if last is None else last + job.hop - local_clock()
            time.sleep(max(LOOK, min(job.hop, due) - EARLY))
            if manual:
                stream.acquire()
        new = stream.n_new_samples
        window, stamps = stream.get_data()
        if filled < job.n_times:  # zeros stand where nothing has come yet
            filled += new
        else:
            lost += _lost(stamps, new, last, job.rate)
            outbox.send(window, float(stamps[-1]), lost)
        last = float(stamps[-1])


def _lost(stamps: Any, new: int, last: float | None, rate: float) -> int:
    fresh = stamps[stamps > last] if last else stamps[-new:]
    return missing(fresh, last, rate)


if __name__ == "__main__":
    main()
