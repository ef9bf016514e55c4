"""One run of a dataset into its arrays; it knows no other run, so runs are done at once."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from offline.alignment.align import Alignment, align
from offline.bold import BoldRun, TargetMaker, read_bold
from offline.bold.confounds import n_rows, read_courses
from offline.datasets.bids import (
    PairedRun,
    Refused,
    ScannedRun,
    events_file,
    named_markers,
    read_eeg,
    repetition_time,
    stated_bad,
)
from offline.design import conditions, design_regressors, read_events
from offline.eeg.clean_eeg import Cleaned, clean_recording
from offline.eeg.features import through_chain
from offline.eeg.kept_eeg import keep, kept
from offline.eeg.recordings import Recording
from offline.store.manifest import RunManifest
from offline.store.prepare_config import PrepareConfig
from offline.store.task import held_conditions
from rtfeedback.chain import ChainSpec
from rtfeedback.errors import RtfeedbackError
from rtfeedback.signals import Bool, Float32, Float64, StreamInfo

RUN = "run.json"  # of a run that is done, in its folder until the store is whole
FIGURE = "quality.png"

Array = Float32 | Float64 | Bool


@dataclass(frozen=True, slots=True)
class RunJob:
    """A run, and how it is to be prepared.

    Attributes
    ----------
    name, subject : str
        In the store; `run` has those of its own dataset.
    run : PairedRun
    config : PrepareConfig
    truth : dict
        A simulation's noise-free course by ROI; empty without.
    kept : Path, optional
        Folder for cleaned EEG, which is read several times.
    """

    name: str
    subject: str
    run: PairedRun
    config: PrepareConfig
    truth: dict[str, list[float]]
    kept: Path | None = None

    @property
    def bold(self) -> BoldRun:
        """The files that targets are made of."""
        return bold_run(self.name, self.subject, self.run)


def bold_run(name: str, subject: str, run: ScannedRun) -> BoldRun:
    """Return the files that a run's targets are made of, by its names in the store."""
    return BoldRun(
        name=name,
        subject=subject,
        task=run.task,
        tr=repetition_time(run),
        image=run.bold,
        course=run.course,
        events=events_file(run),
        confounds=run.confounds,
    )


@dataclass(frozen=True, slots=True)
class RunEEG:
    """A run's EEG as the chain gets it, and where the volumes are in it.

    Attributes
    ----------
    alignment : Alignment
    cleaned : Cleaned
    sha256 : str
        Of its samples before they were cleaned: a file's header may name others for them.
    """

    alignment: Alignment
    cleaned: Cleaned
    sha256: str

    @property
    def recording(self) -> Recording:
        """The EEG."""
        return self.cleaned.recording


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found out of a run before any is prepared.

    Attributes
    ----------
    info : StreamInfo
        Of its EEG.
    onsets : float64, shape (n_volumes,)
    tr, duration : float
        In seconds.
    notes : tuple of str
        To be printed behind its name.
    """

    info: StreamInfo
    onsets: Float64
    tr: float
    duration: float
    notes: tuple[str, ...]


def read_run(job: RunJob) -> RunEEG:
    """Read a run's EEG, find its volumes in it, and clean it.

    Raises
    ------
    DatasetError, RecordingError
        If it is broken, or does not go with its BOLD.
    """
    run, config = job.run, job.config
    recording, tr = read_eeg(run), repetition_time(run)
    alignment = align(
        job.name,
        recording.markers,
        named_markers(run),
        tr=tr,
        n_volumes=_n_volumes(run),
        duration=len(recording.samples) / recording.info.sfreq,
        stated_onset=run.onset,
        config=config.alignment,
    )
    sha256 = hashlib.sha256(np.ascontiguousarray(recording.samples).data).hexdigest()
    return RunEEG(alignment, _cleaned(job, recording, alignment), sha256)


def _cleaned(job: RunJob, recording: Recording, alignment: Alignment) -> Cleaned:
    path = job.kept / f"{job.name}.npy" if job.kept else None
    if path and (found := kept(path, recording)):
        return found
    cleaned = clean_recording(
        recording,
        job.config.eeg,
        alignment.scanned,
        tr=alignment.tr,
        name=job.name,
        stated_bad=stated_bad(job.run),
    )
    if path:
        keep(path, cleaned)
    return cleaned


def check_run(job: RunJob) -> Checked | Refused:
    """Read a run, and lay its EEG on its BOLD.

    All that can be known of a run to be broken is found out here, before any other run's
    limits are fitted on it.
    """
    try:
        eeg = read_run(job)
        if path := events_file(job.run):
            read_events(path)
    except RtfeedbackError as error:
        return Refused(job.name, error)
    info, alignment = eeg.recording.info, eeg.alignment
    duration = len(eeg.recording.samples) / info.sfreq
    notes = (*alignment.notes, *eeg.cleaned.notes)
    return Checked(info, alignment.onsets, alignment.tr, duration, notes)


def prepare_run(
    job: RunJob, chains: dict[str, ChainSpec], maker: TargetMaker, folder: Path
) -> RunManifest | Refused:
    """Write a run's arrays below a folder, whole or not at all, unless they are there.

    Parameters
    ----------
    job : RunJob
    chains : dict of str to ChainSpec
        Fitted.
    maker : TargetMaker
        Fitted.
    folder : Path
        The store's.
    """
    done = folder / job.name
    if (done / RUN).is_file():
        return RunManifest.model_validate_json((done / RUN).read_bytes())
    begun = folder / f".{job.name}"
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir()
    try:
        manifest = _write_run(job, chains, maker, begun)
    except RtfeedbackError as error:
        shutil.rmtree(begun)
        return Refused(job.name, error)
    (begun / RUN).write_text(manifest.model_dump_json(), encoding="utf-8")
    begun.replace(done)
    return manifest


def _write_run(
    job: RunJob, chains: dict[str, ChainSpec], maker: TargetMaker, folder: Path
) -> RunManifest:
    run, eeg = job.run, read_run(job)
    alignment, cleaned = eeg.alignment, eeg.cleaned
    for name, spec in chains.items():
        features, stamps = through_chain(eeg.recording, spec)
        _write(folder, {name: features, f"{name}_stamps": stamps})
    duration = len(eeg.recording.samples) / eeg.recording.info.sfreq
    targets = maker.of_run(job.bold, folder)
    n_volumes, tr = len(targets.courses), repetition_time(run)
    events_path = events_file(run)
    events = read_events(events_path) if events_path else []
    frame_times = np.arange(n_volumes, dtype=np.float64) * tr
    names, slice_ref = conditions(events), job.config.slice_ref
    _write(
        folder,
        {
            "onsets": alignment.onsets,
            "targets": targets.courses,
            "design": design_regressors(events, frame_times, tr, slice_ref=slice_ref),
            "task": held_conditions(events, names, frame_times + slice_ref * tr),
            **targets.arrays,
            **_known_truth(job),
        },
    )
    targets.draw(folder / FIGURE)
    return RunManifest(
        name=job.name,
        subject=job.subject,
        session=run.session,
        task=run.task,
        run=run.run,
        tr=tr,
        marked_tr=alignment.tr,
        n_volumes=n_volumes,
        conditions=names,
        eeg_file=str(run.eeg.resolve()),
        eeg_sha256=eeg.sha256,
        bold_sha256=_sha256(run.measured),
        duration=duration,
        onsets_from=alignment.source,
        drift_ppm=alignment.drift,
        jitter=alignment.jitter,
        upstream=cleaned.upstream,
        bad_channels=cleaned.bad,
        interpolated=cleaned.interpolated,
        volume_locked=cleaned.volume_locked,
        quality=targets.quality.summary() if targets.quality else {},
        notes=(*alignment.notes, *cleaned.notes, *targets.notes),
        arrays={path.name: _sha256(path) for path in sorted(folder.glob("*.npy"))},
    )


def _n_volumes(run: PairedRun) -> int:
    if run.bold is not None and run.course is None:
        return int(read_bold(run.bold).shape[3])
    return n_rows(read_courses(run.measured, "course"))


def _known_truth(job: RunJob) -> dict[str, Float64]:
    names = [roi.name for roi in job.config.targets]
    if job.config.volumes or any(name not in job.truth for name in names):
        return {}
    return {"truth": np.stack([np.array(job.truth[name]) for name in names], axis=1)}


def _write(folder: Path, arrays: dict[str, Array]) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
