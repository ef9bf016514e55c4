"""EEG out of a MATLAB file: an array without names, rate or unit, which settings state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError

from offline.datasets.layout import RecordingConfig
from offline.eeg.recordings import MICROVOLTS, Recording
from rtfeedback.channels import canonical, kind_of, scale_to_volts
from rtfeedback.errors import ChannelError, RecordingError
from rtfeedback.signals import StreamInfo

# What scipy raises of a file that is cut short, damaged or none of MATLAB's.
_UNREADABLE = (OSError, EOFError, ValueError, TypeError, IndexError, KeyError, MatReadError)


def read_matlab(path: Path, settings: RecordingConfig, name: str) -> Recording:
    """Read a continuous recording from a variable of a MATLAB file (up to version 7.2).

    Parameters
    ----------
    path : Path
    settings : RecordingConfig
        Names the variable, its channels in order, their rate and unit.
    name : str
        What errors call the recording: such files all have the same name.

    Raises
    ------
    RecordingError
        If the settings do not say enough, or the file is absent, broken, or holds
        something else.
    """
    if not (settings.variable and settings.channels and settings.sfreq):
        raise RecordingError(
            f"{path} says neither what its channels are called nor at which rate they were"
            " recorded",
            found="layout.recording lacks variable, channels or sfreq",
            do="State all three in the settings",
        )
    array = _load(path, settings.variable)
    if array.shape[0] > array.shape[1]:  # there are more samples than channels
        array = array.T
    n_channels = len(settings.channels)
    if len(array) < n_channels:
        raise RecordingError(
            f"'{settings.variable}' of {path} has fewer channels than the settings name",
            found=f"{len(array)} channels, and {n_channels} names",
            do="State in layout.recording.channels what the file holds",
        )
    labels = tuple(canonical(label) for label in settings.channels)
    samples = np.empty((array.shape[1], n_channels), np.float32)
    scale = _to_microvolts(settings.unit)
    np.multiply(array[:n_channels].T, scale, out=samples, casting="unsafe")
    info = StreamInfo(
        name=name,
        sfreq=settings.sfreq,
        channels=labels,
        kinds=tuple(kind_of(label, _stated(label)) for label in labels),
        units=(MICROVOLTS,) * n_channels,
        reference=settings.reference,
    )
    return Recording(info, samples, ())


def _load(path: Path, variable: str) -> NDArray[Any]:
    if not path.is_file():
        raise RecordingError(
            f"The recording {path} does not exist", do="Check the path, or fetch the data"
        )
    try:
        found = loadmat(path, variable_names=[variable]).get(variable)
        held = [each for each, _, _ in whosmat(path)] if found is None else []
    except NotImplementedError as error:
        raise RecordingError(
            f"{path} is a MATLAB file of version 7.3",
            found="HDF5, which is not read here",
            do="In MATLAB, load it and save it with the option '-v7'",
        ) from error
    except _UNREADABLE as error:
        raise RecordingError(
            f"{path} cannot be read as a MATLAB file",
            found=" ".join(str(error).split())[:300] or type(error).__name__,
            do="Copy or fetch it again",
        ) from error
    if found is None:
        raise RecordingError(
            f"{path} has no variable '{variable}'",
            found=", ".join(held) or "no variable at all",
            do="Name the one with the EEG in layout.recording.variable",
        )
    array = np.asarray(found)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.size:
        raise RecordingError(
            f"'{variable}' of {path} is no EEG",
            found=f"an array of shape {array.shape} of {array.dtype}",
            do="Name the variable that holds channels by samples",
        )
    return array


def _to_microvolts(unit: str) -> float:
    try:
        return scale_to_volts(unit) / 1e-6
    except ChannelError as error:
        raise RecordingError(
            f"layout.recording.unit is '{unit}'", found=error.found, do=error.do
        ) from error


def _stated(label: str) -> str:
    """Return `eeg` for a name that is not plainly another thing's: the settings list EEG."""
    return "eeg" if kind_of(label, "eeg") == "eeg" else ""
