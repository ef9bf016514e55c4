"""Simulated BOLD for a real EEG recording: it tests the plumbing and claims no skill.

The motor regions' BOLD is made of that EEG's own power, so there is something to find;
there is no task in it, and no truth about a brain.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfiltfilt

from offline.eeg.recordings import Recording, read_recording
from offline.simulation.neural import bold_at_volumes, slow_times
from offline.simulation.one_run import SimulateConfig, Truth, write_scan
from offline.simulation.run_files import Electrodes, RunFiles, write_eeg
from offline.simulation.scan import Block, Scan, first_volume
from rtfeedback.errors import ChannelError, RecordingError
from rtfeedback.signals import Float64

BEFORE = 2.0  # s of EEG before the first volume, or a little more
MIN_VOLUMES = 10
BAND = (8.0, 30.0)  # Hz
POWER_SD = 0.5  # s, Gaussian over which power is averaged
LIMIT = 2.5  # nats: muscle and loose electrodes must not make all of the variance
HANDS = ("C3", "C4")
NOTE = "Real EEG, unchanged; volume markers and BOLD are simulated"


def simulate_on_recording(files: RunFiles, path: Path, config: SimulateConfig) -> Truth:
    """Write one run: the recording as it is, and BOLD of its power at C3 and C4."""
    recording = read_recording(path)
    info = recording.info
    drive_of = [_column(recording, name, path) for name in HANDS]
    scan = _plan_scan(recording, path, config.tr)
    times = slow_times(scan)
    hands = [-_log_power(column, info.sfreq, times) for column in drive_of]
    drive = np.array([*hands, np.zeros(times.size)])  # nothing is claimed of occipital
    note = f"{NOTE}. Source: {path.name}"
    electrodes = Electrodes(info.channels, info.kinds, info.reference, note)
    write_eeg(files, recording.samples, electrodes, scan)
    courses = bold_at_volumes(drive, times, scan, 0.0)
    seed = np.random.SeedSequence((config.seed, files.subject, files.run))
    return write_scan(files, np.random.default_rng(seed), courses, scan, snr=config.snr)


def _plan_scan(recording: Recording, path: Path, tr: float) -> Scan:
    """Return as many volumes as fit, from some 2 s after the recording's start."""
    rate, n_times = recording.info.sfreq, len(recording.samples)
    first = first_volume(BEFORE, rate)
    n_volumes = int(round((n_times - first) / (tr * rate), 6))
    if n_volumes < MIN_VOLUMES:
        raise RecordingError(
            f"{path} is too short for {MIN_VOLUMES} volumes",
            found=f"It lasts {n_times / rate:g} s, which holds {max(n_volumes, 0)} of {tr:g} s",
            do="Give a longer recording, or a shorter TR",
        )
    blocks = (Block(0.0, n_volumes * tr, "rest"),)
    return Scan(rate, tr, n_volumes, first, n_times, blocks)


def _column(recording: Recording, name: str, path: Path) -> Float64:
    """Return a channel's course in microvolts, shape (n_times,)."""
    if name not in recording.info.channels:
        raise ChannelError(
            f"{path} has no channel {name}, whose power the simulated BOLD is made of",
            found=f"Its channels are {', '.join(recording.info.channels)}",
            do="Give recordings with C3 and C4",
        )
    column = recording.samples[:, recording.info.channels.index(name)].astype(np.float64)
    if not _alive(column).any():
        raise ChannelError(
            f"Channel {name} of {path} is flat",
            found=f"Every sample is {column[0]:g} µV",
            do="Give a recording in which it works",
        )
    return column


def _log_power(column: Float64, rate: float, times: Float64) -> Float64:
    """Return log power about its median, in nats, at times in seconds from sample 0.

    Where nothing was recorded (before the start, or a stretch that stays at one value,
    such as the zeros that end EEGMMIDB files) power is taken to be the median.
    """
    high = min(BAND[1], 0.45 * rate)
    band = butter(4, (BAND[0], high), "bandpass", fs=rate, output="sos")
    alive = _alive(column).astype(np.float64)
    power = sosfiltfilt(band, column) ** 2 * alive
    seen = gaussian_filter1d(alive, POWER_SD * rate)
    mean = gaussian_filter1d(power, POWER_SD * rate) / np.maximum(seen, 1e-12)
    known = (seen > 0.5) & (mean > 0)
    level = np.zeros(column.size)
    level[known] = np.log(mean[known])
    level[known] -= np.median(level[known])
    clock = np.arange(column.size) / rate
    return np.interp(times, clock, np.clip(level, -LIMIT, LIMIT), left=0.0, right=0.0)


def _alive(column: Float64) -> NDArray[np.bool_]:
    return np.asarray(np.diff(column, prepend=column[:1]) != 0)
