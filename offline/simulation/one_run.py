"""One simulated run, from what is asked for to its files; it knows no dataset around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from offline.simulation.haemodynamics import load_brain, simulate_bold
from offline.simulation.headmodel import REFERENCE, channel_names
from offline.simulation.neural import bold_at_volumes, design_share, simulate_neural
from offline.simulation.regions import motor_mask, region_blobs
from offline.simulation.run_files import Electrodes, RunFiles, write_bold, write_eeg
from offline.simulation.scan import BLOCK, Scan, block_design, first_volume
from offline.simulation.sources import draw_anatomy, simulate_eeg
from rtfeedback.config import Config
from rtfeedback.signals import Float64

BEFORE, AFTER = 8.0, 4.0  # s of EEG before the first volume, and after the last


class SimulateConfig(Config):
    """What to simulate."""

    subjects: int = Field(3, ge=1, le=99, description="Number of subjects.")
    runs: int = Field(3, ge=1, le=99, description="Runs of each subject.")
    volumes: int = Field(100, ge=10, le=2000, description="Volumes of each run.")
    tr: float = Field(2.0, ge=0.3, le=5.0, description="Seconds from volume to volume.")
    snr: float = Field(
        1.2,
        ge=0.01,
        le=1000.0,
        description="r**2 / (1 - r**2), with r the correlation of the motor region's "
        "measured course with the truth, in the middle subject; others differ by a quarter.",
    )
    coupling: float = Field(
        1.0,
        ge=0.0,
        le=1.0,
        description="Share of BOLD's variation beyond the task that the EEG shows too.",
    )
    seed: int = Field(0, ge=0, description="Same seed, same bytes.")
    channels: int = Field(64, ge=8, le=64, description="EEG channels, of the 10-10 system.")
    rate: float = Field(250.0, ge=100.0, le=5000.0, description="EEG samples per second.")

    @model_validator(mode="after")
    def _has_both_conditions(self) -> SimulateConfig:
        if self.volumes * self.tr < 2 * BLOCK:
            raise ValueError(
                f"A run needs {2 * BLOCK:g} s, a block of rest and one of imagery; "
                f"{self.volumes} volumes of {self.tr:g} s are {self.volumes * self.tr:g} s"
            )
        return self


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of one simulated run's motor region.

    Attributes
    ----------
    name : str
        The run's BIDS name.
    course : list of float
        Noise-free course at each volume's target time, in % signal change.
    design_share : float or None
        Share of its variance that the task explains; None without a task.
    ceiling_r : float
        Its correlation with the measured course, before any cleaning of that.
    """

    name: str
    course: list[float]
    design_share: float | None
    ceiling_r: float

    def message(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {
            "course": self.course,
            "design_share": self.design_share,
            "ceiling_r": self.ceiling_r,
        }


def simulate_run(files: RunFiles, config: SimulateConfig) -> Truth:
    """Draw and write one run; it depends on the seed, the subject and the run only."""
    person, rng = _generators(config.seed, files.subject, files.run)
    anatomy = draw_anatomy(person)
    delay, depth = person.uniform(-0.4, 0.4), person.uniform(0.85, 1.15)
    snr = config.snr * person.uniform(0.8, 1.25)
    scan = plan_scan(config)
    neural = simulate_neural(rng, scan, coupling=config.coupling, delay=delay, depth=depth)
    clock = np.arange(scan.n_times) / scan.rate
    log_power = np.array([np.interp(clock, neural.times, row) for row in neural.log_power])
    names = channel_names(config.channels)
    samples = simulate_eeg(rng, names, log_power, rate=scan.rate, anatomy=anatomy)
    kinds = ("eeg",) * len(names)
    electrodes = Electrodes(names, kinds, REFERENCE, "Simulated. 20 s rest, 20 s imagery")
    write_eeg(files, samples, electrodes, scan)
    courses = bold_at_volumes(neural.drive, neural.times, scan, delay)
    return write_scan(files, rng, courses, scan, snr=snr, shift=anatomy.shift)


def write_scan(
    files: RunFiles,
    rng: np.random.Generator,
    courses: Float64,
    scan: Scan,
    *,
    snr: float,
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Truth:
    """Draw and write one run's BOLD from its regions' courses (3, n_volumes)."""
    blobs, roi = region_blobs(shift), motor_mask()
    bold = simulate_bold(rng, blobs, courses, roi, tr=scan.tr, snr=snr)
    write_bold(files, bold, load_brain().affine, scan)
    share = design_share(bold.truth, scan) if len(scan.blocks) > 1 else None
    course = [round(float(value), 6) for value in bold.truth]
    return Truth(files.name, course, share and round(share, 6), round(bold.ceiling, 6))


def plan_scan(config: SimulateConfig) -> Scan:
    """Return when volumes and blocks fall in a simulated run."""
    duration = config.volumes * config.tr
    first = first_volume(BEFORE, config.rate)
    n_times = first + round((duration + AFTER) * config.rate)
    blocks = block_design(duration)
    return Scan(config.rate, config.tr, config.volumes, first, n_times, blocks)


def _generators(
    seed: int, subject: int, run: int
) -> tuple[np.random.Generator, np.random.Generator]:
    """Return the subject's own generator, the same in every run, and the run's."""
    return (
        np.random.default_rng(np.random.SeedSequence((seed, subject))),
        np.random.default_rng(np.random.SeedSequence((seed, subject, run))),
    )
