"""When the volumes and blocks of a simulated run fall; it knows nothing of signals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rtfeedback.signals import Float64, Int64

BLOCK = 20.0  # s of rest, then as much imagery, and so on from the first volume
SLICE_REF = 0.5  # a volume shows the BOLD half a TR after its onset, as in fMRIPrep
GRID = 8  # the first volume falls on a multiple of 8 samples: decimators keep it


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of one condition, in seconds from the first volume."""

    onset: float
    duration: float
    trial_type: str


@dataclass(frozen=True, slots=True)
class Scan:
    """The clock of one run.

    Attributes
    ----------
    rate : float
        EEG samples per second.
    tr : float
        Seconds from one volume to the next.
    n_volumes : int
    first : int
        EEG sample at which the first volume begins.
    n_times : int
        EEG samples of the run.
    blocks : tuple of Block
    """

    rate: float
    tr: float
    n_volumes: int
    first: int
    n_times: int
    blocks: tuple[Block, ...]

    def volume_samples(self) -> Int64:
        """Return the EEG sample at which each volume begins, shape (n_volumes,)."""
        steps = np.arange(self.n_volumes) * self.tr * self.rate
        return np.asarray(self.first + np.rint(steps), dtype=np.int64)

    def sample_at(self, onset: float) -> int:
        """Return the EEG sample `onset` seconds after the first volume."""
        return self.first + round(onset * self.rate)

    def target_times(self) -> Float64:
        """Return the time each volume shows, in seconds from EEG sample 0."""
        volumes = np.arange(self.n_volumes, dtype=np.float64)
        return self.first / self.rate + (volumes + SLICE_REF) * self.tr

    def imagery_at(self, times: Float64) -> Float64:
        """Return 1 during imagery, else 0, at times in seconds from EEG sample 0."""
        boxcar = np.zeros(times.shape)
        since = times - self.first / self.rate
        for block in self.blocks:
            if block.trial_type == "imagery":
                boxcar[(since >= block.onset) & (since < block.onset + block.duration)] = 1
        return boxcar


def first_volume(seconds: float, rate: float) -> int:
    """Return the first sample on the grid that is `seconds` or more into the EEG."""
    return GRID * math.ceil(round(seconds * rate, 6) / GRID)


def block_design(duration: float) -> tuple[Block, ...]:
    """Return rest and imagery in turn over `duration` seconds, the last one cut."""
    return tuple(
        Block(k * BLOCK, min(BLOCK, duration - k * BLOCK), ("rest", "imagery")[k % 2])
        for k in range(math.ceil(round(duration / BLOCK, 6)))
    )
