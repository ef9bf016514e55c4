"""A BIDS dataset through the chain and into a store of memory-mapped arrays."""

from __future__ import annotations

import hashlib
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from offline.bids import (
    PairedRun,
    events_file,
    find_paired_runs,
    read_confounds,
    read_eeg,
    read_json,
    repetition_time,
)
from offline.bold import read_bold
from offline.chains import common_chains, fit_chains, takes_fitting
from offline.dataset import MANIFEST, ROIManifest, RunManifest, StoreManifest
from offline.design import conditions, design_regressors, read_events
from offline.fit_artefacts import Runs
from offline.onsets import marked_volumes
from offline.progress import progress
from offline.recordings import Recording
from offline.splits import RunKey, SplitConfig, split_runs
from offline.targets import UNIT, ROIConfig, roi_course, roi_voxels
from rtfeedback.arithmetic import fix_arithmetic
from rtfeedback.chain import Chain, ChainConfig, ChainSpec
from rtfeedback.chain.chain import Tap
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.checkpoint import Environment
from rtfeedback.config import Config
from rtfeedback.folders import new_folder
from rtfeedback.online.trclock import VOLUME_LABELS
from rtfeedback.signals import Float32, Float64
from rtfeedback.volume_locked import VolumeLocked

BLOCK = 60.0  # s of EEG through the chain at a time; any other gives the same bits
PACKAGES = ("rtfeedback", "numpy", "scipy", "torch", "mne", "nibabel", "nilearn")


class PrepareConfig(Config):
    """What `prepare` makes of a dataset."""

    task: str | None = None
    """Only this task; all of them without."""
    channels: tuple[str, ...] = ()
    """EEG channels of the model; all that every run has, without."""
    chains: dict[str, ChainConfig] = Field(
        default={
            "samples": ChainConfig(),
            "tokens": ChainConfig(band_power=BandPowerConfig()),
        },
        min_length=1,
    )
    """The chains that models may be fed by, each under its name."""
    targets: tuple[ROIConfig, ...] = Field(default=(ROIConfig(),), min_length=1)
    """The regions to be predicted."""
    split: SplitConfig = SplitConfig()
    """Which runs are for training: what is fitted here is fitted on those alone, so it has
    to be the recipe's, or `train` refuses."""
    slice_ref: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the TR after a volume's onset to which its slices were timed."""
    high_pass: Annotated[float, Field(ge=20)] = 128.0
    """Period in seconds, not hertz: slower drift is taken out of the targets."""
    volume_labels: tuple[str, ...] = VOLUME_LABELS
    """Markers in the EEG that begin a volume."""
    environment: Environment = "scanner"
    """Where the EEG was recorded: `scanner` or `outside`."""
    upstream: str = ""
    """What was done to the EEG before, such as gradient and pulse correction."""

    @model_validator(mode="after")
    def _names_differ(self) -> PrepareConfig:
        names = [roi.name for roi in self.targets]
        if len(set(names)) < len(names):
            raise ValueError(f"Each target needs a name of its own, not {', '.join(names)}")
        return self


def prepare(root: Path, out: Path, config: PrepareConfig) -> Path:
    """Write the store of a dataset, whole or not at all, and return its folder.

    Raises
    ------
    DatasetError, RecordingError, ChannelError
        If a run is broken, or its EEG and BOLD do not go together.
    OutputError
        If `out` is there already or cannot be written.
    """
    fix_arithmetic()
    runs = find_paired_runs(root, task=config.task)
    description = read_json(root / "dataset_description.json")
    truth = _truth(root)
    infos = []
    for run in progress(runs, "Checking runs"):  # a comprehension leaves the bar on an error
        infos.append(read_eeg(run).info)
    chains = common_chains(config.chains, config.channels, infos)
    if takes_fitting(config.chains):
        chains = fit_chains(chains, _fit_runs(config, runs))
    with new_folder(out) as folder:
        manifests = []
        for run in progress(runs, "Preparing runs"):
            prepared = _prepare_run(root, folder, run, chains, config, truth)
            manifests.append(prepared)
        manifest = StoreManifest(
            dataset=str(description.get("Name", root.name)),
            chains=chains,
            targets=tuple(
                ROIManifest(name=roi.name, unit=UNIT, definition=roi.definition)
                for roi in config.targets
            ),
            runs=tuple(manifests),
            slice_ref=config.slice_ref,
            environment=config.environment,
            upstream=config.upstream,
            semi_synthetic=bool(description.get("SemiSynthetic", False)),
            config=config.model_dump(mode="json"),
            versions={name: version(name) for name in PACKAGES},
        )
        text = manifest.model_dump_json(indent=1, by_alias=True) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8")
    return out


def _fit_runs(config: PrepareConfig, runs: list[PairedRun]) -> Runs:
    """Return the training part, each run with what reads its EEG."""
    keys = [RunKey(run.name, run.subject, run.session, order) for order, run in enumerate(runs)]
    part = set(split_runs(keys, config.split).train)
    return {run.name: partial(read_eeg, run) for run in runs if run.name in part}


def _prepare_run(
    root: Path,
    folder: Path,
    run: PairedRun,
    chains: dict[str, ChainSpec],
    config: PrepareConfig,
    truth: dict[str, dict[str, list[float]]],
) -> RunManifest:
    recording, tr = read_eeg(run), repetition_time(run)
    image = read_bold(Path(run.bold.fpath))
    n_volumes = int(image.shape[3])
    marked = marked_volumes(run, recording, tr, n_volumes, config.volume_labels)
    events_path = events_file(run)
    events = read_events(events_path) if events_path else []
    arrays: dict[str, Float32 | Float64] = {
        "onsets": marked.onsets,
        "targets": _targets(root, run, image, tr, config),
        "design": design_regressors(
            events, np.arange(n_volumes, dtype=np.float64) * tr, tr, slice_ref=config.slice_ref
        ),
        **read_confounds(run, n_volumes),
        **_known_truth(truth.get(run.name), config),
    }
    locked = _VolumeLockedTap(marked.onsets, recording.info.sfreq)
    for number, (name, spec) in enumerate(chains.items()):
        tap = locked if number == 0 else None
        arrays[name], arrays[f"{name}_stamps"] = through_chain(recording, spec, tap)
    return RunManifest(
        name=run.name,
        subject=run.subject,
        session=run.session,
        task=run.task,
        run=run.run,
        tr=tr,
        marked_tr=marked.tr,
        n_volumes=n_volumes,
        conditions=conditions(events),
        eeg_file=str(Path(run.eeg.fpath).resolve()),
        eeg_sha256=_sha256(Path(run.eeg.fpath)),
        bold_sha256=_sha256(Path(run.bold.fpath)),
        onsets_from=marked.source,
        volume_locked=locked.share,
        arrays=_write_arrays(folder / run.name, arrays),
    )


def through_chain(
    recording: Recording, spec: ChainSpec, tap: Tap | None = None
) -> tuple[Float32, Float64]:
    """Pass a recording through a chain; keep what comes once the filters have settled.

    Parameters
    ----------
    recording : Recording
    spec : ChainSpec
    tap : callable, optional
        Hears the filtered signal at the recording's rate (see `Chain`).

    Returns
    -------
    features : float32, shape (n_times, n_features)
    stamps : float64, shape (n_times,)
        Seconds from the recording's first sample.
    """
    chain = Chain(spec, recording.info, tap)
    block = round(BLOCK * spec.sfreq)
    parts = [
        chain.push(recording.samples[first : first + block])
        for first in range(0, len(recording.samples), block)
    ]
    features = np.concatenate([part for part, _ in parts])
    index = np.concatenate([part for _, part in parts])
    settled = index >= chain.warm_up
    return features[settled], index[settled] / spec.sfreq


class _VolumeLockedTap:
    """The share of a run's EEG that repeats with its volumes, while the scanner runs."""

    def __init__(self, onsets: Float64, sfreq: float) -> None:
        self._tr = float(onsets[-1] - onsets[0]) / max(1, len(onsets) - 1)
        self._first, self._last = float(onsets[0]), float(onsets[-1]) + self._tr
        self._sfreq, self._seen = sfreq, 0
        self._locked: VolumeLocked | None = None

    @property
    def share(self) -> float | None:
        return self._locked.share if self._locked else None

    def __call__(self, x: Float64) -> None:
        if self._tr <= 0:  # a lone volume repeats nothing
            return
        if self._locked is None:
            self._locked = VolumeLocked(self._tr, self._sfreq, x.shape[1])
        stamps = np.arange(self._seen, self._seen + len(x)) / self._sfreq
        self._seen += len(x)
        scanned = (stamps >= self._first) & (stamps < self._last)
        self._locked.push(x[scanned], stamps[scanned])


def _targets(
    root: Path, run: PairedRun, image: object, tr: float, config: PrepareConfig
) -> Float64:
    courses = [
        roi_course(
            roi_voxels(roi, image, root), image, tr=tr, period=config.high_pass, name=run.name
        )
        for roi in config.targets
    ]
    return np.stack(courses, axis=1)


def _truth(root: Path) -> dict[str, dict[str, list[float]]]:
    path = root / "derivatives" / "simulated" / "truth.json"
    runs = read_json(path)["runs"] if path.is_file() else {}
    return {
        run: {roi: facts["course"] for roi, facts in rois.items()} for run, rois in runs.items()
    }


def _known_truth(
    courses: dict[str, list[float]] | None, config: PrepareConfig
) -> dict[str, Float64]:
    if not courses or any(roi.name not in courses for roi in config.targets):
        return {}
    return {"truth": np.stack([np.array(courses[roi.name]) for roi in config.targets], axis=1)}


def _write_arrays(folder: Path, arrays: dict[str, Float32 | Float64]) -> dict[str, str]:
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    return {f"{name}.npy": _sha256(folder / f"{name}.npy") for name in sorted(arrays)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
