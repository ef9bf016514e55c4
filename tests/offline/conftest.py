"""One tiny simulated dataset, its store and a ridge on it, made once and only read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from offline.prepare import PrepareConfig, prepare
from offline.simulate import SimulateConfig, simulate
from offline.store.dataset import READS, Store
from offline.train import TrainConfig, train

RUN = "sub-01_task-motorimagery_run-0{}"
MASK = "derivatives/simulated/motor_mask.nii.gz"


@pytest.fixture(scope="session")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of one subject: 4 runs of 40 volumes, 16 channels at 250 Hz."""
    out = tmp_path_factory.mktemp("desk") / "bids"
    simulate(out, SimulateConfig(subjects=1, runs=4, volumes=40, channels=16))
    return out


@pytest.fixture
def bids_copy(bids: Path, tmp_path: Path) -> Path:
    """Return a copy of its first two runs for a test to break: replace files, never edit."""
    copy = tmp_path / "bids"
    skip = shutil.ignore_patterns("*run-03*", "*run-04*")
    shutil.copytree(bids, copy, copy_function=os.link, ignore=skip)
    return copy


@pytest.fixture(scope="session")
def prepare_config() -> PrepareConfig:
    """Return settings whose first target is the simulation's own region."""
    return PrepareConfig.model_validate(
        {"targets": [{"name": "motor", "mask": MASK}, {"name": "spheres", "radius": 12.0}]}
    )


@pytest.fixture(scope="session")
def prepared(bids: Path, prepare_config: PrepareConfig) -> Path:
    """Return the dataset's store."""
    return prepare(bids, bids.parent / "prepared", prepare_config)


@pytest.fixture
def store(prepared: Path) -> Store:
    """Return the dataset's store, opened."""
    return Store(prepared)


@pytest.fixture
def store_copy(prepared: Path, tmp_path: Path) -> Store:
    """Return a copy of the store, its test part never read, for a test to break."""
    unread = shutil.ignore_patterns(READS)
    return Store(Path(shutil.copytree(prepared, tmp_path / "prepared", ignore=unread)))


@pytest.fixture(scope="session")
def ridge(prepared: Path) -> Path:
    """Return the checkpoint of a ridge: trained on runs 1 and 2, run 4 is held out."""
    train(Store(prepared), prepared.parent / "ridge", TrainConfig())
    return prepared.parent / "ridge"


@pytest.fixture(scope="session")
def volumes(bids: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return the simulated dataset's store with volumes of 12 mm."""
    config = {
        "volumes": {"grid": 12.0},
        "targets": [
            {"name": "motor", "mask": MASK},
            {"name": "sphere", "radius": 20.0},
            {"name": "both", "difference": ["motor", "sphere"]},
        ],
    }
    out = tmp_path_factory.mktemp("volumes") / "store"
    return Store(prepare(bids, out, PrepareConfig.model_validate(config)))
