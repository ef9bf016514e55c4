"""The folders of real datasets, with their real sidecars and signals that are made up.

Bulk data are not in ../shared: what a dataset's `_MANIFEST.tsv` names of them is written
here under its true name, with true labels, rates and TR, and short.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from offline.datasets.tables import read_table

BulkFile = tuple[str, str]
VhdrMarker = tuple[str, str, int]  # type, description, sample from 1

_LABELS = """
    Fp1 Fp2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T7 T8 P7 P8 Fz Cz Pz Oz FC1 FC2 CP1 CP2 FC5 FC6
    CP5 CP6 TP9 TP10 POz ECG F1 F2 C1 C2 P1 P2 AF3 AF4 FC3 FC4 CP3 CP4 PO3 PO4 F5 F6 C5 C6 P5
    P6 AF7 AF8 FT7 FT8 TP7 TP8 PO7 PO8 FT9 FT10 Fpz CPz"""
BRAINCAP = tuple(_LABELS.split())
SITES = 34  # of ds000116's re-referenced EEG; ECG, stimuli and responses follow


def neurofeedback(
    source: Path,
    out: Path,
    subjects: Sequence[str],
    *,
    tr: float,
    n_volumes: int | None = 4,
    only: Sequence[str] = ("_eeg_pp.vhdr", "_eeg.vhdr", "_bold.nii.gz"),
) -> Path:
    """Lay out ds002336 or ds002338: the scanner starts 2 s before the protocol.

    `n_volumes`: of each run, and of its head motion; as many as that has, with None.
    `only`: of the files that there are.
    """
    for kind, path in _manifest(source):
        of_subject = re.search(r"sub-(\w+?)/", path)
        if of_subject and of_subject[1] not in subjects:
            continue
        file = out / path
        if kind == "real" and (source / path).is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, file)
            if n_volumes and path.endswith("_headmotion.tsv"):
                lines = file.read_bytes().splitlines(keepends=True)
                file.write_bytes(b"".join(lines[: n_volumes + 1]))
            continue
        for ending, write in WRITERS.items():
            if path.endswith(ending) and ending in only:
                write(file, tr=tr, n_volumes=n_volumes or _motion_rows(source, path))
    return out


def oddball(source: Path, out: Path, subjects: Sequence[str], *, n_volumes: int = 4) -> Path:
    """Lay out ds000116, with the EEG of the legacy archive beside its BOLD."""
    for kind, path in _manifest(source):
        of_subject = re.match(r"sub-(\w+?)/", path)
        if of_subject and of_subject[1] not in subjects:
            continue
        file = out / path
        if kind == "real" and (source / path).is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, file)
        elif path.endswith("_bold.nii.gz"):
            write_bold(file, tr=2.0, n_volumes=n_volumes)
            task = "task001" if "auditory" in path else "task002"
            run = path.split("_run-")[1][:2]
            mat = out / f"sub0{path[4:6]}/EEG/{task}_run0{run}/EEG_rereferenced.mat"
            write_matlab(mat, n_times=n_volumes * 2000)
    return out


def rest(source: Path, out: Path, *subjects: str, n_volumes: int = 300) -> Path:
    """Lay out NODDI: true headers and markers, the corrected EEG of some subjects written."""
    shutil.copytree(source, out, copy_function=shutil.copyfile)
    for subject in subjects:
        _write_rest(out, subject, n_volumes)
    return out


def _write_rest(out: Path, subject: str, n_volumes: int) -> None:
    header = next(out.glob(f"derivatives/sub-{subject}/eeg/*.vhdr"))
    n_times = int(re.findall(r"^DataPoints=(\d+)", header.read_text("utf-8"), re.MULTILINE)[0])
    samples = np.resize(made_up(5000, 64), (n_times, 64)).astype("<f4")
    vectorised = "DataOrientation=VECTORIZED" in header.read_text("utf-8")
    header.with_suffix(".dat").write_bytes((samples.T if vectorised else samples).tobytes())
    preprocessed = out / f"derivatives/fmriprep/sub-{subject}/func"
    name = f"sub-{subject}_task-rest_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
    write_bold(preprocessed / name, tr=2.16, n_volumes=n_volumes)


def confidence(out: Path, *, n_volumes: int = 4) -> Path:
    """Lay out ds002158, of which no sidecar is here: headers name the data by old names."""
    name = "sub-02_ses-001_task-main_run-00{}"
    for run in (1, 2):
        vhdr = out / f"sub-02/ses-001/eeg/{name.format(run)}_eeg.vhdr"
        write_raw(vhdr, tr=1.28, n_volumes=n_volumes)
        edit = vhdr.read_text("utf-8").replace(vhdr.stem, f"s2_run{run}_08062017")
        vhdr.write_text(edit, encoding="utf-8")
        bold = out / f"sub-02/ses-001/func/{name.format(run)}_bold.nii.gz"
        write_bold(bold, tr=1.28, n_volumes=n_volumes)
        func = out / "derivatives/fmriprep/sub-02/ses-001/func"
        space = "space-MNI152NLin6Asym_res-2_desc-preproc_bold"
        write_bold(func / f"{name.format(run)}_{space}.nii.gz", tr=1.28, n_volumes=n_volumes)
    (out / "dataset_description.json").write_text('{"Name": "confidence"}')
    (out / "task-main_bold.json").write_text('{"RepetitionTime": 1.28}')
    return out


def write_raw(vhdr: Path, *, tr: float, n_volumes: int) -> None:
    """Write EEG as the recorder does: 5 kHz, 16 bit, a marker per volume from 3 s on."""
    start, sfreq = 3.0, 5000
    at = [round((start + k * tr) * sfreq) + 1 for k in range(n_volumes)]
    markers = [("Response", "R128", sample) for sample in at]
    markers += _blocks(start + 2.0, n_volumes * tr, sfreq)
    n_times = round((start + n_volumes * tr + 1.0) * sfreq)
    samples = made_up(n_times, len(BRAINCAP))
    samples[:, BRAINCAP.index("ECG")] += heart(n_times, sfreq)
    counts = np.rint(samples / 0.5).astype("<i2")
    write_brainvision(vhdr, counts, sfreq, markers, resolution=0.5, suffix=".eeg")


def write_corrected(vhdr: Path, *, tr: float, n_volumes: int) -> None:
    """Write EEG as the authors corrected it: 200 Hz, cut to begin at the first S 99."""
    sfreq, cut = 200, 2.0  # s after the first volume's onset
    onsets = [k * tr - cut for k in range(n_volumes)]
    markers = [("Response", "R128", round(t * sfreq) + 1) for t in onsets if t >= 0]
    markers += [("Pulse Artifact", "R", k * sfreq + 50) for k in range(int(n_volumes * tr - 3))]
    markers += _blocks(0.0, n_volumes * tr - cut, sfreq)
    samples = made_up(round((n_volumes * tr - cut) * sfreq), len(BRAINCAP)).astype("<f4")
    write_brainvision(vhdr, samples, sfreq, markers, resolution=None, suffix=".dat")


def write_brainvision(
    vhdr: Path,
    samples: NDArray[np.int16] | NDArray[np.float32],
    sfreq: int,
    markers: Sequence[VhdrMarker],
    *,
    resolution: float | None,
    suffix: str,
) -> None:
    """Write samples, shape (n_times, n_channels), with BrainCap's labels and no reference."""
    vhdr.parent.mkdir(parents=True, exist_ok=True)
    vhdr.with_suffix(suffix).write_bytes(np.ascontiguousarray(samples).tobytes())
    labels = BRAINCAP[: samples.shape[1]]
    step = "" if resolution is None else f"{resolution:g}"
    channels = [f"Ch{i}={label},,{step},µV" for i, label in enumerate(labels, start=1)]
    lines = [
        "Brain Vision Data Exchange Header File Version 1.0",
        "[Common Infos]",
        "Codepage=UTF-8",
        f"DataFile={vhdr.stem}{suffix}",
        f"MarkerFile={vhdr.stem}.vmrk",
        "DataFormat=BINARY",
        "DataOrientation=MULTIPLEXED",
        f"NumberOfChannels={len(labels)}",
        f"SamplingInterval={1_000_000 // sfreq}",
        "[Binary Infos]",
        f"BinaryFormat={'IEEE_FLOAT_32' if resolution is None else 'INT_16'}",
        "[Channel Infos]",
        *channels,
    ]
    vhdr.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [("New Segment", "", 1), *sorted(markers, key=lambda marker: marker[2])]
    marks = [f"Mk{i}={k},{text},{at},1,0" for i, (k, text, at) in enumerate(rows, start=1)]
    head = ["Brain Vision Data Exchange Marker File, Version 1.0", "[Marker Infos]"]
    vhdr.with_suffix(".vmrk").write_text("\n".join([*head, *marks]) + "\n", encoding="utf-8")


def write_matlab(path: Path, *, n_times: int, n_channels: int = SITES + 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"data_reref": made_up(n_times, n_channels).T.astype(np.float64)})


def write_bold(path: Path, *, tr: float, n_volumes: int) -> None:
    """Write a small image over the whole of MNI space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.array([[12.0, 0, 0, -84], [0, 12, 0, -120], [0, 0, 12, -60], [0, 0, 0, 1]])
    rng = np.random.default_rng(1)
    volumes = 1000 + rng.normal(0, 10, (15, 18, 14, n_volumes))
    image = nibabel.Nifti1Image(volumes.astype(np.int16), affine)
    image.header.set_zooms((12.0, 12.0, 12.0, tr))
    nibabel.save(image, path)


def made_up(n_times: int, n_channels: int) -> NDArray[np.float32]:
    """Return microvolts of a few sources that every channel sees, as on a head."""
    rng = np.random.default_rng(0)
    sources = rng.standard_normal((n_times, 4), dtype=np.float32)
    seen = sources @ rng.standard_normal((4, n_channels), dtype=np.float32)
    return 8 * seen + 2 * rng.standard_normal((n_times, n_channels), dtype=np.float32)


def heart(n_times: int, sfreq: int) -> NDArray[np.float64]:
    """Return microvolts of R peaks, 70 a minute and a little irregular."""
    phase = np.arange(n_times) / sfreq * 70 / 60
    phase += 0.03 * np.sin(2 * np.pi * 0.1 * np.arange(n_times) / sfreq)
    return np.asarray(1500 * np.exp(-0.5 * ((phase % 1 - 0.5) / 0.015) ** 2))


def _blocks(start: float, duration: float, sfreq: int) -> list[VhdrMarker]:
    """Return the protocol's markers: rest and task for 20 s each."""
    at = np.arange(start, start + duration, 20.0)
    labels = ("S 99", "S  2")
    return [
        ("Stimulus", labels[k % 2], round(float(second) * sfreq) + 1)
        for k, second in enumerate(at)
    ]


def _manifest(source: Path) -> Iterator[BulkFile]:
    with (source / "_MANIFEST.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            yield row["kind"], row["path"]


def _motion_rows(source: Path, path: str) -> int:
    """Return how many volumes the head motion of a file's run has."""
    found = re.search(r"(sub-\w+?)_(.+?)_(?:eeg|bold|eeg_pp)\.", Path(path).name)
    assert found
    folder = source / f"derivatives/{found[1]}/head_motion"
    table = read_table(folder / f"d_{found[1]}_{found[2]}_headmotion.tsv")
    return len(table["x"])


WRITERS = {
    "_eeg_pp.vhdr": write_corrected,
    "_eeg.vhdr": write_raw,
    "_bold.nii.gz": write_bold,
}
