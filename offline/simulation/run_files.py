"""Writes one simulated run, and the dataset around runs, as BIDS; it draws nothing.

No file holds a date, a path or a clock, so that equal content is equal bytes.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pybv
from numpy.typing import NDArray

from offline.simulation.haemodynamics import Bold
from offline.simulation.scan import SLICE_REF, Scan
from rtfeedback.signals import Float32, Float64

TASK = "motorimagery"
VOLUME_CODE = 128  # MNE reads it as `Response/R128`, as BrainVision Recorder writes it
BLOCK_CODES = {"rest": 1, "imagery": 2}  # `Stimulus/S  1`, `Stimulus/S  2`
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
MNI_SPACE = 4  # NIfTI's code for aligned to the MNI template
COMPRESSION = 1  # the fastest: a higher one saves little on noise


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where one run's files go.

    Attributes
    ----------
    root : Path
        The dataset's folder.
    subject, run : int
        Counted from 1.
    """

    root: Path
    subject: int
    run: int

    @property
    def label(self) -> str:
        """The subject's folder."""
        return f"sub-{self.subject:02d}"

    @property
    def name(self) -> str:
        """What the names of all the run's files begin with."""
        return f"{self.label}_task-{TASK}_run-{self.run:02d}"

    def folder(self, kind: str, *, derived: bool = False) -> Path:
        """Return the folder of a kind of data (`eeg`, `func`), made if need be."""
        root = self.root / "derivatives" / "simulated" if derived else self.root
        folder = root / self.label / kind
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True, slots=True)
class Electrodes:
    """What the sidecars say of the EEG.

    Attributes
    ----------
    names, kinds : tuple of str
        Labels, and `eeg`, `eog`, `ecg`, `emg` or `misc`, one per column.
    reference : str
    note : str
        Where the EEG comes from.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    reference: str
    note: str


def write_eeg(files: RunFiles, samples: Float32, electrodes: Electrodes, scan: Scan) -> None:
    """Write BrainVision files and their sidecars.

    Parameters
    ----------
    files : RunFiles
    samples : float32, shape (n_times, n_channels)
        Microvolts, written bit for bit.
    electrodes : Electrodes
    scan : Scan
    """
    folder, base = files.folder("eeg"), f"{files.name}_eeg"
    events = _eeg_events(scan)
    markers = [
        {
            "onset": sample,
            "type": "Response" if code == VOLUME_CODE else "Stimulus",
            "description": code,
        }
        for sample, _, _, code in events
    ]
    # pybv multiplies by 1e6 in float64, which gives back every float32 microvolt.
    pybv.write_brainvision(
        data=samples.T.astype(np.float64) * 1e-6,
        sfreq=scan.rate,
        ch_names=list(electrodes.names),
        ref_ch_names=electrodes.reference or None,
        fname_base=base,
        folder_out=folder,
        events=markers,
        resolution=1.0,
        unit="µV",
        fmt="binary_float32",
    )
    write_json(folder / f"{base}.json", _eeg_sidecar(electrodes, scan))
    write_table(
        folder / f"{files.name}_channels.tsv",
        ("name", "type", "units", "sampling_frequency", "reference", "status"),
        (
            (name, kind.upper(), "µV", f"{scan.rate:g}", electrodes.reference or "n/a", "good")
            for name, kind in zip(electrodes.names, electrodes.kinds, strict=True)
        ),
    )
    write_table(
        folder / f"{files.name}_events.tsv",
        ("onset", "duration", "trial_type", "value", "sample"),
        (
            (f"{sample / scan.rate:.6f}", f"{length:g}", kind, code, sample)
            for sample, length, kind, code in events
        ),
    )


def write_bold(files: RunFiles, bold: Bold, affine: Float64, scan: Scan) -> None:
    """Write the volumes, their sidecars and, as a derivative, the confounds."""
    folder = files.folder("func")
    write_image(folder / f"{files.name}_bold.nii.gz", bold.volumes, affine, tr=scan.tr)
    write_json(
        folder / f"{files.name}_bold.json",
        {
            "TaskName": TASK,
            "RepetitionTime": scan.tr,
            # fMRIPrep's words for volumes that show the middle of their TR.
            "SliceTimingCorrected": True,
            "StartTime": SLICE_REF * scan.tr,
        },
    )
    write_table(
        folder / f"{files.name}_events.tsv",
        ("onset", "duration", "trial_type"),
        ((f"{b.onset:g}", f"{b.duration:g}", b.trial_type) for b in scan.blocks),
    )
    derived = files.folder("func", derived=True)
    values = np.column_stack([bold.motion, bold.global_signal])
    write_table(
        derived / f"{files.name}_desc-confounds_timeseries.tsv",
        (*MOTION, "global_signal"),
        ([f"{value:.6f}" for value in row] for row in values),
    )


def write_image(
    path: Path, voxels: NDArray[Any], affine: Float64, *, tr: float | None = None
) -> None:
    """Write a compressed NIfTI image in MNI space."""
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm", "sec" if tr else "unknown")
    if tr:
        image.header.set_zooms((*image.header.get_zooms()[:3], tr))
    image.set_sform(affine, MNI_SPACE)
    image.set_qform(affine, MNI_SPACE)
    path.write_bytes(gzip.compress(image.to_bytes(), COMPRESSION, mtime=0))


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write JSON, which has no NaN."""
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a tab-separated table."""
    lines = ["\t".join(header), *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _eeg_events(scan: Scan) -> list[tuple[int, float, str, int]]:
    """Return sample, duration, trial type and code of volumes and blocks, in order."""
    events = [(int(s), scan.tr, "volume", VOLUME_CODE) for s in scan.volume_samples().tolist()]
    events += [
        (scan.sample_at(b.onset), b.duration, b.trial_type, BLOCK_CODES[b.trial_type])
        for b in scan.blocks
    ]
    return sorted(events, key=lambda event: (event[0], event[3]))


def _eeg_sidecar(electrodes: Electrodes, scan: Scan) -> dict[str, Any]:
    counts = {
        f"{kind.upper()}ChannelCount": electrodes.kinds.count(kind)
        for kind in ("eeg", "eog", "ecg", "emg", "misc")
    }
    return {
        "TaskName": TASK,
        "EEGReference": electrodes.reference or "n/a",
        "SamplingFrequency": scan.rate,
        "PowerLineFrequency": "n/a",
        "SoftwareFilters": "n/a",
        **counts,
        "RecordingDuration": scan.n_times / scan.rate,
        "RecordingType": "continuous",
        "TaskDescription": electrodes.note,
    }
