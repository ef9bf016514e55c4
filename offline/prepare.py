"""Datasets through the chain and into one store of memory-mapped arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np

from offline.bold import TargetMaker
from offline.datasets.bids import Refused, events_file
from offline.datasets.tables import read_json
from offline.eeg.chains import common_chains, fit_chains, takes_fitting
from offline.progress import say
from offline.staging import staged_folder
from offline.store.dataset import MANIFEST, SHARED
from offline.store.find_jobs import find_jobs
from offline.store.manifest import (
    ROIManifest,
    RunManifest,
    SkippedRun,
    StoreManifest,
    VolumeManifest,
)
from offline.store.parallel import in_parallel
from offline.store.prepare_config import PrepareConfig
from offline.store.prepare_run import RUN, Checked, RunJob, check_run, prepare_run
from offline.store.training_part import TrainingPart
from rtfeedback.arithmetic import fix_arithmetic
from rtfeedback.chain import Chain, ChainSpec
from rtfeedback.errors import RtfeedbackError, listed

__all__ = ["PrepareConfig", "prepare"]

PACKAGES = ("rtfeedback", "numpy", "scipy", "torch", "mne", "nibabel", "nilearn")
CHAINS = "chains.json"  # that were fitted, until the store is whole
KEPT = "cleaned"  # folder of EEG that was cleaned, until then


def prepare(root: Path, out: Path, config: PrepareConfig, *, jobs: int = 0) -> Path:
    """Write the store of one dataset or several, whole or not at all; return its folder.

    Runs are prepared side by side. One that is broken is left out, and named; a process
    that was killed goes on where it stopped when it is called again.

    Parameters
    ----------
    root : Path
        Of the first dataset; `config.datasets` are relative to it.
    out : Path
    config : PrepareConfig
    jobs : int
        Processes; 0 for one a core. Memory for a run or two is taken by each.

    Raises
    ------
    DatasetError, RecordingError, ChannelError
        If no run can be used, or those that can do not go together.
    OutputError
        If `out` is there already or cannot be written.
    """
    fix_arithmetic()
    found = find_jobs(root, config)
    todo, skipped = found.jobs, found.skipped
    _say_skipped(skipped)
    if found.localizers:
        say(f"for localizers alone: {listed([*found.localizers])}")
    with staged_folder(out, _key(todo)) as folder:
        todo = [replace(job, kept=folder.parent / KEPT) for job in todo]
        checked = _check(todo, skipped, jobs)
        todo = [job for job in todo if job.name in checked]
        try:
            part = TrainingPart.of(todo, checked, config.split)
            chains = _chains(part, checked, config, folder)
            maker = part.fit_targets(
                TargetMaker(
                    config.targets,
                    config.bold,
                    config.volumes,
                    root,
                    slice_ref=config.slice_ref,
                ),
                found.localizers,
            )
            maker.check(job.bold for job in todo)
        except RtfeedbackError:
            _explain(skipped)
            raise
        runs = _prepare_runs(todo, chains, maker, folder, skipped, jobs)
        _write_shared(folder, maker)
        _finish(folder, _manifest(root, config, chains, maker, runs, skipped))
    return out


def _check(todo: Sequence[RunJob], skipped: list[Refused], jobs: int) -> dict[str, Checked]:
    """Return what was found out of each run that can be used, and print it."""
    found = in_parallel(check_run, todo, "Checking runs", jobs=jobs)
    pairs = zip(todo, found, strict=True)
    checked = {job.name: each for job, each in pairs if isinstance(each, Checked)}
    for name, each in checked.items():
        say(f"{name}: {'; '.join(each.notes)}")
    refused = [each for each in found if isinstance(each, Refused)]
    _say_skipped(refused)
    skipped += refused
    if not checked:
        raise refused[0].error
    return checked


def _chains(
    part: TrainingPart,
    checked: Mapping[str, Checked],
    config: PrepareConfig,
    folder: Path,
) -> dict[str, ChainSpec]:
    """Return the chains that go for every run, fitted on the training part."""
    known = folder.parent / CHAINS
    if known.is_file():  # fitted before this process's last one was killed
        fitted = json.loads(known.read_text(encoding="utf-8"))
        return {name: ChainSpec.model_validate(spec) for name, spec in fitted.items()}
    infos = [each.info for each in checked.values()]
    chains = common_chains(config.chains, config.channels, infos)
    for spec, info in product(chains.values(), infos):
        Chain(spec, info)  # refuses what lacks a channel
    if takes_fitting(config.chains):
        chains = fit_chains(chains, part.recordings())
    text = json.dumps({name: spec.model_dump(mode="json") for name, spec in chains.items()})
    begun = known.with_suffix(".begun")
    begun.write_text(text, encoding="utf-8")
    begun.replace(known)
    return chains


def _prepare_runs(
    todo: Sequence[RunJob],
    chains: dict[str, ChainSpec],
    maker: TargetMaker,
    folder: Path,
    skipped: list[Refused],
    jobs: int,
) -> tuple[RunManifest, ...]:
    act = partial(prepare_run, chains=chains, maker=maker, folder=folder)
    found = in_parallel(act, todo, "Preparing runs", jobs=jobs)
    prepared = tuple(each for each in found if isinstance(each, RunManifest))
    refused = [each for each in found if isinstance(each, Refused)]
    if not prepared:
        raise refused[0].error
    skipped += refused
    _say_skipped(refused)
    return prepared


def _write_shared(folder: Path, maker: TargetMaker) -> None:
    """Write what goes for all runs: a mask of volumes, a basis of components."""
    if not maker.arrays:
        return
    (folder / SHARED).mkdir(exist_ok=True)
    for name, array in maker.arrays.items():
        np.save(folder / SHARED / f"{name}.npy", array, allow_pickle=False)


def _manifest(
    root: Path,
    config: PrepareConfig,
    chains: dict[str, ChainSpec],
    maker: TargetMaker,
    runs: tuple[RunManifest, ...],
    skipped: Sequence[Refused],
) -> StoreManifest:
    described = {path: _description(path) for path in _roots(root, config)}
    done = dict.fromkeys(each for run in runs for each in run.upstream)
    return StoreManifest(
        dataset=" and ".join(
            str(each.get("Name", path.name)) for path, each in described.items()
        ),
        root=str(root.resolve()),
        chains=chains,
        targets=tuple(
            ROIManifest(
                name=target.name,
                unit=target.unit,
                definition=target.definition,
                causal=target.causal,
            )
            for target in maker.targets
        ),
        volume=_volume(maker),
        runs=runs,
        skipped=tuple(SkippedRun(name=each.run, why=str(each.error)) for each in skipped),
        slice_ref=config.slice_ref,
        environment=config.environment,
        upstream="; ".join(part for part in (config.upstream, *done) if part),
        semi_synthetic=any(
            bool(each.get("SemiSynthetic", False)) for each in described.values()
        ),
        notes=maker.notes,
        config=config.model_dump(mode="json"),
        versions=_versions(),
    )


def _volume(maker: TargetMaker) -> VolumeManifest | None:
    known = maker.volume
    return None if known is None else VolumeManifest(spec=known.spec, regions=known.regions)


def _finish(folder: Path, manifest: StoreManifest) -> None:
    for run in manifest.runs:
        (folder / run.name / RUN).unlink()
    text = manifest.model_dump_json(indent=1, by_alias=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


# --------------------------------------------------------------------------- what is said


def _say_skipped(refused: Sequence[Refused]) -> None:
    for each in refused:
        say(f"skipped {each.run}: {each.error}")


def _explain(skipped: Sequence[Refused]) -> None:
    """Raise what is wrong with the runs, where too few are left for the want of those."""
    if skipped:
        raise skipped[0].error


# -------------------------------------------------------------------- what it is made of


def _key(todo: Sequence[RunJob]) -> str:
    """Return what a half-written store depends on, as a hash."""
    files = [
        (job.name, job.config.model_dump(mode="json"), *_stamp(path))
        for job in todo
        for path in _files(job)
    ]
    content = json.dumps([files, _versions()])
    return hashlib.sha256(content.encode()).hexdigest()


def _files(job: RunJob) -> list[Path]:
    """Return the files of a run, the tables beside its EEG and BOLD among them."""
    known = [job.run.eeg, job.run.measured, job.run.confounds, events_file(job.run)]
    return [path for path in known if path] + sorted(job.run.eeg.parent.glob("*.tsv"))


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        facts = path.stat()
    except OSError:  # it is told when it is read
        return str(path), 0, 0
    return str(path), facts.st_size, facts.st_mtime_ns


def _versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def _roots(root: Path, config: PrepareConfig) -> list[Path]:
    return [root, *(root / dataset.path for dataset in config.datasets)]


def _description(root: Path) -> dict[str, object]:
    path = root / "dataset_description.json"
    return read_json(path) if path.is_file() else {}
