from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pybv
import pytest

from offline.eeg.recordings import read_recording
from offline.simulate import SimulateConfig, simulate
from rtfeedback.errors import ChannelError, RecordingError
from rtfeedback.signals import Float64

RUN = "sub-01_task-motorimagery_run-01"
RATE = 160.0


def record(
    folder: Path,
    *,
    seconds: float = 64.0,
    names: tuple[str, ...] = ("C3", "Cz", "C4"),
    zeros: int = 0,
) -> Path:
    """Write noise as BrainVision, and return its header."""
    rng = np.random.default_rng(1)
    data: Float64 = 1e-5 * rng.standard_normal((len(names), round(seconds * RATE)))
    data[:, data.shape[1] - zeros :] = 0.0
    pybv.write_brainvision(
        data=data, sfreq=RATE, ch_names=list(names), fname_base="real", folder_out=folder
    )
    return folder / "real.vhdr"


def test_the_eeg_is_the_recordings_own_bit_for_bit(tmp_path: Path) -> None:
    path = record(tmp_path)
    simulate(tmp_path / "out", SimulateConfig(), eeg=(path,))
    source = read_recording(path)
    written = tmp_path / f"out/sub-01/eeg/{RUN}_eeg"
    assert written.with_suffix(".eeg").read_bytes() == source.samples.tobytes()
    copy = read_recording(written.with_suffix(".vhdr"))
    assert np.array_equal(copy.samples, source.samples)
    assert copy.info.channels == source.info.channels
    assert copy.info.sfreq == RATE


def test_a_real_recording_is_written_unchanged_with_a_sane_bold(
    tmp_path: Path, shared: Path
) -> None:
    path = shared / "eegmmidb_S001" / "S001R03.edf"
    simulate(tmp_path / "out", SimulateConfig(), eeg=(path,))
    source = read_recording(path)
    copy = read_recording(tmp_path / f"out/sub-01/eeg/{RUN}_eeg.vhdr")
    assert copy.samples.tobytes() == source.samples.tobytes()
    assert copy.info.channels == source.info.channels
    truth = json.loads((tmp_path / "out/derivatives/simulated/truth.json").read_text())
    motor = truth["runs"][RUN]["motor"]
    assert 0.5 < motor["ceiling_r"] < 0.85
    # The zeros that end these files must not become the largest event in BOLD.
    assert np.abs(motor["course"]).max() < 5 * np.std(motor["course"])


def test_volumes_begin_some_2_s_into_the_recording_and_fill_it(tmp_path: Path) -> None:
    simulate(tmp_path / "out", SimulateConfig(tr=1.5), eeg=(record(tmp_path),))
    copy = read_recording(tmp_path / f"out/sub-01/eeg/{RUN}_eeg.vhdr")
    stamps = [m.stamp for m in copy.markers if m.label == "R128"]
    assert stamps[0] == 2.0
    assert len(stamps) == 41  # (64 - 2) / 1.5
    assert np.allclose(np.diff(stamps), 1.5)


def test_it_says_that_it_is_semi_synthetic_and_has_no_task(tmp_path: Path) -> None:
    simulate(tmp_path / "out", SimulateConfig(), eeg=(record(tmp_path),))
    out = tmp_path / "out"
    for name in ("README", "dataset_description.json", "derivatives/simulated/truth.json"):
        assert "semi-synthetic" in (out / name).read_text(encoding="utf-8").lower()
    assert json.loads((out / "dataset_description.json").read_text())["SemiSynthetic"] is True
    truth = json.loads((out / "derivatives/simulated/truth.json").read_text())
    assert truth["runs"][RUN]["motor"]["design_share"] is None
    with (out / f"sub-01/func/{RUN}_events.tsv").open() as file:
        assert [row["trial_type"] for row in csv.DictReader(file, delimiter="\t")] == ["rest"]


def test_a_recording_of_few_volumes_is_refused(tmp_path: Path) -> None:
    path = record(tmp_path, seconds=20.0)
    with pytest.raises(RecordingError, match=r"too short.*It lasts 20 s.*holds 9"):
        simulate(tmp_path / "out", SimulateConfig(), eeg=(path,))
    assert not (tmp_path / "out").exists()


def test_a_refusal_in_another_process_says_the_same_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    for name, seconds in (("a", 64.0), ("b", 20.0)):
        (tmp_path / name).mkdir()
        record(tmp_path / name, seconds=seconds)
    eeg = (tmp_path / "a/real.vhdr", tmp_path / "b/real.vhdr")
    (tmp_path / "made").mkdir()
    with pytest.raises(RecordingError, match=r"too short.*It lasts 20 s.*holds 9"):
        simulate(tmp_path / "made/out", SimulateConfig(), eeg=eeg)
    assert list((tmp_path / "made").iterdir()) == []


def test_a_recording_without_both_hands_is_refused(tmp_path: Path) -> None:
    path = record(tmp_path, names=("C3", "Cz"))
    with pytest.raises(ChannelError, match=r"no channel C4.*C3, Cz"):
        simulate(tmp_path / "out", SimulateConfig(), eeg=(path,))


def test_a_flat_hand_is_refused(tmp_path: Path) -> None:
    path = record(tmp_path, zeros=round(64 * RATE))
    with pytest.raises(ChannelError, match=r"C3 of .* is flat"):
        simulate(tmp_path / "out", SimulateConfig(), eeg=(path,))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError):
        simulate(tmp_path / "out", SimulateConfig(), eeg=(tmp_path / "absent.edf",))
    assert list(tmp_path.iterdir()) == []
