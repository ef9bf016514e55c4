"""A child of a checkpoint: what it shares with its parent, and what it may have seen."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offline.calibrate import calibrate_by_eeg, calibrate_by_fmri
from offline.eeg.features import through_chain
from offline.eeg.recordings import Recording, read_recording
from offline.evaluate import evaluate
from offline.prepare import PrepareConfig, prepare
from offline.recording_stream import recording_source
from offline.simulate import SimulateConfig, simulate
from offline.store.dataset import Store, window_at
from offline.train import TrainConfig, train
from rtfeedback.checkpoint import Checkpoint, load_checkpoint
from rtfeedback.errors import (
    ChannelError,
    DatasetError,
    OutputError,
    RecordingError,
)
from rtfeedback.online.daemon import Daemon
from rtfeedback.online.lsl import EEGOutlet, LSLSource, clock
from rtfeedback.online.memory import MemorySource
from rtfeedback.online.settings import RunConfig, RunOptions, run_flags
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float64
from tests.offline.conftest import MASK

RUN = "sub-01_task-motorimagery_run-0{}"


@pytest.fixture(scope="session")
def eeg(bids: Path) -> Path:
    return bids / "sub-01" / "eeg" / f"{RUN.format(3)}_eeg.vhdr"


@pytest.fixture(scope="session")
def recording(eeg: Path) -> Recording:
    """Return 92 s of a run that the ridge was not trained on."""
    return read_recording(eeg)


@pytest.fixture(scope="session")
def day(ridge: Path, recording: Recording) -> Path:
    """Return the ridge's child by that run."""
    calibrate_by_eeg(load_checkpoint(ridge), source(recording), ridge.parent / "day")
    return ridge.parent / "day"


@pytest.fixture(scope="session")
def newcomer(bids: Path) -> Path:
    """Return the store of another subject: runs 1 and 2 to fit on, run 3 for test."""
    root = bids.parent / "newcomer"
    simulate(root, SimulateConfig(subjects=1, runs=3, volumes=40, channels=16, seed=5))
    targets = [{"name": "motor", "mask": MASK}, {"name": "spheres", "radius": 12.0}]
    config = PrepareConfig.model_validate({"targets": targets, "split": {"validation": 0}})
    return prepare(root, bids.parent / "newcomer-store", config)


def source(recording: Recording) -> MemorySource:
    return MemorySource(recording.info, recording.samples)


def louder(recording: Recording, times: float) -> Recording:
    return replace(recording, samples=(recording.samples * times).astype(np.float32))


def predictions(path: Path, recording: Recording) -> Float64:
    """Return the z that a checkpoint says of each fifth second of a recording."""
    predictor = Predictor.load(path, "cpu")
    n_times = predictor.shape[1]
    rows, _ = through_chain(recording, predictor.spec.chain)
    ends = range(n_times, len(rows), 20)
    told = [predictor(window_at(rows, end, n_times)) for end in ends]
    return np.array([[roi.z for roi in each.values()] for each in told])


def files(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def flags(path: Path) -> tuple[str, ...]:
    config = RunConfig.model_validate({"session": {"environment": "scanner"}})
    return run_flags(load_checkpoint(path).spec, config, RunOptions(stream="EEG", out=path))


# ----------------------------------------------------------------------------- EEG alone


def test_eeg_that_is_three_times_larger_gets_back_the_predictions(
    day: Path, recording: Recording, tmp_path: Path
) -> None:
    large = louder(recording, 3.0)
    before = predictions(day, recording)
    assert np.abs(predictions(day, large) - before).max() > 0.5
    calibrate_by_eeg(load_checkpoint(day), source(large), tmp_path / "child")
    np.testing.assert_allclose(predictions(tmp_path / "child", large), before, atol=2e-3)
    assert load_checkpoint(tmp_path / "child").spec.calibrations[-1].notes[
        "size"
    ] == pytest.approx(3.0, rel=1e-3)


def test_calibrated_by_what_it_was_trained_on_it_says_nearly_the_same(
    ridge: Path, bids: Path, recording: Recording, tmp_path: Path
) -> None:
    """The same estimator as the training's, on one of its two runs."""
    own = read_recording(bids / "sub-01" / "eeg" / f"{RUN.format(1)}_eeg.vhdr")
    calibrate_by_eeg(load_checkpoint(ridge), source(louder(own, 3.0)), tmp_path / "child")
    parent = predictions(ridge, recording)[:, 0]
    child = predictions(tmp_path / "child", louder(recording, 3.0))[:, 0]
    assert np.corrcoef(parent, child)[0, 1] > 0.98
    assert np.abs(parent - child).mean() < 0.2 * parent.std() + 0.1


def test_a_child_says_what_it_is_and_its_parent_stays(
    ridge: Path, recording: Recording, tmp_path: Path
) -> None:
    before, parent = files(ridge), load_checkpoint(ridge)
    weights = {name: each.clone() for name, each in parent.model.state_dict().items()}
    calibrate_by_eeg(parent, source(recording), tmp_path / "child")
    assert files(ridge) == before
    assert all(torch.equal(weights[name], t) for name, t in parent.model.state_dict().items())
    spec = load_checkpoint(tmp_path / "child").spec
    (said,) = spec.calibrations
    assert (said.parent, said.by, said.method) == (parent.hash, "eeg", "scaler")
    assert (said.source, said.seconds) == (recording.info.name, 92.0)
    assert said.sha256 == hashlib.sha256(eeg_of(recording, parent)).hexdigest()
    assert said.versions["torch"]
    assert (spec.training, spec.targets) == (parent.spec.training, parent.spec.targets)
    assert spec.chain.artefacts is not None
    assert spec.chain.artefacts.fitted_on == (recording.info.name,)
    assert parent.spec.chain.artefacts is not None
    assert spec.chain.artefacts.usual == parent.spec.chain.artefacts.usual
    assert flags(tmp_path / "child") == ("calibrated_eeg",)
    assert flags(ridge) == ()


def eeg_of(recording: Recording, parent: Checkpoint) -> bytes:
    columns = sorted(recording.info.channels.index(name) for name in parent.spec.chain.channels)
    return np.ascontiguousarray(recording.samples[:, columns]).tobytes()


def test_the_same_eeg_gives_the_same_child(
    ridge: Path, day: Path, recording: Recording, tmp_path: Path
) -> None:
    in_chunks = MemorySource(recording.info, recording.samples, chunk=777)
    calibrate_by_eeg(load_checkpoint(ridge), in_chunks, tmp_path / "child")
    assert load_checkpoint(tmp_path / "child").hash == load_checkpoint(day).hash


def test_movements_in_the_eeg_hardly_move_the_scaler(
    ridge: Path, day: Path, recording: Recording, tmp_path: Path
) -> None:
    harmed = recording.samples.copy()
    for second in range(10, 90, 16):
        harmed[second * 250 : second * 250 + 100] += 2000.0
    calibrate_by_eeg(
        load_checkpoint(ridge), source(replace(recording, samples=harmed)), tmp_path / "child"
    )
    clean, child = (load_checkpoint(p).model.state_dict() for p in (day, tmp_path / "child"))
    moved = (child["scaler.mean"] - clean["scaler.mean"]).abs() / clean["scaler.sd"]
    assert moved.max() < 0.5
    assert (child["scaler.sd"] / clean["scaler.sd"] - 1).abs().max() < 0.35


def test_samples_lost_on_the_way_cost_no_more_than_themselves(
    ridge: Path, recording: Recording, tmp_path: Path
) -> None:
    stamps = np.arange(len(recording.samples)) / 250.0
    stamps[40 * 250 :] += 2.0
    broken = MemorySource(recording.info, recording.samples, stamps=stamps)
    spec = calibrate_by_eeg(load_checkpoint(ridge), broken, tmp_path / "child")
    assert spec.calibrations[-1].notes["segments"] == 2
    assert spec.calibrations[-1].seconds == 92.0


def short(recording: Recording) -> MemorySource:
    return source(replace(recording, samples=recording.samples[: 40 * 250]))


def in_another_unit(recording: Recording) -> MemorySource:
    return source(louder(recording, 1e3))


def hung(recording: Recording) -> MemorySource:
    samples = recording.samples.copy()
    samples[30 * 250 :] = samples[30 * 250]
    return source(replace(recording, samples=samples))


def from_a_running_scanner(recording: Recording) -> MemorySource:
    n_times, n = recording.samples.shape
    wave = 30 * np.sin(2 * np.pi * 7.5 * np.arange(n_times) / 250.0)  # 15 times a TR of 2 s
    gradient = wave[:, None] * np.resize([1, -1], n)
    return source(replace(recording, samples=(recording.samples + gradient).astype(np.float32)))


def with_an_odd_electrode(recording: Recording) -> MemorySource:
    samples = recording.samples.copy()
    samples[:, recording.info.channels.index("Cz")] *= 40
    return source(replace(recording, samples=samples))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (short, ["too little EEG", "40 s", "two to five minutes"]),
        (in_another_unit, ["nothing to calibrate by", "times that of the training", "unit"]),
        (hung, ["nothing to calibrate by", "No channel changed", "Start the amplifier's"]),
        (from_a_running_scanner, ["nothing to calibrate by", "repeats every 2 s"]),
        (with_an_odd_electrode, ["unlike the others", "Cz", "Mend their contact"]),
    ],
)
def test_too_little_or_too_bad_eeg_is_refused_with_what_was_found(
    ridge: Path,
    recording: Recording,
    tmp_path: Path,
    bad: Callable[[Recording], MemorySource],
    words: list[str],
) -> None:
    with pytest.raises(RecordingError) as refused:
        calibrate_by_eeg(load_checkpoint(ridge), bad(recording), tmp_path / "child")
    assert [word for word in words if word not in str(refused.value)] == []
    assert list(tmp_path.iterdir()) == []


def test_eeg_of_other_channels_or_another_rate_is_refused(
    ridge: Path, recording: Recording, tmp_path: Path
) -> None:
    info = recording.info
    names = tuple("Q1" if name == "Cz" else name for name in info.channels)
    for other, words in (
        (replace(info, channels=names), "has no channel Cz"),
        (replace(info, sfreq=500.0), "runs at 500 Hz"),
    ):
        with pytest.raises(ChannelError, match=words):
            calibrate_by_eeg(
                load_checkpoint(ridge),
                MemorySource(other, recording.samples),
                tmp_path / "child",
            )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_refused_before_anything_is_heard(
    ridge: Path, day: Path
) -> None:
    class Deaf:
        name, markers_name = "EEG", None

        def open_stream(self, **how: Any) -> Any:
            pytest.fail("it was opened")

        open_markers = open_stream

    parent = load_checkpoint(ridge)
    with pytest.raises(OutputError, match="is there already"):
        calibrate_by_eeg(parent, Deaf(), day, seconds=inf)
    with pytest.raises(OutputError, match="cannot be written"):
        calibrate_by_eeg(parent, Deaf(), day / "checkpoint.json" / "out", seconds=inf)


def test_a_child_by_eeg_is_not_judged_on_its_parents_store(
    day: Path, store: Store, tmp_path: Path
) -> None:
    reads = store.path / "test_reads.json"
    before = reads.read_text() if reads.exists() else ""
    with pytest.raises(DatasetError, match=r"By EEG alone it was calibrated.*its parent"):
        evaluate(Predictor.load(day), store, tmp_path / "out")
    assert (reads.read_text() if reads.exists() else "") == before


# ------------------------------------------------------------------------ EEG and BOLD


def scrambled(store: Path, run: str, copy: Path) -> Store:
    """Return a copy of a store that holds other numbers for a run."""
    copy = copy / store.name
    shutil.copytree(store, copy)
    for path in (copy / run).glob("*.npy"):
        if not path.stem.endswith(("onsets", "stamps")):
            array = np.load(path)
            other = np.random.default_rng(9).normal(50, 9, array.shape)
            np.save(path, other.astype(array.dtype))
    return Store(copy)


@pytest.fixture(scope="session")
def child(ridge: Path, newcomer: Path) -> Path:
    calibrate_by_fmri(load_checkpoint(ridge), Store(newcomer), ridge.parent / "child")
    return ridge.parent / "child"


def test_a_child_never_sees_the_stores_test_part(
    ridge: Path, newcomer: Path, child: Path, tmp_path: Path
) -> None:
    store = scrambled(newcomer, RUN.format(3), tmp_path / "store")
    calibrate_by_fmri(load_checkpoint(ridge), store, tmp_path / "again")
    assert load_checkpoint(tmp_path / "again").hash == load_checkpoint(child).hash
    assert not (store.path / "test_reads.json").exists()
    store = scrambled(newcomer, RUN.format(1), tmp_path / "other")
    calibrate_by_fmri(load_checkpoint(ridge), store, tmp_path / "another")
    assert load_checkpoint(tmp_path / "another").hash != load_checkpoint(child).hash


def test_a_child_by_bold_names_its_parent_and_is_judged_on_its_own_store(
    ridge: Path, newcomer: Path, child: Path, tmp_path: Path
) -> None:
    parent, spec = load_checkpoint(ridge), load_checkpoint(child).spec
    (said,) = spec.calibrations
    assert (said.parent, said.by, said.sha256) == (parent.hash, "fmri", Store(newcomer).hash)
    assert said.before == parent.spec.training
    assert spec.training.store == Store(newcomer).hash
    assert spec.training.train == (RUN.format(1), RUN.format(2))
    assert spec.training.test == (RUN.format(3),)
    errors = {name[4:]: value for name, value in said.notes.items() if name[:4] == "mse_"}
    assert set(errors) == {"scaler", "gain", "head"}
    assert errors[said.method] == min(map(float, errors.values()))
    assert flags(child) == ("calibrated_fmri",)
    copy = Store(Path(shutil.copytree(newcomer, tmp_path / "store")))
    report = evaluate(Predictor.load(child), copy, tmp_path / "out")
    assert report["split"]["test"] == (RUN.format(3),)


def test_a_network_may_be_fine_tuned_and_its_parent_stays(
    store: Store, newcomer: Path, tmp_path: Path
) -> None:
    recipe = {
        "model": {"name": "tcn", "length": 4.0, "blocks": 2, "width": 4, "variance": True},
        "fit": {"epochs": 2, "batch": 16, "loss": "nll"},
    }
    train(store, tmp_path / "parent", TrainConfig.model_validate(recipe))
    before, parent = files(tmp_path / "parent"), load_checkpoint(tmp_path / "parent")
    calibrate_by_fmri(parent, Store(newcomer), tmp_path / "child")
    assert files(tmp_path / "parent") == before
    child = load_checkpoint(tmp_path / "child")
    (said,) = child.spec.calibrations
    errors = {name[4:] for name in said.notes if name[:4] == "mse_"}
    assert errors == {"scaler", "fine-tune"}
    assert said.parent == parent.hash
    prediction = Predictor(child)(np.zeros((128, 16), np.float32))
    assert all(roi.sd is not None and roi.sd > 0 for roi in prediction.values())


@pytest.mark.parametrize("change", [{"channels": ("C3", "Cz", "C4")}, {"sfreq": 256.0}])
def test_a_store_of_another_chain_is_refused(
    ridge: Path, newcomer: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    parent = load_checkpoint(ridge)
    chain = parent.spec.chain.model_copy(update=change)
    parent.spec = parent.spec.model_copy(update={"chain": chain})
    (name,) = change
    with pytest.raises(DatasetError, match=rf"not the checkpoint's.*{name}: .*training's"):
        calibrate_by_fmri(parent, Store(newcomer), tmp_path / "child")
    assert list(tmp_path.iterdir()) == []


def test_what_the_parent_was_trained_on_is_no_test(
    ridge: Path, store: Store, tmp_path: Path
) -> None:
    """The parent's own store, whose test part it has not seen, may be gone on with."""
    calibrate_by_fmri(load_checkpoint(ridge), store, tmp_path / "child")
    spec = load_checkpoint(tmp_path / "child").spec
    seen = spec.training.model_copy(update={"train": (RUN.format(4),)})
    forged = load_checkpoint(ridge)
    forged.spec = forged.spec.model_copy(update={"training": seen})
    with pytest.raises(DatasetError, match=r"trained on what.*holds out.*run-04"):
        calibrate_by_fmri(forged, store, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_the_parent_was_trained_on_is_no_test_of_a_dataset_prepared_again(
    ridge: Path, bids: Path, prepare_config: PrepareConfig, tmp_path: Path
) -> None:
    """With the part that was the parent's for training now held out, in another store."""
    first = {"split": {"leave_out": [RUN.format(1)]}}
    values = {**prepare_config.model_dump(mode="json", exclude_none=True), **first}
    again = Store(prepare(bids, tmp_path / "again", PrepareConfig.model_validate(values)))
    parent = load_checkpoint(ridge)
    assert again.hash != parent.spec.training.store
    with pytest.raises(DatasetError, match=r"trained on what.*holds out.*run-01"):
        calibrate_by_fmri(parent, again, tmp_path / "child")
    assert not (tmp_path / "child").exists()


# ---------------------------------------------------------------------------- the command

Run = Callable[..., tuple[int, str, list[str]]]


def test_the_command_makes_a_child_of_a_recording(
    rtfeedback: Run, ridge: Path, eeg: Path, day: Path, tmp_path: Path
) -> None:
    code, out, said = rtfeedback("calibrate", ridge, "--eeg", eeg)
    assert (code, said) == (0, [])
    assert out.splitlines()[0] == "checkpoints/ridge-calibrated"
    assert out.splitlines()[1].startswith(f"scaler by 92 s of {eeg.stem}: size ")
    child = load_checkpoint(tmp_path / "checkpoints/ridge-calibrated")
    assert child.hash == load_checkpoint(day).hash


def test_a_child_runs_as_any_other_and_every_message_says_that_it_is_one(
    day: Path, eeg: Path, tmp_path: Path, free_port: int
) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port}"
    options = RunOptions(stream="", out=tmp_path, tr=2.0, endpoint=endpoint)
    Daemon(Predictor.load(day, "cpu"), options, RunConfig(), recording_source(eeg)).run()
    (told,) = tmp_path.rglob("messages.jsonl")
    messages = [json.loads(line) for line in told.read_text().splitlines()]
    feedback = [each for each in messages if each["topic"] == "feedback"]
    assert {tuple(each["flags"]) for each in feedback} == {
        ("environment_assumed", "calibrated_eeg")
    }
    assert sum(each["valid"] for each in feedback) > 20
    assert {each["checkpoint"] for each in feedback} == {load_checkpoint(day).hash}


@pytest.mark.parametrize(
    "how",
    [
        [],
        ["--eeg", "a.vhdr", "--stream", "EEG"],
        ["--store", "s", "--seconds", "5"],
        ["--eeg", "a.vhdr", "--seconds", "0"],
    ],
)
def test_a_call_that_makes_no_sense_exits_2(rtfeedback: Run, how: list[str]) -> None:
    assert rtfeedback("calibrate", "parent", *how)[0] == 2


def test_a_checkpoint_that_is_none_and_a_stream_that_is_not_there_exit_1(
    rtfeedback: Run, ridge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, said = rtfeedback("calibrate", "nowhere", "--eeg", "nothing.vhdr")
    assert (code, len(said)) == (1, 1)
    monkeypatch.setattr("offline.calibration.hear.WAIT", 0.3)
    name = f"EEG-{uuid.uuid4().hex[:8]}"
    code, _, said = rtfeedback("calibrate", ridge, "--stream", name)
    assert (code, len(said)) == (1, 1)
    assert f"called '{name}' is there" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_a_live_stream_gives_the_child_that_its_recording_gives(
    ridge: Path, day: Path, recording: Recording, tmp_path: Path
) -> None:
    name = f"EEG-{uuid.uuid4().hex[:8]}"
    outlet = EEGOutlet(recording.info, name)

    def push() -> None:
        outlet.wait_for_consumers(20.0)
        start = clock()
        for first in range(0, len(recording.samples), 250):
            samples = recording.samples[first : first + 250]
            outlet.push(samples, start + np.arange(first, first + len(samples)) / 250.0)

    pushing = threading.Thread(target=push)
    pushing.start()
    out = tmp_path / "child"
    spec = calibrate_by_eeg(load_checkpoint(ridge), LSLSource(name), out, seconds=92.0)
    pushing.join()
    outlet.close()
    live, before = load_checkpoint(out), load_checkpoint(day)
    assert spec.calibrations[-1].sha256 == before.spec.calibrations[-1].sha256
    for key, tensor in before.model.state_dict().items():
        assert torch.equal(live.model.state_dict()[key], tensor), key
