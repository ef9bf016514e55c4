from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mne
import nibabel
import numpy as np
import pytest

from offline.datasets.bids import read_eeg
from offline.datasets.find_runs import find_runs
from offline.design import design_regressors, read_events
from offline.eeg.features import through_chain
from offline.eeg.recordings import read_recording
from offline.prepare import PrepareConfig, prepare
from offline.store.dataset import Store
from rtfeedback.chain import Chain
from rtfeedback.errors import (
    ChannelError,
    ConfigError,
    DatasetError,
    OutputError,
    RtfeedbackError,
)
from rtfeedback.windows import WindowSpec

RUN = "sub-01_task-motorimagery_run-0{}"
FIRST, SECOND = RUN.format(1), RUN.format(2)


def contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def edit(path: Path, old: str, new: str) -> None:
    """Replace text in a file that may be a link to another test's."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.unlink()
    path.write_text(text.replace(old, new), encoding="utf-8")


def eeg_file(root: Path, run: str, ending: str) -> Path:
    return root / f"sub-01/eeg/{run}_{ending}"


def bold_file(root: Path, run: str, ending: str = "bold.nii.gz") -> Path:
    return root / f"sub-01/func/{run}_{ending}"


# ------------------------------------------------------------------ what a store holds


def test_preparing_twice_gives_the_same_bytes(
    bids: Path, prepared: Path, prepare_config: PrepareConfig, tmp_path: Path
) -> None:
    again = prepare(bids, tmp_path / "again", prepare_config)
    before, after = contents(prepared), contents(again)
    before.pop("test_reads.json", None)
    assert before == after
    assert Store(again).hash == Store(prepared).hash


def test_a_dataset_that_was_moved_gives_the_same_arrays(
    bids: Path, store: Store, prepare_config: PrepareConfig, tmp_path: Path
) -> None:
    """The manifest names each EEG file by its absolute path, and nothing else differs."""
    copy = shutil.copytree(bids, tmp_path / "bids", copy_function=os.link)
    moved = Store(prepare(copy, tmp_path / "moved", prepare_config))
    for run in moved.manifest.runs:
        there = store.runs[run.name].manifest
        assert run.model_copy(update={"eeg_file": there.eeg_file}) == there
        assert Path(run.eeg_file).is_relative_to(copy)


@pytest.mark.parametrize("name", ["samples", "tokens"])
def test_features_are_the_chains_output_once_it_has_settled(
    bids: Path, store: Store, name: str
) -> None:
    run = store.runs[SECOND]
    recording = read_eeg(find_runs(bids).runs[1])
    chain = Chain(store.chain(name), recording.info)
    cuts = range(0, len(recording.samples), 977)  # not as prepare cuts
    parts = [chain.push(recording.samples[first : first + 977]) for first in cuts]
    features = np.concatenate([part for part, _ in parts])
    index = np.concatenate([part for _, part in parts])
    settled = index >= chain.warm_up
    assert np.array_equal(run.features(name), features[settled], equal_nan=True)
    assert np.array_equal(run.stamps(name), index[settled] / 250.0)
    assert run.features(name).dtype == np.float32
    assert run.features(name).shape[1] == store.chain(name).n_features


def test_onsets_are_the_volume_markers_of_the_eeg(bids: Path, store: Store) -> None:
    for run in store.runs.values():
        raw = mne.io.read_raw_brainvision(eeg_file(bids, run.name, "eeg.vhdr"), verbose="error")
        marked = [a["onset"] for a in raw.annotations if a["description"].endswith("R128")]
        raw.close()
        assert np.allclose(run.onsets, marked, rtol=0, atol=1e-9)
        assert len(run.onsets) == run.manifest.n_volumes == 40


def test_a_volume_may_be_named_in_the_events_beside_the_eeg_alone(
    bids: Path, store: Store, tmp_path: Path
) -> None:
    root = shutil.copytree(bids, tmp_path / "bids")
    for name in store.runs:
        edit(eeg_file(root, name, "eeg.vmrk"), "R128", "S  1")
    renamed = Store(prepare(root, tmp_path / "store", PrepareConfig()))
    for name, run in renamed.runs.items():
        assert run.manifest.onsets_from == "the events.tsv beside the EEG"
        np.testing.assert_allclose(run.onsets, store.runs[name].onsets, rtol=0, atol=1e-3)


def test_the_rest_is_what_the_datasets_files_say(bids: Path, store: Store) -> None:
    truth = json.loads((bids / "derivatives/simulated/truth.json").read_text())["runs"]
    run = store.runs[FIRST]
    events = read_events(bold_file(bids, FIRST, "events.tsv"))
    times = np.arange(40, dtype=np.float64) * 2.0
    assert np.array_equal(run.design, design_regressors(events, times, 2.0, slice_ref=0.5))
    assert run.manifest.conditions == ("imagery",)
    assert run.truth is None  # the second target is not one of the simulation's
    table = np.genfromtxt(
        bids / f"derivatives/simulated/sub-01/func/{FIRST}_desc-confounds_timeseries.tsv",
        names=True,
    )
    assert np.array_equal(np.load(run.folder / "motion.npy")[:, 0], table["trans_x"])
    assert np.array_equal(np.load(run.folder / "global_signal.npy"), table["global_signal"])
    assert set(truth) == set(store.runs)


def test_a_simulations_truth_goes_with_its_own_region(bids_copy: Path, tmp_path: Path) -> None:
    config = PrepareConfig.model_validate({"chains": {"tokens": {"band_power": {}}}})
    run = Store(prepare(bids_copy, tmp_path / "out", config)).runs[SECOND]
    truth = json.loads((bids_copy / "derivatives/simulated/truth.json").read_text())["runs"]
    assert run.truth is not None
    assert run.truth[:, 0].tolist() == truth[SECOND]["motor"]["course"]


def test_the_manifest_says_where_everything_came_from(bids: Path, store: Store) -> None:
    manifest = store.manifest
    assert manifest.targets[0].definition == "mask motor_mask.nii.gz"
    assert (manifest.environment, manifest.semi_synthetic) == ("scanner", False)
    for run in manifest.runs:
        bold = bold_file(bids, run.name).read_bytes()
        assert run.bold_sha256 == hashlib.sha256(bold).hexdigest()
        samples = read_recording(Path(run.eeg_file)).samples
        assert run.eeg_sha256 == hashlib.sha256(samples.tobytes()).hexdigest()
        assert run.tr == run.marked_tr == 2.0
        for name, digest in run.arrays.items():
            content = (store.path / run.name / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == digest


def test_a_recording_shorter_than_the_warm_up_gives_no_row(bids: Path, store: Store) -> None:
    recording = read_eeg(find_runs(bids).runs[0])
    short = type(recording)(recording.info, recording.samples[:50], ())
    features, stamps = through_chain(short, store.chain("tokens"))
    assert features.shape == (0, store.chain("tokens").n_features)
    assert stamps.shape == (0,)


def test_onsets_are_forecast_by_the_tr_that_the_markers_show(
    bids_copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As the daemon does: a header that says 2 s is not believed where they say 1.984."""
    space_markers(bids_copy, FIRST, 1.984)
    config = PrepareConfig.model_validate({"chains": {"tokens": {"band_power": {}}}})
    store = Store(prepare(bids_copy, tmp_path / "out", config))
    run, other = store.runs[FIRST], store.runs[SECOND]
    assert run.manifest.tr == 2.0
    assert run.manifest.marked_tr == pytest.approx(1.984)
    assert other.manifest.marked_tr == 2.0
    (told,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith(FIRST)]
    assert "the markers show a TR of 1.984 s, the BOLD states 2" in told
    window = WindowSpec(length=10.0, lead=9.0)  # five volumes are forecast
    examples = run.examples("tokens", window)
    due = run.onsets[examples.volumes] + 0.5 * 1.984 - 9.0
    assert np.abs(run.stamps("tokens")[examples.ends] - due).max() <= 0.125 + 0.01


# ---------------------------------------------------------------------------- channels


def channels_of(root: Path, tmp_path: Path, **values: object) -> tuple[str, ...]:
    config = PrepareConfig.model_validate({"chains": {"a": {}}, **values})
    return Store(prepare(root, tmp_path / "out", config)).chain("a").channels


def test_the_channels_are_those_that_every_run_has_in_the_first_ones_order(
    bids_copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    header = eeg_file(bids_copy, SECOND, "eeg.vhdr")
    edit(header, "Ch9=Cz", "Ch9=CPz")  # one that the first lacks, and one less in common
    edit(header, "Ch1=Fp1", "Ch1=swap")
    edit(header, "Ch16=O2", "Ch16=FP1")  # in another place and other capitals
    edit(header, "Ch1=swap", "Ch1=O2")
    edit(eeg_file(bids_copy, SECOND, "channels.tsv"), "T7\tEEG", "T7\tEMG")
    common = channels_of(bids_copy, tmp_path)
    assert " ".join(common) == "Fp1 Fp2 F7 F3 F4 F8 C3 C4 T8 P3 Pz P4 O1 O2"
    assert "not every run has them: CPz, Cz, T7" in capfd.readouterr().err


def test_runs_without_a_channel_in_common_are_refused(bids_copy: Path, tmp_path: Path) -> None:
    header = eeg_file(bids_copy, SECOND, "eeg.vhdr")
    lines = header.read_text(encoding="utf-8")
    for i in range(16, 0, -1):
        name = lines.split(f"Ch{i}=")[1].split(",")[0]
        lines = lines.replace(f"Ch{i}={name},", f"Ch{i}=E{i},")
    header.unlink()
    header.write_text(lines, encoding="utf-8")
    types = eeg_file(bids_copy, SECOND, "channels.tsv")
    types.unlink()
    with pytest.raises(DatasetError, match=rf"no EEG channel in common.*{SECOND}_eeg: E1, E2"):
        channels_of(bids_copy, tmp_path)


def test_channels_that_are_named_are_taken_in_their_order(
    bids_copy: Path, tmp_path: Path
) -> None:
    assert channels_of(bids_copy, tmp_path, channels=["Pz", "C3"]) == ("Pz", "C3")


def test_a_named_channel_that_a_run_lacks_is_refused(bids_copy: Path, tmp_path: Path) -> None:
    edit(eeg_file(bids_copy, SECOND, "eeg.vhdr"), "Ch9=Cz", "Ch9=CPz")
    with pytest.raises(RtfeedbackError, match=rf"'{SECOND}_eeg' has no channel Cz.*CPz"):
        channels_of(bids_copy, tmp_path, channels=["Pz", "Cz"])


# --------------------------------------------------------------------------- artefacts


def test_limits_are_fitted_on_the_training_part_alone(
    bids: Path, store: Store, prepare_config: PrepareConfig, tmp_path: Path
) -> None:
    """What the held-out runs hold changes no limit."""
    training = (RUN.format(1), RUN.format(2))
    for name in ("samples", "tokens"):
        limits = store.chain(name).artefacts
        assert limits is not None
        assert limits.fitted_on == training
    copy = shutil.copytree(bids, tmp_path / "bids", copy_function=os.link)
    for run in (RUN.format(3), RUN.format(4)):
        loud = np.frombuffer(eeg_file(copy, run, "eeg.eeg").read_bytes(), dtype="<f4") * 3
        eeg_file(copy, run, "eeg.eeg").unlink()
        eeg_file(copy, run, "eeg.eeg").write_bytes(loud.astype("<f4").tobytes())
    louder = Store(prepare(copy, tmp_path / "out", prepare_config))
    assert louder.chain("tokens") == store.chain("tokens")


def test_the_split_says_what_they_are_fitted_on(bids: Path, tmp_path: Path) -> None:
    config = PrepareConfig.model_validate(
        {"chains": {"a": {}}, "split": {"test": 3, "validation": 0}}
    )
    limits = Store(prepare(bids, tmp_path / "out", config)).chain("a").artefacts
    assert limits is not None
    assert limits.fitted_on == (FIRST,)


def test_without_artefacts_nothing_is_fitted_nor_masked(bids: Path, tmp_path: Path) -> None:
    config = PrepareConfig.model_validate({"chains": {"a": {"artefacts": False}}})
    store = Store(prepare(bids, tmp_path / "out", config))
    assert store.chain("a").artefacts is None
    assert all(np.isfinite(run.features("a")).all() for run in store.runs.values())


def test_what_is_masked_is_the_same_in_both_chains_limits(store: Store) -> None:
    samples, tokens = (store.chain(name).artefacts for name in ("samples", "tokens"))
    assert samples == tokens
    for run in store.runs.values():
        for name in ("samples", "tokens"):
            assert 0 < np.isnan(run.features(name)).mean() < 0.3  # it has blinks


def test_channels_that_are_eog_are_none_of_the_models(bids: Path, tmp_path: Path) -> None:
    config = PrepareConfig.model_validate({"chains": {"a": {"eog": ["FP1", "Fp2"]}}})
    chain = Store(prepare(bids, tmp_path / "out", config)).chain("a")
    assert not {"Fp1", "Fp2"} & set(chain.channels)
    assert len(chain.channels) == 14
    assert chain.eog is not None
    assert (chain.eog.channels, chain.eog.referenced) == (("Fp1", "Fp2"), (True, True))
    assert chain.eog.fitted_on == (FIRST, SECOND)
    frontal = abs(chain.eog.coefficients[0][chain.channels.index("F3")])
    assert frontal > abs(chain.eog.coefficients[0][chain.channels.index("O1")])


def test_a_channel_that_its_table_calls_bad_is_interpolated_in_its_run_alone(
    bids_copy: Path, tmp_path: Path
) -> None:
    table = eeg_file(bids_copy, SECOND, "channels.tsv")
    rows = table.read_text(encoding="utf-8").splitlines()
    (pz,) = (row for row in rows if row.startswith("Pz\t"))
    edit(table, pz, pz.replace("\tgood", "\tbad"))
    config = PrepareConfig.model_validate({"chains": {"a": {"artefacts": False}}})
    store = Store(prepare(bids_copy, tmp_path / "out", config))
    assert {name: run.manifest.interpolated for name, run in store.runs.items()} == {
        FIRST: (),
        SECOND: ("Pz",),
    }


def test_volume_locked_variance_is_measured_run_by_run(store: Store) -> None:
    for run in store.manifest.runs:
        assert run.volume_locked is not None
        assert 0 <= run.volume_locked < 0.1


# ------------------------------------------------------------------------ what is refused


def no_markers(root: Path) -> None:
    edit(eeg_file(root, FIRST, "eeg.vmrk"), "R128", "R129")
    eeg_file(root, FIRST, "events.tsv").unlink()


def one_marker_short(root: Path) -> None:
    lines = eeg_file(root, FIRST, "eeg.vmrk").read_text(encoding="utf-8").splitlines()
    last = [line for line in lines if "R128" in line][-1]
    edit(eeg_file(root, FIRST, "eeg.vmrk"), last + "\n", "")


def one_marker_moved_past_the_end(root: Path) -> None:
    """As many markers as volumes, and yet not theirs."""
    lines = eeg_file(root, FIRST, "eeg.vmrk").read_text(encoding="utf-8").splitlines()
    last = [line for line in lines if "R128" in line][-1]
    fifth = [line for line in lines if "R128" in line][4]
    place = int(last.split(",")[2])
    edit(eeg_file(root, FIRST, "eeg.vmrk"), fifth + "\n", "")
    more = last.replace(str(place), str(place + 500)).replace("Mk", "Mk9")
    edit(eeg_file(root, FIRST, "eeg.vmrk"), last, f"{last}\n{more}")


def one_volume_short(root: Path) -> None:
    path = bold_file(root, FIRST)
    image = nibabel.load(path)
    cut = nibabel.Nifti1Image(np.asarray(image.dataobj)[..., :39], image.affine)
    path.unlink()
    path.write_bytes(gzip.compress(cut.to_bytes()))


def truncated_nifti(root: Path) -> None:
    whole = bold_file(root, SECOND).read_bytes()
    bold_file(root, SECOND).unlink()
    bold_file(root, SECOND).write_bytes(whole[: len(whole) // 2])


def truncated_eeg(root: Path) -> None:
    whole = eeg_file(root, SECOND, "eeg.eeg").read_bytes()
    eeg_file(root, SECOND, "eeg.eeg").unlink()
    eeg_file(root, SECOND, "eeg.eeg").write_bytes(whole[: len(whole) // 2])


def space_markers(root: Path, run: str, tr: float) -> None:
    """Let the volumes' markers come every so many seconds."""
    path = eeg_file(root, run, "eeg.vmrk")
    lines, volume, first = path.read_text(encoding="utf-8").splitlines(), 0, 0
    for i, line in enumerate(lines):
        if "R128" in line:
            fields = line.split(",")
            first = first or int(fields[2])
            fields[2] = str(first + round(volume * tr * 250))
            lines[i], volume = ",".join(fields), volume + 1
    path.unlink()
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def another_tr(root: Path) -> None:
    space_markers(root, FIRST, 1.8)


def no_tr(root: Path) -> None:
    edit(bold_file(root, SECOND, "bold.json"), "RepetitionTime", "RepetitionTimes")


def another_rate(root: Path) -> None:
    edit(eeg_file(root, SECOND, "eeg.vhdr"), "SamplingInterval=4000.0", "SamplingInterval=2000")


def broken_events(root: Path) -> None:
    edit(bold_file(root, SECOND, "events.tsv"), "onset", "start")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            no_markers,
            ["no volume markers", FIRST, "Its markers are: R129, S  1", "volume_labels"],
        ),
        (one_marker_short, ["do not overlap", FIRST, "39 volume markers", "40 volumes in"]),
        (one_marker_moved_past_the_end, ["40 volume markers", "volumes 0 to 40", "and 40 vol"]),
        (one_volume_short, ["do not overlap", FIRST, "40 volume markers", "39 volumes in"]),
        (truncated_nifti, ["cannot be read whole", f"{SECOND}_bold.nii.gz"]),
        (truncated_eeg, ["is truncated", f"{SECOND}_eeg.vhdr"]),
        (another_tr, ["differ in their TR", FIRST, "every 1.8 s", "states 2 s"]),
        (no_tr, ["has no RepetitionTime", SECOND]),
        (another_rate, [SECOND, "TR"]),
        (broken_events, ["has no column onset", f"{SECOND}_events.tsv"]),
    ],
)
def test_a_broken_run_is_refused_by_name_and_leaves_nothing(
    bids_copy: Path, tmp_path: Path, damage: Callable[[Path], None], words: list[str]
) -> None:
    damage(bids_copy)
    config = PrepareConfig.model_validate({"chains": {"tokens": {"band_power": {}}}})
    with pytest.raises(RtfeedbackError) as caught:
        prepare(bids_copy, tmp_path / "new" / "out", config)
    said = str(caught.value)
    assert [word for word in words if word not in said] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bids"]


@pytest.mark.parametrize(
    ("values", "error", "word"),
    [
        ({"targets": [{"spheres": [[900, 0, 0]]}]}, DatasetError, "no voxel in the BOLD image"),
        ({"targets": [{"mask": "none.nii"}]}, DatasetError, "none.nii cannot be read"),
        ({"chains": {"a": {"notch": [200.0]}}}, ConfigError, "200 Hz cannot be filtered"),
        (
            {"chains": {"a": {"max_rate": 50, "band_power": {}}}},
            ConfigError,
            "chain 'a': A band above",
        ),
        ({"task": "rest"}, DatasetError, "of task 'rest'"),
        ({"split": {"test": 9}}, DatasetError, "no run for train"),
        (
            {"chains": {"a": {"eog": ["Fp1"]}}, "channels": ["Fp1", "Cz"]},
            ConfigError,
            "Fp1: named twice, or as channel of the model and as EOG",
        ),
        ({"chains": {"a": {"eog": ["VEOG"]}}}, ChannelError, "no channel VEOG"),
        (
            {"alignment": {"volume_labels": ["T1"]}},
            DatasetError,
            "Name the scanner's in volume_labels",
        ),
    ],
)
def test_settings_that_do_not_go_with_the_data_are_refused_and_leave_nothing(
    bids: Path, tmp_path: Path, values: dict[str, Any], error: type[Exception], word: str
) -> None:
    config = PrepareConfig.model_validate({"chains": {"a": {"band_power": {}}}, **values})
    with pytest.raises(error, match=word):
        prepare(bids, tmp_path / "new" / "out", config)
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_never_written_over(
    bids: Path, prepared: Path, prepare_config: PrepareConfig
) -> None:
    before = contents(prepared)
    with pytest.raises(OutputError, match="is there already"):
        prepare(bids, prepared, prepare_config)
    assert contents(prepared) == before


def test_a_full_disk_is_refused_and_left_empty(
    bids: Path, tiny_disk: Path, prepare_config: PrepareConfig
) -> None:
    with pytest.raises(OutputError, match=r"out cannot be written\."):
        prepare(bids, tiny_disk / "new" / "out", prepare_config)
    assert list(tiny_disk.iterdir()) == []
