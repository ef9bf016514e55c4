"""Pretrain a transformer on EEG alone: the runs of a store, or a folder of recordings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from offline.eeg.chains import common_chains, fit_chains
from offline.eeg.features import through_chain
from offline.eeg.recordings import read_recording
from offline.progress import progress
from offline.splits.split import RunKey, SplitConfig, split_runs
from offline.staging import unfinished
from offline.store.dataset import Store
from offline.training.fit_masked import PretrainFit, Stretches, fit_masked
from offline.training.masked_patches import MaskConfig
from offline.training.pretrained import PretrainedSpec, save_pretrained
from offline.training.training_log import training_log
from offline.training.training_process import training_process
from offline.training.training_state import TrainingState, key_of
from rtfeedback.chain import ChainConfig, ChainSpec
from rtfeedback.config import Config
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.folders import check_new
from rtfeedback.models.architecture import Shape
from rtfeedback.models.patch_transformer import (
    PatchTransformerConfig,
    PatchTransformerSettings,
)
from rtfeedback.signals import Float32

HELD_BACK = 0.2  # of each recording of a folder, its end: to stop by
OWN_CHAIN = "samples"  # of a folder's recordings, by the defaults
SUFFIXES = (".vhdr", ".edf", ".bdf", ".gdf", ".set", ".fif", ".xdf")


class PretrainConfig(Config):
    """A recipe: which transformer, on what, hidden and fitted how."""

    model: PatchTransformerConfig = PatchTransformerConfig()
    """The transformer, as it is to be fine-tuned; its head takes no part."""
    split: SplitConfig = SplitConfig()
    """Of a store: its test part is not read."""
    mask: MaskConfig = MaskConfig()
    fit: PretrainFit = PretrainFit()
    seed: int = Field(default=0, ge=0)
    """Of weights, windows, masks and dropout."""


def pretrain_store(store: Store, out: Path, config: PretrainConfig) -> PretrainedSpec:
    """Pretrain on the EEG of a store's training runs, stopped by its validation runs.

    Raises
    ------
    DatasetError
        If the split leaves nothing, or no run holds a whole window.
    ConfigError
        If runs are to be cut, or the model does not go with its windows.
    OutputError
        If `out` is there already or cannot be written.
    """
    check_new(out)
    runs = store.manifest.runs
    keys = [RunKey(r.name, r.subject, r.session, order) for order, r in enumerate(runs)]
    parts = split_runs(keys, config.split)
    if parts.cuts:
        raise ConfigError(
            "Pretraining takes whole runs",
            found=f"[split] kind is '{config.split.kind}', which cuts them",
            do="Hold out runs, sessions or subjects",
        )
    train, validation = (
        [store.runs[name].features(config.model.chain) for name in names]
        for names in (parts.train, parts.validation)
    )
    stretches = Stretches(parts.train, train, validation, parts.validation)
    return pretrain(stretches, store.chain(config.model.chain), out, config)


def pretrain_recordings(
    folder: Path, out: Path, config: PretrainConfig, chain: ChainSpec | None = None
) -> PretrainedSpec:
    """Pretrain on every EEG recording in a folder; the end of each is what it stops by.

    Parameters
    ----------
    folder : Path
        Searched through with what lies in it.
    out : Path
    config : PretrainConfig
    chain : ChainSpec, optional
        That recordings go through: that of the store on which the weights are to be
        fine-tuned, or else one fitted to these recordings, by the defaults.

    Raises
    ------
    DatasetError, RecordingError, ChannelError
        If there is none, or one is broken or lacks channels or the rate of the chain.
    ConfigError, OutputError
        As `pretrain_store`, or if the model is fed by another chain than samples, and none
        is given.
    """
    check_new(out)
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise DatasetError(
            f"{folder} holds no EEG recording",
            found=f"No file that ends in {', '.join(SUFFIXES)}",
            do="Name the folder that your recordings lie in",
        )
    if chain is None and config.model.chain != OWN_CHAIN:
        raise ConfigError(
            f"Recordings alone do not say what the chain '{config.model.chain}' is",
            found="[model] chain of the recipe, and a folder of recordings",
            do="Name the store that it is to be fine-tuned on: --store DATA",
        )
    chain = chain or chain_of(paths, ChainConfig())
    train, validation = [], []
    for path in progress(paths, "Recordings"):
        features, _ = through_chain(read_recording(path), chain)
        cut = round((1 - HELD_BACK) * len(features))
        train.append(features[:cut])
        validation.append(features[cut:])
    names = tuple(str(path.relative_to(folder)) for path in paths)
    return pretrain(Stretches(names, train, validation), chain, out, config)


def chain_of(paths: Sequence[Path], recipe: ChainConfig) -> ChainSpec:
    """Return a chain for the channels that all recordings have, fitted to them."""
    runs = {str(path): partial(read_recording, path) for path in paths}
    infos = [read().info for read in runs.values()]
    return fit_chains(common_chains({"eeg": recipe}, (), infos), runs)["eeg"]


def pretrain(
    stretches: Stretches, chain: ChainSpec, out: Path, config: PretrainConfig
) -> PretrainedSpec:
    """Pretrain on continuous features that came out of a chain, and write the weights.

    One that was killed goes on after its last whole epoch, when it is called again.

    Raises
    ------
    DatasetError
        If no stretch holds a whole window.
    ConfigError
        If the model does not go with its windows, or the training diverges.
    OutputError
        If `out` is there already or cannot be written.
    """
    key = key_of(config, chain, *map(_digest, (*stretches.train, *stretches.validation)))
    with unfinished(out, key) as folder:
        return _pretrain(stretches, chain, out, config, TrainingState(folder))


def _pretrain(
    stretches: Stretches,
    chain: ChainSpec,
    out: Path,
    config: PretrainConfig,
    state: TrainingState,
) -> PretrainedSpec:
    log = training_log(out, config.fit.epochs)
    with training_process(), log as told:
        torch.manual_seed(config.seed)
        n_times = round(config.model.length * chain.rate)
        shape = Shape(chain.n_features, n_times, 1, chain.rate, chain.hold, chain.n_bands)
        model = config.model.build(shape)
        notes = fit_masked(
            model,
            stretches,
            config.fit,
            config.mask,
            rate=chain.rate,
            seed=config.seed,
            log=told,
            state=state,
        )
    settings = config.model.model_dump(include=set(PatchTransformerSettings.model_fields))
    spec = PretrainedSpec(
        model=PatchTransformerSettings.model_validate(settings),
        chain=chain,
        recordings=stretches.names,
        stopped_by=stretches.stopped_by,
        hours=sum(map(len, stretches.train)) / chain.rate / 3600,
        seed=config.seed,
        notes=notes,
    )
    save_pretrained(out, spec, model.eval())
    return spec


def _digest(features: Float32) -> str:
    return hashlib.sha256(np.ascontiguousarray(features).data).hexdigest()
