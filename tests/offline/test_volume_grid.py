"""Volumes lie where their artefact says, to a small part of a sample."""

from __future__ import annotations

import numpy as np
import pytest

from offline.eeg.volume_grid import Grid, find_volumes
from rtfeedback.signals import Float32, Float64
from tests.offline.made_up_eeg import SITES, brain, gains, gradients

RATE = 2000.0
CAP = SITES[:4]


def scanned(tr: float, begin: float, volumes: int) -> Float32:
    times = np.arange(round(30 * RATE)) / RATE
    wave = gradients(tr, slices=10)(times - begin)
    wave[(times < begin) | (times >= begin + volumes * tr)] = 0
    return (brain(RATE, 30.0, CAP) + wave[:, None] * gains(4)).astype(np.float32)


@pytest.mark.parametrize(("start", "spacing"), [(40.0, 500.0), (40.3, 500.27), (0.0, 499.6)])
def test_what_is_taken_at_the_points_is_given_back_at_the_samples(
    start: float, spacing: float
) -> None:
    grid = Grid(start, spacing, 12)
    x = brain(RATE, 4.0, CAP).T
    x = np.apply_along_axis(lambda row: np.convolve(row, np.hanning(21), "same"), 1, x)
    volumes = grid.take(x)
    assert volumes.shape == (4, 12, 500)
    there = x[:, grid.samples]
    assert np.abs(grid.give_back(volumes) - there)[:, 5:-5].max() < 0.01 * np.abs(there).max()


@pytest.mark.parametrize("ppm", [0.0, 35.0, -60.0])
def test_the_spacing_is_found_although_markers_are_off(ppm: float) -> None:
    tr = 1.0 + ppm * 1e-6
    rng = np.random.default_rng(4)
    onsets: Float64 = 2 + tr * np.arange(26.0) + rng.integers(-2, 3, 26) / RATE
    onsets[7] += 0.2
    onsets[[3, 20]] = np.nan
    grid = find_volumes(scanned(tr, 2.0, 26), RATE, onsets, tr=1.0, name="run-01")
    assert grid.n_volumes == 26
    assert abs(grid.spacing - tr * RATE) < 1e-3
    assert abs(grid.start - 2 * RATE) < 2


def test_one_clock_is_found_to_be_one() -> None:
    onsets: Float64 = 2 + np.arange(26.0) + np.random.default_rng(5).integers(0, 2, 26) / RATE
    grid = find_volumes(scanned(1.0, 2.0, 26), RATE, onsets, tr=1.0, name="run-01")
    assert grid.is_of_samples
    assert grid.spacing == RATE


def test_what_was_scanned_outside_the_onsets_belongs_to_it_and_silence_does_not() -> None:
    samples = scanned(1.0, 2.0, 26)
    onsets = 2 + np.arange(26.0)
    assert find_volumes(samples, RATE, onsets[4:-3], tr=1.0, name="x").n_volumes == 26
    assert find_volumes(samples, RATE, onsets, tr=1.0, name="x").samples == slice(4000, 56000)
