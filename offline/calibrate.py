"""A child of a checkpoint for a new subject or day; the parent stays as it is."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from math import inf
from pathlib import Path

import torch
from torch import nn

from offline.calibration.few_shot import FewShot, can_learn
from offline.calibration.fit_eeg import fit_eeg
from offline.calibration.hear import hear
from offline.splits.split import SplitConfig
from offline.store.aims import Aims
from offline.store.dataset import Store
from offline.store.examples import Examples
from offline.training.split_examples import (
    Volumes,
    checked_split,
    training_and_validation,
    volumes_of_parts,
)
from offline.training.training_spec import training_spec
from rtfeedback.arithmetic import fix_arithmetic
from rtfeedback.checkpoint import (
    Calibration,
    Checkpoint,
    CheckpointSpec,
    Training,
    save_checkpoint,
)
from rtfeedback.errors import CheckpointError, DatasetError
from rtfeedback.folders import check_new
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.online.source import Source
from rtfeedback.provenance import versions
from rtfeedback.windows import WindowSpec


def calibrate_by_eeg(
    parent: Checkpoint, source: Source, out: Path, *, seconds: float = inf
) -> CheckpointSpec:
    """Fit scaler and artefact limits to EEG alone, and write a child.

    A subject whose EEG is larger, or whose bands have other powers, then looks to the model
    as its training's did. What no EEG says, how this subject's BOLD follows it, is the
    parent's: skill in this subject is not measured by it.

    Parameters
    ----------
    parent : Checkpoint
    source : Source
    out : Path
        A new folder.
    seconds : float
        Of EEG to listen for; without it, to the source's end.

    Raises
    ------
    StreamError, ChannelError, RecordingError, DatasetError
        As `hear` and `fit_eeg`: no stream, another one than the model's, or too little or
        too bad EEG.
    CheckpointError
        If the model has no scaler.
    OutputError
        If `out` is there already or cannot be written.
    """
    check_new(out)  # before anyone sits still for minutes
    spec, model = calibrated_by_eeg(parent, source, seconds=seconds)
    save_checkpoint(out, spec, model)
    return spec


def calibrated_by_eeg(
    parent: Checkpoint, source: Source, *, seconds: float = inf
) -> tuple[CheckpointSpec, nn.Module]:
    """Return the child that `calibrate_by_eeg` writes."""
    fix_arithmetic()
    _check_scaler(parent)
    heard = hear(source, parent.spec, seconds)
    fit = fit_eeg(parent.spec.chain, heard)
    model = copy.deepcopy(parent.model)
    for scaler in _scalers(model):
        scaler.fit(fit.mean, fit.sd)
    calibration = Calibration(
        parent=parent.hash,
        by="eeg",
        method="scaler",
        source=heard.name,
        sha256=heard.sha256,
        seconds=heard.seconds,
        notes={"size": fit.size, "clean_seconds": fit.clean, "segments": len(heard.segments)},
        versions=versions(),
    )
    earlier = parent.spec.calibrations
    changes = {"chain": fit.chain, "calibrations": (*earlier, calibration)}
    return parent.spec.model_copy(update=changes), model


def calibrate_by_fmri(parent: Checkpoint, store: Store, out: Path) -> CheckpointSpec:
    """Fit a child to runs with BOLD of a new subject or day: scaler, then what helps.

    The store's own split says what may be read: its training part is fitted on, its
    validation part chooses among gain and offset, a new last layer and fine-tuning, and
    its test part is left to `evaluate`.

    Raises
    ------
    CheckpointError
        If the model predicts no regions.
    DatasetError
        If the store's chain, or targets, are not the checkpoint's; if the parent was trained
        on what the split holds out; or there is too little to fit on.
    OutputError
        If `out` is there already or cannot be written.
    """
    check_new(out)
    if not can_learn(parent.model):
        raise CheckpointError(
            f"A model such as '{parent.spec.model.name}' of this checkpoint cannot be fitted"
            " to a new subject's BOLD",
            found="Its outputs are whole volumes or classes, or it is an ensemble or makes"
            " Monte-Carlo passes",
            do="Calibrate by EEG alone, or train on the subject's runs; passes are put on last",
        )
    data = _Data.of(parent.spec, store)
    few_shot = FewShot(store, data.spec, data.aims, parent.spec.training.seed)
    fix_arithmetic()
    torch.manual_seed(parent.spec.training.seed)
    model, method, notes = few_shot.choose(parent.model, data.training, data.validation)
    runs = [store.runs[name].manifest for name in data.spec.training.train]
    calibration = Calibration(
        parent=parent.hash,
        by="fmri",
        method=method,
        source=store.path.name,
        sha256=store.hash,
        seconds=sum(run.duration for run in runs),
        notes={"windows": len(data.training), **notes},
        before=parent.spec.training,
        versions=versions(),
    )
    earlier = parent.spec.calibrations
    spec = data.spec.model_copy(update={"calibrations": (*earlier, calibration)})
    save_checkpoint(out, spec, model)
    return spec


@dataclass(frozen=True, slots=True)
class _Data:
    """What of a store may be read, and what the child says of it."""

    spec: CheckpointSpec
    aims: Aims
    training: Examples
    validation: Examples | None

    @classmethod
    def of(cls, parent: CheckpointSpec, store: Store) -> _Data:
        chain, model = parent.model.chain, parent.model
        _check_chain(parent, store)
        split = SplitConfig.model_validate(store.manifest.config.get("split", {}))
        parts = checked_split(store, split, chain)
        window = WindowSpec(
            length=parent.window.length,
            lead=parent.window.lead,
            slice_ref=store.manifest.slice_ref,
        )
        volumes = volumes_of_parts(store, parts, chain, window)
        _check_untouched(parent, store, parts.test, volumes)
        aims = Aims.of_targets(parent.targets, of_task=False)
        training, validation = training_and_validation(
            store, parts, volumes, chain, window, aims
        )
        seed = parent.training.seed
        spec = training_spec(store, model, parts, window, training, volumes, aims, seed)
        simulated = spec.training.semi_synthetic or parent.training.semi_synthetic
        own = spec.training.model_copy(update={"semi_synthetic": simulated})
        return cls(spec.model_copy(update={"training": own}), aims, training, validation)


def _check_chain(parent: CheckpointSpec, store: Store) -> None:
    """Refuse features that would mean something else; only what is fitted may differ."""
    ours, theirs = parent.chain, store.chain(parent.model.chain)
    kept = ["config", "channels", "sfreq"]
    if ours.config.reference == "recorded":
        kept.append("recorded_reference")
    other = [name for name in kept if getattr(ours, name) != getattr(theirs, name)]
    if other:
        found = (
            f"{name}: {getattr(ours, name)}, in the store {getattr(theirs, name)}"
            for name in other
        )
        raise DatasetError(
            f"The chain of the store {store.path} is not the checkpoint's",
            found="; ".join(found),
            do="Prepare the new runs with the recipe and channels of the training's",
        )


def _check_untouched(
    parent: CheckpointSpec, store: Store, test: tuple[str, ...], volumes: Volumes
) -> None:
    """Refuse to call test what the parent was trained or chosen on."""
    befores = [each.before for each in parent.calibrations if each.before]
    seen = {
        ours
        for training in (parent.training, *befores)
        for part in ("train", "validation")
        for theirs in getattr(training, part)
        for ours in _same(training, theirs, store).intersection(test)
        if _overlap(
            training.volumes.get(part, {}).get(theirs), volumes.get("test", {}).get(ours)
        )
    }
    if seen:
        raise DatasetError(
            "The parent was trained on what the store's split holds out",
            found=", ".join(sorted(seen)),
            do="Calibrate on runs that it was not trained on, with a split of their own",
        )


def _same(training: Training, name: str, store: Store) -> set[str]:
    """Return which runs of a store are one that was trained on, in that store or another."""
    if training.store == store.hash:
        return {name}
    measured = training.measured.get(name)  # None of a checkpoint of before it was stated
    return {r.name for r in store.manifest.runs if measured and r.bold_sha256 == measured}


def _overlap(seen: tuple[int, ...] | None, test: tuple[int, ...] | None) -> bool:
    """Tell whether volumes of a run are in both; all are in what does not cut the run."""
    if seen is None or test is None:
        return True
    return not set(seen).isdisjoint(test)


def _scalers(model: nn.Module) -> list[FeatureScaler]:
    """Return a model's scalers: one, or one for each member of an ensemble."""
    return [each for each in model.modules() if isinstance(each, FeatureScaler)]


def _check_scaler(parent: Checkpoint) -> None:
    if not _scalers(parent.model):
        raise CheckpointError(
            f"The model '{parent.spec.model.name}' has no scaler that EEG could be fitted to",
            do="Calibrate a checkpoint that 'rtfeedback train' wrote",
        )
