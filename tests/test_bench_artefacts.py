"""The bars of masking, on real EEG: limits from some runs, judged on others.

`python -m bench.artefacts` says the same of more artefacts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.artefacts import (
    BARRED,
    CAUGHT,
    FIT,
    JUDGED,
    STAY,
    clean_windows,
    fitted,
    judge,
    read_run,
)
from offline.eeg.features import through_chain
from offline.eeg.recordings import read_recording
from offline.injection import Kind
from rtfeedback.chain import ChainSpec
from rtfeedback.chain.limits import ArtefactConfig

CHAINS = ("samples", "tokens")
COUNT = 60


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "eegmmidb_S001"


@pytest.fixture(scope="module", params=CHAINS)
def spec(folder: Path, request: pytest.FixtureRequest) -> ChainSpec:
    return fitted(folder, FIT, tokens=request.param == "tokens", config=ArtefactConfig())


def test_clean_windows_stay_valid(folder: Path, spec: ChainSpec) -> None:
    allowed = clean_windows(spec, [read_run(folder, i) for i in JUDGED])
    assert len(allowed) > 400
    assert allowed.mean() >= STAY


@pytest.mark.parametrize("kind", BARRED)
def test_artefacts_are_caught(folder: Path, spec: ChainSpec, kind: Kind) -> None:
    recordings = [read_run(folder, i) for i in JUDGED]
    found = judge(spec, recordings, kind, COUNT, seed=0)  # the first of the bench's own
    assert sum(each.caught for each in found) >= CAUGHT * COUNT


def test_the_zeros_that_the_files_end_in_are_masked(folder: Path, spec: ChainSpec) -> None:
    recording = read_recording(folder / "S001R07.edf")
    rows, stamps = through_chain(recording, spec)
    assert not recording.samples[-70:].any()
    assert np.isnan(rows[stamps > (len(recording.samples) - 10) / 160]).all()
    assert not np.isnan(rows[:100]).all()
