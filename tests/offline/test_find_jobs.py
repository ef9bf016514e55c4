"""Runs that windows come of, and runs that say where a region is and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from offline.prepare import PrepareConfig, prepare
from offline.simulate import SimulateConfig, simulate
from offline.store.dataset import Store
from offline.store.find_jobs import find_jobs
from rtfeedback.config import parse_config
from rtfeedback.errors import ConfigError, DatasetError

SUBJECTS = ("01", "02", "03")
FIRST = "sub-{}_task-motorimagery_run-01"
SECOND = "sub-{}_task-motorimagery_run-02"


def localized(**localizer: object) -> PrepareConfig:
    """Return settings whose region is each subject's own, and a subject is held out."""
    settings = {"contrast": "imagery - rest", "n_voxels": 20, **localizer}
    return parse_config(
        {
            "targets": [{"name": "hand", "localizer": settings}],
            "split": {"kind": "subject"},
        },
        PrepareConfig,
        source="test",
    )


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of three subjects with two runs each."""
    out = tmp_path_factory.mktemp("subjects") / "bids"
    simulate(out, SimulateConfig(subjects=3, runs=2, volumes=40, channels=8))
    return out


def test_reserved_runs_say_where_the_region_is_in_a_subject_that_is_held_out(
    subjects: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"where 'hand' is in subject 02.+reserved"):
        prepare(subjects, tmp_path / "none", localized(), jobs=1)
    config = localized(runs=["*_run-01"], reserved=True)
    store = Store(prepare(subjects, tmp_path / "store", config, jobs=1))
    assert list(store.runs) == [SECOND.format(subject) for subject in SUBJECTS]
    for subject in SUBJECTS:
        notes = " ".join(store.runs[SECOND.format(subject)].manifest.notes)
        assert f"found in {FIRST.format(subject)}." in notes
    assert "runs that are for it alone" in store.manifest.targets[0].definition


def test_a_run_for_the_localizer_alone_needs_no_eeg(subjects: Path, tmp_path: Path) -> None:
    config = localized(runs=["*_run-01"], reserved=True)
    with_eeg = Store(prepare(subjects, tmp_path / "with", config, jobs=1))
    copy = Path(shutil.copytree(subjects, tmp_path / "bids"))
    for path in copy.glob("sub-*/eeg/*_run-01_eeg.*"):
        path.unlink()
    found = find_jobs(copy, config)
    assert list(found.localizers) == [FIRST.format(subject) for subject in SUBJECTS]
    without = Store(prepare(copy, tmp_path / "without", config, jobs=1))
    for name in with_eeg.runs:
        assert np.array_equal(with_eeg.runs[name].targets, without.runs[name].targets)


def test_without_a_localizer_a_run_of_bold_alone_is_not_looked_at(
    subjects: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(subjects, tmp_path / "bids"))
    for path in copy.glob("sub-*/eeg/*_run-01_eeg.*"):
        path.unlink()
    found = find_jobs(copy, PrepareConfig())
    assert not found.localizers
    assert [job.name for job in found.jobs] == [SECOND.format(s) for s in SUBJECTS]


def test_reserving_all_there_is_is_refused(subjects: Path) -> None:
    with pytest.raises(DatasetError, match=r"No run is left.+run-02"):
        find_jobs(subjects, localized(runs=["*"], reserved=True))
    with pytest.raises(ConfigError, match="reserved takes tasks or runs"):
        localized(reserved=True)
