"""A small study whose model is real: simulated, prepared, fitted; one run held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.truth import Truth
from offline.eeg.recordings import Recording, read_recording
from offline.prepare import PrepareConfig, prepare
from offline.simulate import SimulateConfig, simulate
from offline.store.dataset import Store
from offline.train import TrainConfig, train
from rtfeedback.chain import ChainConfig
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.models import RidgeConfig
from rtfeedback.predictor import Predictor

HELD_OUT = "*run-03*_eeg.vhdr"
STARTS = 64  # beginnings of the chain that are tried; its tokens are 62.5 samples apart


@dataclass(frozen=True, slots=True)
class Study:
    """What bad days are tried on.

    Attributes
    ----------
    predictor : Predictor
        A ridge on band power that reads the motor region, 6 s of EEG, 4 s ahead.
    recording : Recording
        The first minute of a run that it was not fitted on.
    truth : Truth
    """

    predictor: Predictor
    recording: Recording
    truth: Truth

    @classmethod
    def make(cls, folder: Path, seconds: float) -> Study:
        """Simulate, prepare and fit in a folder, which takes a quarter of a minute.

        Parameters
        ----------
        folder : Path
            Empty, or one in which this was done before.
        seconds : float
            Of the held-out run.
        """
        if not (folder / "checkpoint").exists():
            _fit(folder)
        predictor = Predictor.load(folder / "checkpoint", "cpu")
        recording = _cut(read_recording(next((folder / "bids").rglob(HELD_OUT))), seconds)
        return cls(predictor, recording, Truth(predictor, recording))

    def spread(self) -> float:
        """Return by how much the unharmed EEG's own predictions differ, at most.

        The chain's tokens lie on a grid that begins with the segment. Begun a few samples
        later, the same EEG gives other values, and none is truer than another.
        """
        onsets = np.arange(14.0, self.recording.markers[-1].stamp, 2.0)
        largest = 0.0
        for target in onsets.tolist():
            found = [self.truth.z(target, begin) for begin in range(STARTS)]
            zs = [list(each.values()) for each in found if each]
            largest = max(largest, float(np.abs(np.array(zs) - zs[0]).max()))
        return largest


def _fit(folder: Path) -> None:
    tokens = {"tokens": ChainConfig(band_power=BandPowerConfig())}
    simulate(folder / "bids", SimulateConfig(subjects=1, runs=3, volumes=50, channels=16))
    prepare(folder / "bids", folder / "store", PrepareConfig(chains=tokens))
    recipe = TrainConfig(model=RidgeConfig(length=6.0, lead=4.0))
    train(Store(folder / "store"), folder / "checkpoint", recipe)


def _cut(recording: Recording, seconds: float) -> Recording:
    n_times = round(seconds * recording.info.sfreq)
    markers = tuple(m for m in recording.markers if m.stamp < seconds)
    return Recording(recording.info, recording.samples[:n_times].copy(), markers)
