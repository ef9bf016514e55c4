"""Fit a model on the training runs of a store and write its checkpoint."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from offline.monte_carlo import check_passes, thin
from offline.progress import say
from offline.splits.split import SplitConfig
from offline.staging import unfinished
from offline.store.dataset import Store
from offline.store.examples import Examples
from offline.training.fit_config import FitConfig
from offline.training.fit_network import fit_network
from offline.training.fit_ridge import fit_ridge
from offline.training.fit_volume import set_volume, volume_outcomes
from offline.training.fitting import Supervised
from offline.training.outcomes import RegionOutcomes
from offline.training.pretrained import (
    load_pretrained,
    notes_of_pretrained,
    transformer_of,
)
from offline.training.split_examples import (
    checked_split,
    training_and_validation,
    volumes_of_parts,
)
from offline.training.training_log import Log, training_log
from offline.training.training_process import training_process
from offline.training.training_spec import aims_of, check_tr, training_spec
from offline.training.training_state import TrainingState, key_of
from rtfeedback.checkpoint import CheckpointSpec, save_checkpoint
from rtfeedback.config import Config
from rtfeedback.errors import ConfigError
from rtfeedback.models import MeanPowerConfig, ModelConfig, Network, Ridge, RidgeConfig
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.windows import WindowSpec


class TrainConfig(Config):
    """A recipe: which model, on which runs, fitted how."""

    model: ModelConfig = RidgeConfig()
    """The model and its settings; `name` says which."""
    ahead: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = (0.0,)
    """Seconds after a window's own time at which each region is predicted as well: 0, one
    TR and two, say. The first is the one that is judged."""
    split: SplitConfig = SplitConfig()
    """What is for training, validation and test."""
    fit: FitConfig = FitConfig()
    """Gradient descent, for models that have no closed form."""
    seed: int = Field(default=0, ge=0)
    """Of weights, order and dropout, Monte-Carlo masks included: same seed and machine, same
    weights on a CPU."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A training that can begin: its windows, and what its checkpoint will say.

    Attributes
    ----------
    store : Store
    config : TrainConfig
    spec : CheckpointSpec
        But for what the fit will reach, and the weights.
    training : Examples
    validation : Examples or None
    pretrained : Path or None
        The weights that it begins with, where they are none of its own.
    """

    store: Store
    config: TrainConfig
    spec: CheckpointSpec
    training: Examples
    validation: Examples | None
    pretrained: Path | None


def train(
    store: Store,
    out: Path,
    config: TrainConfig,
    *,
    pretrained: Path | None = None,
    passes: int = 1,
) -> CheckpointSpec:
    """Fit a model and write its checkpoint; the test part is not read.

    A training that was killed goes on after its last whole epoch, when it is called again.

    Parameters
    ----------
    store : Store
    out : Path
        New folder.
    config : TrainConfig
    pretrained : Path, optional
        Weights of EEG alone to begin with, as `pretrain` wrote them.
    passes : int
        Of Monte-Carlo dropout, where more than one; the training is the same.

    Raises
    ------
    OutputError
        If `out` is there already or cannot be written.
    DatasetError, ConfigError, CheckpointError
        As `plan`, `check_passes` and `fit`.
    """
    planned = plan(store, config, pretrained)
    if passes != 1:
        check_passes(planned.spec, passes)
    key = key_of(store.hash, config, planned.spec)
    log = training_log(out, config.fit.epochs)
    with unfinished(out, key) as folder:
        spec, model = fit(planned, log, TrainingState(folder))
        if passes > 1:
            spec, model = thin(spec, model, passes)
        save_checkpoint(out, spec, model)
    if planned.training.left_out:
        say(f"{planned.training.left_out} training windows left out for their artefacts")
    return spec


def plan(store: Store, config: TrainConfig, pretrained: Path | None = None) -> Planned:
    """Find what a recipe trains on, and check that it can be.

    Raises
    ------
    DatasetError
        If the split leaves nothing to train on, a run is too short for one window, the
        store was fitted on what the split holds out, or weights were pretrained on it.
    ConfigError
        If the model does not go with its windows, targets or TR, or has nothing to learn, or
        windows are to be shuffled without leave.
    CheckpointError
        If there are no pretrained weights in their folder.
    """
    if isinstance(config.model, MeanPowerConfig):
        raise ConfigError(
            f"The model '{config.model.name}' has nothing to learn",
            do="Make its checkpoint with `python -m bench.checkpoint`, or name another model",
        )
    model = config.model
    parts = checked_split(store, config.split, model.chain)
    slice_ref = store.manifest.slice_ref
    window = WindowSpec(length=model.length, lead=model.lead, slice_ref=slice_ref)
    volumes = volumes_of_parts(store, parts, model.chain, window)
    aims = aims_of(store, model, config.ahead, parts)
    training, validation = training_and_validation(
        store, parts, volumes, model.chain, window, aims
    )
    spec = training_spec(store, model, parts, window, training, volumes, aims, config.seed)
    check_tr(store, spec)
    if pretrained is not None:
        spec = _noted(spec, notes_of_pretrained(pretrained, parts))
    return Planned(store, config, spec, training, validation, pretrained)


def fit(
    planned: Planned,
    log: AbstractContextManager[Log] | None = None,
    state: TrainingState | None = None,
) -> tuple[CheckpointSpec, nn.Module]:
    """Fit what was planned; return its checkpoint's spec, and the model.

    Parameters
    ----------
    planned : Planned
    log : context manager of Log, optional
        Who is told of each epoch; entered where there are epochs.
    state : TrainingState, optional
        Where each epoch's end is kept, and gone on from.

    Raises
    ------
    ConfigError
        If the training diverges, there is no such device, or the model does not go with
        its windows or loss.
    DatasetError
        If targets cannot be cut into the model's classes.
    CheckpointError
        If the pretrained weights are of another model or chain.
    """
    spec, config, training = planned.spec, planned.config, planned.training
    with training_process():
        torch.manual_seed(config.seed)
        model = spec.build()
        if planned.pretrained is not None:
            load_pretrained(planned.pretrained, transformer_of(model), spec.chain)
        if isinstance(model, Ridge) and isinstance(config.model, RidgeConfig):
            notes = fit_ridge(model, config.model, training, training.z(spec.targets))
        else:
            assert isinstance(model, Network)
            if isinstance(model, VolumeNetwork):
                set_volume(model, planned.store, training)
            with log or nullcontext() as told:
                notes = fit_network(
                    model,
                    config.fit,
                    _supervised(model, spec, training),
                    _supervised(model, spec, planned.validation)
                    if planned.validation
                    else None,
                    seed=config.seed,
                    waveforms=spec.chain.config.band_power is None,
                    n_bands=spec.chain.n_bands,
                    log=told,
                    state=state,
                )
    notes["windows"] = len(training)
    notes["windows_left_out"] = training.left_out
    if training.without_target:
        notes["windows_without_target"] = training.without_target
    return _noted(spec, notes), model.eval()


def _noted(spec: CheckpointSpec, notes: dict[str, float | int | str]) -> CheckpointSpec:
    known = spec.training
    training = known.model_copy(update={"notes": {**known.notes, **notes}})
    return spec.model_copy(update={"training": training})


def _supervised(model: Network, spec: CheckpointSpec, examples: Examples) -> Supervised:
    if isinstance(model, VolumeNetwork):
        return Supervised(examples, volume_outcomes(model, examples))
    return Supervised(examples, RegionOutcomes(examples.z(spec.targets)))
