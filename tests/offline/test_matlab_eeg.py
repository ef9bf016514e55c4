"""EEG out of MATLAB files: what the settings say of an array, and what they must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from offline.datasets.layout import RecordingConfig
from offline.datasets.matlab_eeg import read_matlab
from rtfeedback.errors import RecordingError

SETTINGS = {
    "variable": "data",
    "sfreq": 1000.0,
    "channels": ["F3-C3", "Fp1-bipolar", "ECG"],
    "reference": "bipolar",
}


def settings(**changes: Any) -> RecordingConfig:
    return RecordingConfig.model_validate({**SETTINGS, **changes})


@pytest.fixture
def array() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(0, 20, (5, 400))


@pytest.fixture
def file(tmp_path: Path, array: np.ndarray[Any, Any]) -> Path:
    savemat(tmp_path / "EEG.mat", {"data": array, "text": "x", "scalar": 3.0})
    return tmp_path / "EEG.mat"


def test_the_named_channels_come_as_microvolts_on_the_wire(
    file: Path, array: np.ndarray[Any, Any]
) -> None:
    recording = read_matlab(file, settings(), "sub-1")
    assert np.array_equal(recording.samples, array[:3].T.astype(np.float32))
    assert recording.samples.flags.c_contiguous
    info = recording.info
    assert (info.name, info.sfreq, info.reference) == ("sub-1", 1000.0, "bipolar")
    assert info.channels == ("F3-C3", "Fp1-bipolar", "ECG")
    assert info.kinds == ("eeg", "eeg", "ecg")
    assert recording.markers == ()


def test_samples_by_channels_are_read_as_well(
    file: Path, tmp_path: Path, array: np.ndarray[Any, Any]
) -> None:
    savemat(tmp_path / "turned.mat", {"data": array.T})
    one, other = (read_matlab(p, settings(), "x") for p in (file, tmp_path / "turned.mat"))
    assert np.array_equal(one.samples, other.samples)


def test_volts_become_microvolts(file: Path, array: np.ndarray[Any, Any]) -> None:
    samples = read_matlab(file, settings(unit="V"), "x").samples
    np.testing.assert_allclose(samples, array[:3].T * 1e6, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"variable": ""}, "lacks variable, channels or sfreq"),
        ({"channels": []}, "lacks variable, channels or sfreq"),
        ({"sfreq": None}, "lacks variable, channels or sfreq"),
        ({"variable": "eeg"}, "has no variable 'eeg'. data, text, scalar"),
        ({"variable": "text"}, "'text' of .* is no EEG"),
        ({"channels": [f"E{i}" for i in range(9)]}, "5 channels, and 9 names"),
        ({"unit": "tesla"}, "unit is 'tesla'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    file: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(RecordingError, match=words):
        read_matlab(file, settings(**changes), "x")


@pytest.mark.parametrize("damage", ["absent", "short", "foreign", "hdf5"])
def test_a_file_that_cannot_be_read_is_named(file: Path, damage: str) -> None:
    content = {
        "short": file.read_bytes()[:300],
        "foreign": b"no MATLAB file at all, but text that goes on for some while" * 9,
        "hdf5": b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" * 9,
    }
    file.unlink()
    if damage in content:
        file.write_bytes(content[damage])
    words = {"absent": "does not exist", "hdf5": "version 7.3"}.get(damage, "cannot be read")
    with pytest.raises(RecordingError, match=rf"EEG\.mat.* {words}"):
        read_matlab(file, settings(), "x")
