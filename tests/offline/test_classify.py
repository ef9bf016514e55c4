"""Groups of subjects told apart by predicted fMRI, from recordings to the report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pybv
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from offline.calibrate import calibrate_by_eeg
from offline.classification import subjects
from offline.classification.labels import read_labels
from offline.classification.listened import Heard, Listened
from offline.classification.options import ClassifyOptions
from offline.classify import FIGURE, REPORT, _scaling, classify, trained_subjects
from offline.datasets.bids import read_eeg
from offline.datasets.find_eeg import find_eeg
from offline.eeg.features import through_chain
from offline.eeg.fit_artefacts import fit_artefacts
from offline.eeg.recordings import Recording
from offline.monte_carlo import with_passes
from offline.store.dataset import window_at
from rtfeedback.chain import ChainConfig
from rtfeedback.checkpoint import load_checkpoint
from rtfeedback.errors import ChannelError, DatasetError, RecordingError
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.online.memory import MemorySource
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32
from rtfeedback.windows import reached
from tests.lab import CHANNELS, RATE, TR, checkpoint_spec, make_recording, save_model
from tests.volume_lab import AFFINE, GRID, N_VOXELS, save_volume_model, volume_spec

Run = Callable[..., tuple[int, str, list[str]]]
SECONDS = 12.0
GROUPS = ("patient", "control")
QUICK = ClassifyOptions(permutations=3)
TABLE = "participants.tsv:group"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of volumes, trained on sub-01."""
    folder = tmp_path_factory.mktemp("classify") / "model"
    save_volume_model(folder, volume_spec())
    return folder


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of two regions, trained on sub-01."""
    folder = tmp_path_factory.mktemp("classify") / "ridge"
    save_model(folder, checkpoint_spec())
    return folder


def write_eeg(root: Path, name: str, samples: Float32) -> None:
    """Write samples, (n_times, n_channels) in microvolts, where BIDS has them."""
    parts = dict(part.split("-") for part in name.split("_"))
    folder = root / f"sub-{parts['sub']}"
    folder = folder / f"ses-{parts['ses']}" / "eeg" if "ses" in parts else folder / "eeg"
    folder.mkdir(parents=True, exist_ok=True)
    pybv.write_brainvision(
        data=samples.T * 1e-6,
        sfreq=RATE,
        ch_names=list(CHANNELS),
        fname_base=f"{name}_eeg",
        folder_out=folder,
        fmt="binary_float32",
        overwrite=True,
    )


def rest(seed: int, alpha: float, seconds: float = SECONDS) -> Float32:
    """Return noise, and a rhythm of 10 Hz at C3."""
    rng, times = np.random.default_rng(seed), np.arange(0, seconds, 1 / RATE)
    samples = rng.normal(0, 10, (len(times), len(CHANNELS)))
    samples[:, 1] += alpha * np.sin(2 * np.pi * (10 + rng.normal(0, 0.3)) * times)
    return samples.astype(np.float32)


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return EEG of 6 patients with alpha and 6 controls without; sub-02 came twice.

    Of sub-01, a patient, the models know the BOLD; of sub-14 no group is known.
    """
    root = tmp_path_factory.mktemp("eeg") / "bids"
    root.mkdir()
    about = {"Name": "rest", "BIDSVersion": "1.10.0"}
    (root / "dataset_description.json").write_text(json.dumps(about))
    rows = ["participant_id\tgroup\tage"]
    for i in range(1, 15):
        of = (i - 1) % 2
        name = f"sub-{i:02d}"
        for session in ("_ses-1", "_ses-2") if i == 2 else ("",):
            alpha = (1 - of) * 12.0
            write_eeg(root, f"{name}{session}_task-rest", rest(i + 50 * len(session), alpha))
        rows.append(f"{name}\t{GROUPS[of] if i < 14 else 'n/a'}\t{20 + i}")
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def copy(bids: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bids, tmp_path / "bids"))


def relabel(root: Path, *rows: str) -> None:
    (root / "participants.tsv").write_text("\n".join(["participant_id\tgroup", *rows]) + "\n")


@pytest.fixture(scope="module")
def report(model: Path, bids: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what is said of the groups, of volumes."""
    out = tmp_path_factory.mktemp("classified") / "out"
    with threadpool_limits(1):
        found = classify(load_checkpoint(model), bids, TABLE, out, QUICK)
    return {"out": out, **found}


# ------------------------------------------------------------------------------ the whole


def test_the_command_tells_groups_apart_that_differ(
    rtfeedback: Run, model: Path, copy: Path, tmp_path: Path
) -> None:
    write_eeg(copy, "sub-13_task-rest", rest(13, 12.0)[:300])  # 1.2 s
    write_eeg(copy, "sub-13_task-music", rest(13, 12.0))
    arguments = ("classify", model, copy, "--labels", TABLE, "--permutations", 39)
    code, said, errors = rtfeedback(*arguments, "--out", "out")
    assert code == 3  # as a recording is too short
    assert errors[0].startswith("left out: sub-13_task-rest: The recording")
    assert "too short" in errors[0]
    assert errors[-1] == "1 recordings were left out: sub-13_task-rest"
    assert "12 subjects, 3 folds by subject, 39 permutations" in said
    assert "always 'control'" in said
    report = json.loads((tmp_path / "out" / REPORT).read_text(encoding="utf-8"))
    told = report["predicted_fmri"]
    assert told["balanced_accuracy"] > 0.9
    assert told["auc"] > 0.9
    assert told["p"] < 0.1
    assert report["eeg"]["balanced_accuracy"] > 0.9
    assert report["majority"]["balanced_accuracy"] == 0.5
    assert np.sum(told["confusion"]) == 12
    np.testing.assert_array_equal(np.sum(told["confusion_by_fold"], axis=0), told["confusion"])
    assert sum(report["right_by"].values()) == 12
    code, _, errors = rtfeedback(*arguments, "--out", "out")
    assert (code, "is there already" in errors[0]) == (1, True)
    assert rtfeedback(*arguments, "--task", "music")[0] == 1
    assert not (tmp_path / "classifications").exists()


def test_all_is_written_and_the_pattern_is_a_volume(report: dict[str, Any]) -> None:
    out = report["out"]
    names = ["pattern_mean_1.nii.gz", "pattern_sd_1.nii.gz"]
    assert sorted(path.name for path in out.iterdir()) == [REPORT, FIGURE, *names]
    assert (out / FIGURE).read_bytes().startswith(b"\x89PNG")
    assert [each["file"] for each in report["patterns"]] == names
    assert {each["towards"] for each in report["patterns"]} == {"patient"}
    shown = nibabel.load(out / names[0])
    assert shown.shape == GRID
    np.testing.assert_allclose(shown.affine, AFFINE)
    assert np.count_nonzero(shown.get_fdata()) == N_VOXELS


def test_each_subject_is_once_in_it_with_all_recordings_in_one_fold(
    report: dict[str, Any],
) -> None:
    names = [each["name"] for each in report["subjects"]]
    assert names == [f"{i:02d}" for i in range(2, 14)]
    by_name = {each["name"]: each for each in report["subjects"]}
    sessions = [each["name"] for each in by_name["02"]["recordings"]]
    assert sessions == ["sub-02_ses-1_task-rest", "sub-02_ses-2_task-rest"]
    folds = [each["fold"] for each in report["subjects"]]
    assert np.bincount(folds).tolist() == [4, 4, 4]
    windows = by_name["02"]["recordings"][0]["windows"]
    assert windows["ok"] >= 5


def test_subjects_of_the_training_and_without_a_group_are_left_out_and_named(
    report: dict[str, Any], regions: Path, bids: Path, tmp_path: Path
) -> None:
    assert [(each["name"], each["why"]) for each in report["left_out"]] == [
        ("sub-14", "has no 'group'"),
        ("sub-01", "was in the model's training"),
    ]
    assert report["trained_on"] == []
    assert "Left out: sub-14, sub-01." in report["note"]
    assert "the permutations are too few to show it" in report["note"]
    kept = replace(QUICK, include_trained=True, permutations=1)
    found = classify(load_checkpoint(regions), bids, TABLE, tmp_path / "out", kept)
    assert found["trained_on"] == ["01"]
    assert len(found["subjects"]) == 13
    assert "were subjects of these names: 01." in found["note"]
    assert set(found["patterns"][0]["regions"]) == {"motor", "visual"}


def test_it_is_the_same_whenever_it_is_told(
    report: dict[str, Any], model: Path, bids: Path, tmp_path: Path
) -> None:
    again = classify(load_checkpoint(model), bids, TABLE, tmp_path / "out", QUICK)
    assert again == {name: value for name, value in report.items() if name != "out"}


def test_of_passes_it_is_their_mean_volume(model: Path, bids: Path, tmp_path: Path) -> None:
    """A model of volumes that is thinned is one of volumes still."""
    with_passes(load_checkpoint(model), tmp_path / "thinned", 3)
    predictor = Predictor.load(tmp_path / "thinned", "cpu")
    recording = read_eeg(find_eeg(bids)[0])
    for each in heard(Listened(predictor, recording))[:3]:
        predictor(each.window)
        volume = predictor.volume()
        assert volume is not None
        np.testing.assert_array_equal(each.predicted, volume[~np.isnan(volume)])
    quick = replace(QUICK, permutations=1)
    found = classify(predictor.checkpoint, bids, TABLE, tmp_path / "out", quick)
    names = [each["file"] for each in found["patterns"]]
    assert nibabel.load(tmp_path / "out" / names[0]).shape == GRID


def test_subjects_that_chose_the_epoch_count_as_trained_on() -> None:
    spec = volume_spec()
    training = spec.training.model_copy(update={"validation": ("sub-07_task-rest_run-1",)})
    assert trained_subjects(spec.model_copy(update={"training": training})) == {"01", "07"}


# --------------------------------------------------------------------- what is predicted


def heard(listened: Listened) -> list[Heard]:
    return list(listened)


@pytest.mark.parametrize("hop", [None, 0.5])
def test_predictions_are_the_predictors_of_the_same_windows(
    model: Path, bids: Path, hop: float | None
) -> None:
    predictor = Predictor.load(model, "cpu")
    recording = read_eeg(find_eeg(bids)[3])
    listened = Listened(predictor, recording, hop)
    found = heard(listened)
    spec, n_times = predictor.spec, predictor.shape[1]
    features, stamps = through_chain(recording, spec.chain)
    ends, there = reached(stamps, np.array([each.end for each in found]), spec.chain.rate)
    assert there.all()
    assert len(found) == listened.verdicts["ok"] > SECONDS / TR / 2
    step = np.diff([each.end for each in found])
    np.testing.assert_allclose(step, hop or TR)
    network = predictor.checkpoint.model
    assert isinstance(network, VolumeNetwork)
    voxels = network.voxels.numpy()
    for each, end in zip(found, ends.tolist(), strict=True):
        window = window_at(features, end, n_times)
        np.testing.assert_array_equal(each.window, window)
        predictor(window)
        volume = predictor.volume()
        assert volume is not None
        np.testing.assert_array_equal(each.predicted, volume.reshape(-1)[voxels])


def test_what_a_run_refuses_is_refused(regions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its reason: the verdicts are those of the one course of a run."""
    monkeypatch.setattr("rtfeedback.online.course.other_tr", lambda *_: "another TR")
    listened = Listened(Predictor.load(regions, "cpu"), make_recording(SECONDS))
    assert heard(listened) == []
    assert listened.verdicts["refused"] > 0


def test_of_regions_it_is_their_raw_values(regions: Path) -> None:
    predictor = Predictor.load(regions, "cpu")
    for each in heard(Listened(predictor, make_recording(SECONDS)))[:3]:
        np.testing.assert_array_equal(
            each.predicted, [roi.raw for roi in predictor(each.window).values()]
        )


def limited(folder: Path) -> Predictor:
    """Return a model with limits of artefacts, fitted to noise of 20 microvolts."""
    spec = checkpoint_spec()
    config = ChainConfig.model_validate(spec.chain.config.model_dump() | {"artefacts": {}})
    chain = spec.chain.model_copy(update={"config": config})
    fitted = fit_artefacts(chain, {"a": lambda: make_recording(40)})
    return save_model(folder, spec.model_copy(update={"chain": fitted}))


def test_a_calibrated_recording_is_predicted_as_by_its_child(
    copy: Path, tmp_path: Path
) -> None:
    """By the checkpoint that `rtfeedback calibrate --eeg FILE --seconds 62` writes."""
    limited(tmp_path / "parent")
    parent = load_checkpoint(tmp_path / "parent")
    recording = make_recording(70, seed=8)
    source = MemorySource(recording.info, recording.samples)
    calibrate_by_eeg(parent, source, tmp_path / "child", seconds=62)
    child = heard(Listened(Predictor.load(tmp_path / "child", "cpu"), recording))
    scaled = heard(Listened(_scaling(parent, 62)(recording), recording))
    own = heard(Listened(_scaling(parent, None)(recording), recording))
    for mine, theirs, before in zip(scaled, child, own, strict=True):
        np.testing.assert_array_equal(mine.predicted, theirs.predicted)
        assert not np.array_equal(mine.predicted, before.predicted)


@pytest.mark.parametrize(
    ("spoilt", "found"),
    [
        (lambda x: x[: round(2 * RATE)], "too short"),
        (lambda x: 50 * x, "units. The EEG's amplitude is .* times that of the training"),
        (lambda x: 0 * x + 1, "artefact. No channel changed for a second"),
    ],
)
def test_what_a_run_would_not_believe_is_refused_with_its_reason(
    tmp_path: Path, spoilt: Callable[[Float32], Float32], found: str
) -> None:
    predictor = limited(tmp_path / "model")
    whole = make_recording(20)
    listened = Listened(predictor, Recording(whole.info, spoilt(whole.samples), ()))
    assert heard(listened) == []
    with pytest.raises(RecordingError, match=found):
        raise listened.too_few(2)


# -------------------------------------------------------------------- what cannot be used


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("participants.tsv:sex", "has no column 'sex'. It has participant_id, group, age"),
        ("participants.tsv", "names no labels"),
        ("people.tsv:group", "No table 'people.tsv'"),
        ("participants.tsv:age", "1 of '22'.* 2 of a group are needed in each of 3 folds"),
    ],
)
def test_labels_that_cannot_be_are_refused_before_anything_is_read_or_written(
    regions: Path,
    bids: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    labels: str,
    words: str,
) -> None:
    monkeypatch.setattr(subjects, "read_eeg", lambda _: pytest.fail("a recording was read"))
    with pytest.raises(DatasetError, match=words):
        classify(load_checkpoint(regions), bids, labels, tmp_path / "out", QUICK)
    assert list(tmp_path.iterdir()) == []


def test_too_few_seconds_to_scale_by_are_refused_before_anything_is_read(
    rtfeedback: Run, regions: Path, bids: Path, tmp_path: Path
) -> None:
    arguments = ("classify", regions, bids, "--labels", TABLE, "--calibrate", 59.5)
    code, _, errors = rtfeedback(*arguments)
    assert (code, len(errors)) == (1, 1)
    assert "59.5 s. Give --calibrate 60 or more" in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_subjects_of_the_table_without_a_recording_are_named_and_counted(
    regions: Path, copy: Path, tmp_path: Path
) -> None:
    table = copy / "participants.tsv"
    with table.open("a") as file:
        file.write("sub-20\tpatient\t40\nsub-21\tn/a\t41\n")
    found = classify(load_checkpoint(regions), copy, TABLE, tmp_path / "out", QUICK)
    (lost,) = (each for each in found["left_out"] if each["name"] == "sub-20")
    assert (lost["label"], lost["broken"]) == ("patient", False)
    assert "has no recording" in lost["why"]
    lost_by = {each["name"]: each["subjects_left_out"] for each in found["groups"]}
    assert lost_by == {"control": 0, "patient": 2}  # and sub-01, who is known


def test_weights_that_were_pretrained_on_nobody_knows_whom_say_so(
    bids: Path, tmp_path: Path
) -> None:
    spec = checkpoint_spec()
    training = spec.training.model_copy(update={"notes": {"pretrained": "abc"}})
    save_model(tmp_path / "model", spec.model_copy(update={"training": training}))
    found = classify(load_checkpoint(tmp_path / "model"), bids, TABLE, tmp_path / "out", QUICK)
    assert "were pretrained on, the checkpoint does not say" in found["note"]


def test_a_subject_without_a_row_and_one_with_two_labels_are_refused(
    regions: Path, copy: Path, tmp_path: Path
) -> None:
    relabel(copy, *(f"sub-{i:02d}\ta" for i in range(1, 13)))
    with pytest.raises(DatasetError, match=r"no row for .*sub-13, sub-14\. Add them"):
        classify(load_checkpoint(regions), copy, TABLE, tmp_path / "out", QUICK)
    relabel(copy, "sub-01\ta", "sub-01\ta")
    assert read_labels(TABLE, copy).of == {"01": "a"}
    relabel(copy, "sub-01\ta", "sub-01\tb")
    with pytest.raises(DatasetError, match=r"two labels for sub-01\. 'a' and 'b'"):
        read_labels(TABLE, copy)


def test_where_no_recording_can_be_used_it_says_why(
    tmp_path: Path, bids: Path, copy: Path
) -> None:
    spec = checkpoint_spec()
    other = spec.chain.model_copy(update={"channels": ("Fp1", "C3", "Cz", "C4", "Oz")})
    save_model(tmp_path / "model", spec.model_copy(update={"chain": other}))
    with pytest.raises(ChannelError, match="Oz"):
        classify(load_checkpoint(tmp_path / "model"), bids, TABLE, tmp_path / "out", QUICK)
    relabel(copy, *(f"sub-{i:02d}\tn/a" for i in range(1, 15)))
    with pytest.raises(DatasetError, match="no subject to classify"):
        classify(load_checkpoint(tmp_path / "model"), copy, TABLE, tmp_path / "out", QUICK)
    with pytest.raises(DatasetError, match="not a BIDS dataset"):
        find_eeg(tmp_path)
    with pytest.raises(DatasetError, match="no EEG recording of task 'music'"):
        find_eeg(bids, "music")
