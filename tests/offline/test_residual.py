"""What is left of an artefact is told from EEG, where the mean over volumes tells nothing."""

from __future__ import annotations

import numpy as np

from offline.eeg.gradient import volume_locked_share
from offline.eeg.residual import artefact_left
from offline.eeg.volume_grid import Grid
from rtfeedback.signals import Float64
from tests.offline.made_up_eeg import SITES, brain, gains, gradients, recorded

RATE = 1000.0
SECONDS = 40.0
CAP = SITES[:6]
GRID = Grid(start=0.0, spacing=RATE, n_volumes=40)
ONSETS = np.arange(40.0)
TIMES = np.arange(round(SECONDS * RATE)) / RATE


def left(residue: Float64) -> tuple[float, float]:
    """Return what is found of a residue, shape (n_times,), that a removal has left."""
    eeg, artefact = brain(RATE, SECONDS, CAP), gradients(1.0)(TIMES)[:, None] * gains(6)
    before = recorded(eeg + artefact + residue[:, None] * gains(6), RATE, CAP)
    after = recorded(eeg + residue[:, None] * gains(6), RATE, CAP)
    assert (volume_locked_share(after, ONSETS) or 0.0) < 0.2  # which would let it pass
    return artefact_left(before, after, GRID)


def test_eeg_alone_is_nothing_left() -> None:
    share, rms = left(np.zeros(len(TIMES)))
    assert share < 0.05
    assert 2e-6 < rms < 3e-5


def test_an_artefact_that_moves_from_volume_to_volume_is_left() -> None:
    shifts = np.random.default_rng(1).uniform(-1e-3, 1e-3, 40)
    wave = gradients(1.0)
    share, _ = left(wave(TIMES - shifts[TIMES.astype(int)]) - wave(TIMES))
    assert share > 0.5


def test_an_artefact_that_grows_and_shrinks_is_left() -> None:
    sizes = np.random.default_rng(2).choice([-0.06, 0.06], 40)
    share, _ = left(gradients(1.0)(TIMES) * sizes[TIMES.astype(int)])
    assert share > 0.5


def test_what_fits_no_template_is_large() -> None:
    other = gradients(1.0, slices=13, seed=3)(TIMES * 1.0137)
    share, rms = left(other)
    assert share < 0.2
    assert rms > 1e-4


def test_a_dead_recording_has_nothing_left() -> None:
    dead = recorded(np.zeros((len(TIMES), 6)), RATE, CAP)
    assert artefact_left(dead, dead, GRID) == (0.0, 0.0)
