from __future__ import annotations

import csv
import errno
import json
from pathlib import Path
from typing import Any

import mne
import mne_bids
import nibabel
import numpy as np
import pytest
from pydantic import ValidationError

from offline import simulate as simulating
from offline.simulate import SimulateConfig, simulate
from offline.simulation import one_run
from offline.simulation.headmodel import channel_names
from offline.simulation.neural import bold_at_volumes, design_share, simulate_neural
from offline.simulation.one_run import plan_scan
from offline.simulation.sources import draw_anatomy, simulate_eeg
from rtfeedback.errors import OutputError
from rtfeedback.signals import Float64

SMALL = SimulateConfig(subjects=1, runs=2, volumes=30, channels=16, seed=3)
RUN = "sub-01_task-motorimagery_run-01"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "bids"
    simulate(out, SMALL)
    return out


def contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def truth_of(root: Path) -> dict[str, Any]:
    path = root / "derivatives/simulated/truth.json"
    truth: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return truth


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def voxels(path: Path) -> Any:
    return np.asarray(nibabel.load(path).dataobj)


def test_the_same_seed_gives_the_same_bytes_in_any_process(
    dataset: Path, tmp_path: Path
) -> None:
    one = SMALL.model_copy(update={"runs": 1})
    simulate(tmp_path / "a", one)  # here; the dataset's runs came from other processes
    simulate(tmp_path / "b", one)
    a, b, there = contents(tmp_path / "a"), contents(tmp_path / "b"), contents(dataset)
    assert a == b
    of_run = [name for name in there if "run-01" in name]
    assert len(of_run) == 10
    assert all(a[name] == there[name] for name in of_run)


def test_another_run_or_seed_gives_other_data(dataset: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "c", SMALL.model_copy(update={"runs": 1, "seed": 4}))
    name = f"sub-01/eeg/{RUN}_eeg.eeg"
    first = (dataset / name).read_bytes()
    assert first != (dataset / name.replace("run-01", "run-02")).read_bytes()
    assert first != (tmp_path / "c" / name).read_bytes()


def test_mne_reads_the_volume_markers_as_r128(dataset: Path) -> None:
    raw = mne.io.read_raw_brainvision(dataset / f"sub-01/eeg/{RUN}_eeg.vhdr", verbose="error")
    onsets = np.array([a["onset"] for a in raw.annotations if "R128" in a["description"]])
    assert set(raw.annotations.description) == {
        "Response/R128",
        "Stimulus/S  1",
        "Stimulus/S  2",
    }
    assert len(onsets) == 30
    assert np.allclose(np.diff(onsets), 2.0)
    assert onsets[0] == 8.0
    assert raw.times[-1] > onsets[-1] + 2.0
    raw.close()


def test_mne_bids_reads_it(dataset: Path) -> None:
    path = mne_bids.BIDSPath(
        root=dataset, subject="01", task="motorimagery", run="02", datatype="eeg"
    )
    raw = mne_bids.read_raw_bids(path, verbose="error")
    assert {"volume", "rest", "imagery"} == set(raw.annotations.description)
    assert raw.ch_names == list(channel_names(16))
    assert set(raw.get_channel_types()) == {"eeg"}
    raw.close()
    assert mne_bids.get_entity_vals(dataset, "run", verbose="error") == ["01", "02"]


def test_eeg_is_as_strong_as_in_a_lab(dataset: Path) -> None:
    raw = mne.io.read_raw_brainvision(dataset / f"sub-01/eeg/{RUN}_eeg.vhdr", verbose="error")
    rms = raw.get_data().std(axis=1) * 1e6
    raw.close()
    assert 5 < np.median(rms) < 20
    assert rms.max() < 40


def test_the_design_explains_at_most_half_of_the_truth(dataset: Path) -> None:
    for run in truth_of(dataset)["runs"].values():
        assert run["motor"]["design_share"] <= 0.5


@pytest.mark.parametrize(("volumes", "tr"), [(100, 2.0), (20, 2.0), (80, 0.5), (10, 5.0)])
def test_the_design_explains_at_most_half_in_runs_of_any_length(
    volumes: int, tr: float
) -> None:
    scan = plan_scan(SimulateConfig(volumes=volumes, tr=tr))
    for seed in range(12):
        rng = np.random.default_rng(seed)
        neural = simulate_neural(rng, scan, coupling=1.0, delay=0.3, depth=1.0)
        left, right, _ = bold_at_volumes(neural.drive, neural.times, scan, 0.3)
        assert 0.25 < design_share(0.45 * left + 0.55 * right, scan) <= 0.5


def test_the_ceiling_is_what_snr_says(dataset: Path) -> None:
    for run in truth_of(dataset)["runs"].values():
        ceiling = run["motor"]["ceiling_r"]
        snr = ceiling**2 / (1 - ceiling**2)
        assert 0.79 * SMALL.snr < snr < 1.26 * SMALL.snr  # subjects differ by a quarter
        assert 0.5 < ceiling < 0.85


def test_the_truth_is_the_course_behind_the_measured_region(dataset: Path) -> None:
    mask = voxels(dataset / "derivatives/simulated/motor_mask.nii.gz") > 0
    bold = voxels(dataset / f"sub-01/func/{RUN}_bold.nii.gz")
    truth = truth_of(dataset)["runs"][RUN]["motor"]
    r = np.corrcoef(truth["course"], bold[mask].mean(axis=0))[0, 1]
    assert r == pytest.approx(truth["ceiling_r"], abs=1e-5)
    assert 0.1 < np.std(truth["course"]) < 2.0  # % signal change


def test_volumes_regions_and_confounds_share_the_grid_and_the_clock(dataset: Path) -> None:
    image = nibabel.load(dataset / f"sub-01/func/{RUN}_bold.nii.gz")
    mask = nibabel.load(dataset / "derivatives/simulated/motor_mask.nii.gz")
    assert image.get_data_dtype() == np.int16
    assert image.header.get_zooms() == (4.0, 4.0, 4.0, 2.0)
    assert image.shape == (*mask.shape, 30)
    assert np.array_equal(image.affine, mask.affine)
    labels = voxels(dataset / "derivatives/simulated/atlas.nii.gz")
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    assert np.array_equal(np.isin(labels, (1, 2)), voxels(dataset / mask.get_filename()) > 0)
    table = f"derivatives/simulated/sub-01/func/{RUN}_desc-confounds_timeseries.tsv"
    confounds = rows(dataset / table)
    assert len(confounds) == 30
    assert {"trans_x", "rot_z", "global_signal"} <= set(confounds[0])
    events = rows(dataset / f"sub-01/func/{RUN}_events.tsv")
    assert [e["trial_type"] for e in events] == ["rest", "imagery", "rest"]
    assert [float(e["onset"]) for e in events] == [0.0, 20.0, 40.0]


def partial(a: Float64, b: Float64, design: Float64) -> float:
    columns = np.column_stack([np.ones(a.size), design])
    left, right = (x - columns @ np.linalg.lstsq(columns, x, rcond=None)[0] for x in (a, b))
    return float(np.corrcoef(left, right)[0, 1])


@pytest.mark.parametrize(
    ("coupling", "low", "high"), [(0.0, -0.12, 0.12), (0.5, 0.58, 0.82), (1.0, 0.999, 1.001)]
)
def test_coupling_is_what_eeg_and_bold_share_beyond_the_task(
    coupling: float, low: float, high: float
) -> None:
    scan = plan_scan(SimulateConfig(volumes=300))
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        neural = simulate_neural(rng, scan, coupling=coupling, delay=0.0, depth=1.0)
        task = scan.imagery_at(neural.times)[None]
        courses = np.concatenate([-neural.log_power, neural.drive, task])
        bold = bold_at_volumes(courses, neural.times, scan, 0.0)
        found.append(partial(bold[0] + bold[1], bold[3] + bold[4], bold[6]))
    assert low < np.mean(found) < high


def test_power_over_the_hand_follows_the_hands_course() -> None:
    rng = np.random.default_rng(0)
    slow = np.repeat(rng.normal(0, 0.7, 60), 250)
    still = np.zeros(slow.size)
    names = channel_names(64)
    eeg = simulate_eeg(
        rng, names, np.array([slow, still, still]), rate=250.0, anatomy=draw_anatomy(rng)
    )
    band = mne.filter.filter_data(eeg.T.astype(float), 250.0, 8, 13, verbose="error")
    power = np.log((band.reshape(64, 60, 250) ** 2).mean(-1))
    related = [np.corrcoef(row, slow[::250])[0, 1] for row in power]
    assert related[names.index("C3")] > 0.6
    assert abs(related[names.index("C4")]) < 0.4
    assert abs(related[names.index("O1")]) < 0.4


def test_a_small_choice_of_channels_is_in_every_larger_one() -> None:
    assert {"C3", "C4", "Fp1", "Fp2", "O1", "O2"} <= set(channel_names(8))
    for n in range(8, 64):
        assert set(channel_names(n)) < set(channel_names(n + 1))
    assert len(set(channel_names(64))) == 64


def test_a_folder_that_is_not_empty_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("x")
    with pytest.raises(OutputError, match="is there already"):
        simulate(tmp_path / "taken", SMALL)
    assert contents(tmp_path) == {"taken/mine": b"x"}


def test_a_path_that_is_or_goes_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is there already"):
        simulate(tmp_path / "file", SMALL)
    with pytest.raises(OutputError, match="cannot be written"):
        simulate(tmp_path / "file" / "below", SMALL)
    assert contents(tmp_path) == {"file": b"x"}


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(one_run, "write_bold", full)
    with pytest.raises(OutputError, match=r"No space left"):
        simulate(tmp_path / "out", SMALL.model_copy(update={"runs": 1}))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(simulating, "simulate_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "out", SMALL.model_copy(update={"runs": 1}))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path: Path, dataset: Path) -> None:
    (tmp_path / "out").mkdir()
    simulate(tmp_path / "out", SMALL.model_copy(update={"runs": 1}))
    assert (tmp_path / "out/dataset_description.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_without_both_conditions_is_refused() -> None:
    with pytest.raises(ValidationError, match="a block of rest and one of imagery"):
        SimulateConfig(volumes=15, tr=2.0)
    with pytest.raises(ValidationError, match="coupling"):
        SimulateConfig(coupling=1.5)
