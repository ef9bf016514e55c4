"""Many runs at once, killed and begun again, some of them broken, of several datasets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from offline import prepare as prepare_module
from offline.eeg.clean_eeg import clean_recording
from offline.prepare import PrepareConfig, prepare
from offline.simulate import SimulateConfig, simulate
from offline.store import prepare_run as prepare_run_module
from offline.store.dataset import Store
from offline.store.prepare_run import RUN, RunJob, prepare_run
from offline.train import TrainConfig, train
from tests.offline.killed import Killed

Run = Callable[..., tuple[int, str, list[str]]]
NAMES = [f"sub-01_task-motorimagery_run-0{run}" for run in range(1, 5)]


def contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_side_by_side_or_one_by_one_gives_the_same_bytes(
    bids: Path, prepared: Path, prepare_config: PrepareConfig, tmp_path: Path
) -> None:
    one = contents(prepare(bids, tmp_path / "one", prepare_config, jobs=1))
    four = contents(prepare(bids, tmp_path / "four", prepare_config, jobs=4))
    assert one == four


def test_what_was_done_before_a_kill_is_not_done_again(
    bids: Path, prepare_config: PrepareConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(prepare(bids, tmp_path / "whole", prepare_config, jobs=1))
    done: list[str] = []

    def until_the_third(job: RunJob, **rest: object) -> object:
        if len(done) == 2:
            raise Killed
        done.append(job.name)
        return prepare_run(job, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(prepare_module, "prepare_run", until_the_third)
    with pytest.raises(Killed):
        prepare(bids, tmp_path / "out", prepare_config, jobs=1)
    assert not (tmp_path / "out").exists()
    again: list[str] = []

    def told(job: RunJob, **rest: object) -> object:
        folder = rest["folder"]
        assert isinstance(folder, Path)
        if not (folder / job.name / RUN).is_file():
            again.append(job.name)
        return prepare_run(job, **rest)  # type: ignore[arg-type]

    def never(*_: object) -> object:
        raise AssertionError("the chains were fitted before")

    monkeypatch.setattr(prepare_module, "prepare_run", told)
    monkeypatch.setattr(prepare_module, "fit_chains", never)
    prepare(bids, tmp_path / "out", prepare_config, jobs=1)
    assert (done, again) == (NAMES[:2], NAMES[2:])
    assert contents(tmp_path / "out") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def test_a_process_that_is_killed_leaves_no_store_and_its_successor_a_whole_one(
    bids: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "rtfeedback", "prepare", str(bids), "out", "--jobs", "1"]
    stage = tmp_path / ".out.unfinished" / "parts"
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not list(stage.glob(f"*/{RUN}")):
            assert process.poll() is None
            assert time.monotonic() < deadline
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert list(Store(tmp_path / "out").runs) == NAMES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def broken_copy(bids: Path, tmp_path: Path) -> Path:
    """Return a copy of a dataset whose second run is a link's text in place of its EEG."""
    copy = shutil.copytree(bids, tmp_path / "bids", copy_function=os.link)
    header = copy / f"sub-01/eeg/{NAMES[1]}_eeg.vhdr"
    header.unlink()
    header.write_text("../../.git/annex/objects/9x/VG/MD5E-s1--0.vhdr/MD5E-s1--0.vhdr")
    return copy


def test_a_broken_run_is_skipped_and_named_and_the_others_load(
    rtfeedback: Run, bids: Path, tmp_path: Path
) -> None:
    copy = broken_copy(bids, tmp_path)
    code, out, said = rtfeedback("prepare", copy, "out")
    store = Store(tmp_path / "out")
    assert (code, out) == (3, "out\n")
    assert said[-1] == f"1 of 4 runs were skipped: {NAMES[1]}"
    assert any(line.startswith(f"skipped {NAMES[1]}: ") for line in said)
    assert list(store.runs) == [NAMES[0], *NAMES[2:]]
    (skipped,) = store.manifest.skipped
    assert skipped.name == NAMES[1]
    assert f"{NAMES[1]}_eeg.vhdr" in skipped.why


def test_eeg_is_cleaned_once_however_often_it_is_read(
    bids_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[str] = []

    def counted(*recording: object, name: str, **rest: object) -> object:
        cleaned.append(name)
        return clean_recording(*recording, name=name, **rest)  # type: ignore[arg-type]

    config = PrepareConfig.model_validate(
        {"eeg": {"rate": 200.0}, "chains": {"tokens": {"band_power": {}}}}
    )
    monkeypatch.setattr(prepare_run_module, "clean_recording", counted)
    store = Store(prepare(bids_copy, tmp_path / "out", config, jobs=1))
    assert cleaned == NAMES[:2]
    monkeypatch.setattr(prepare_run_module, "keep", lambda *_: None)
    often = Store(prepare(bids_copy, tmp_path / "often", config, jobs=1))
    assert len(cleaned) > 4
    for name, run in store.runs.items():
        assert run.manifest == often.runs[name].manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bids", "often", "out"]


# ------------------------------------------------------------------- several datasets


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of another cap, rate and TR."""
    out = tmp_path_factory.mktemp("other") / "xp2"
    simulate(
        out,
        SimulateConfig(subjects=1, runs=2, volumes=60, channels=32, rate=500.0, tr=1.0, seed=5),
    )
    return out


def test_datasets_of_another_cap_rate_and_tr_train_one_model(
    bids: Path, other: Path, tmp_path: Path
) -> None:
    config = PrepareConfig.model_validate(
        {
            "datasets": [{"name": "xp2", "path": str(other), "eeg": {"rate": 250.0}}],
            "chains": {"tokens": {"band_power": {}}},
        }
    )
    store = Store(prepare(bids, tmp_path / "store", config))
    theirs = [name for name in store.runs if name.startswith("xp2_")]
    assert len(theirs) == 2
    assert {store.runs[name].manifest.subject for name in theirs} == {"xp2_01"}
    assert {run.tr for run in store.manifest.runs} == {1.0, 2.0}
    assert len(store.chain("tokens").channels) == 16  # those that both caps have
    assert store.chain("tokens").sfreq == 250.0
    assert "resampled to 250 Hz" in store.manifest.upstream
    spec = train(store, tmp_path / "model", TrainConfig())
    assert set(spec.training.subjects) == {"01", "xp2_01"}


def test_datasets_whose_rates_differ_are_refused_where_none_is_common(
    bids: Path, other: Path, tmp_path: Path
) -> None:
    config = PrepareConfig.model_validate({"datasets": [{"name": "xp2", "path": str(other)}]})
    with pytest.raises(Exception, match="differs in rate"):
        prepare(bids, tmp_path / "store", config)


# ------------------------------------------------------------ the cap outside the scanner


def test_a_model_for_fewer_channels_is_what_preparing_with_them_gives(
    rtfeedback: Run, bids: Path, prepared: Path, prepare_config: PrepareConfig, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(prepared, store)
    code, _, _ = rtfeedback("train", store, "--channels", "C4,c3,Cz", "--out", "model")
    assert code == 0
    chain = json.loads((tmp_path / "model/checkpoint.json").read_text())["chain"]
    assert chain["channels"] == ["C3", "Cz", "C4"]
    config = prepare_config.model_copy(update={"channels": ("C3", "Cz", "C4")})
    direct = Store(prepare(bids, tmp_path / "direct", config))
    (made,) = [path for path in tmp_path.iterdir() if path.name.startswith("store-3ch-")]
    for name, run in Store(made).runs.items():
        there = direct.runs[name].features("tokens")
        assert np.array_equal(run.features("tokens"), there, equal_nan=True)


def test_a_cap_may_be_named(rtfeedback: Run, prepared: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(prepared, store)
    assert rtfeedback("train", store, "--channels", "biosemi16", "--out", "model")[0] == 0
    chain = json.loads((tmp_path / "model/checkpoint.json").read_text())["chain"]
    assert set(chain["channels"]) <= set(Store(prepared).chain("tokens").channels)
    assert 4 < len(chain["channels"]) < 16


def test_a_channel_that_the_store_lacks_is_refused(rtfeedback: Run, prepared: Path) -> None:
    code, _, said = rtfeedback("train", prepared, "--channels", "C3,E17")
    assert code == 1
    assert "The store has no channel E17" in said[-1]
