"""Fit a model on the training runs of a store and write its checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from pydantic import Field

from offline.dataset import Store
from offline.examples import Examples
from offline.fit_network import FitConfig, fit_network
from offline.fit_ridge import fit_ridge
from offline.progress import console
from offline.splits import RunKey, Split, SplitConfig, split_runs
from rtfeedback.arithmetic import fix_arithmetic
from rtfeedback.chain import ChainSpec
from rtfeedback.checkpoint import CheckpointSpec, Target, Training, save_checkpoint
from rtfeedback.config import Config
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.models import MeanPowerConfig, ModelConfig, Network, Ridge, RidgeConfig
from rtfeedback.windows import WindowSpec


class TrainConfig(Config):
    """A recipe: which model, on which runs, fitted how."""

    model: ModelConfig = RidgeConfig()
    """The model and its settings; `name` says which."""
    split: SplitConfig = SplitConfig()
    """Which runs are for training, validation and test."""
    fit: FitConfig = FitConfig()
    """Gradient descent, for models that have no closed form."""
    seed: int = Field(default=0, ge=0)
    """Of weights, order and dropout: same seed and machine, same weights on a CPU."""


def train(store: Store, out: Path, config: TrainConfig) -> CheckpointSpec:
    """Fit a model and write its checkpoint; the test part is not read.

    Raises
    ------
    DatasetError
        If the split leaves nothing to train on, a run is too short for one window, or the
        store was fitted on a run that the split holds out.
    ConfigError
        If the model does not go with its windows or targets, or has nothing to learn.
    OutputError
        If `out` is there already or cannot be written.
    """
    if isinstance(config.model, MeanPowerConfig):
        raise ConfigError(
            f"The model '{config.model.name}' has nothing to learn",
            do="Make its checkpoint with `python -m bench.checkpoint`, or name another model",
        )
    parts = split_store(store, config.split)
    for note in parts.notes:
        console.print(note, markup=False, highlight=False)
    _check_fit(store.chain(config.model.chain), parts)
    window = WindowSpec(
        length=config.model.length,
        lead=config.model.lead,
        slice_ref=store.manifest.slice_ref,
    )
    training = Examples(store, parts.train, config.model.chain, window)
    validation = (
        Examples(store, parts.validation, config.model.chain, window)
        if parts.validation
        else None
    )
    spec = _spec(store, config, parts, window, _targets(store, training))
    fix_arithmetic(threads=0)
    torch.manual_seed(config.seed)
    model = spec.build()
    z = training.z(spec.targets)
    if isinstance(model, Ridge) and isinstance(config.model, RidgeConfig):
        notes = fit_ridge(model, config.model, training, z)
    else:
        assert isinstance(model, Network)
        z_validation = validation.z(spec.targets) if validation else None
        notes = fit_network(
            model,
            config.fit,
            training,
            validation,
            z=z,
            z_validation=z_validation,
            seed=config.seed,
            waveforms=spec.chain.config.band_power is None,
        )
    notes["windows"] = len(training)
    notes["windows_left_out"] = training.left_out
    spec = spec.model_copy(
        update={"training": spec.training.model_copy(update={"notes": notes})}
    )
    fix_arithmetic()
    save_checkpoint(out, spec, model.eval())
    if training.left_out:
        said = f"{training.left_out} training windows left out for their artefacts"
        console.print(said, markup=False, highlight=False)
    return spec


def split_store(store: Store, config: SplitConfig) -> Split:
    """Part the runs of a store."""
    keys = [
        RunKey(run.name, run.subject, run.session, order)
        for order, run in enumerate(store.manifest.runs)
    ]
    return split_runs(keys, config)


def _check_fit(chain: ChainSpec, parts: Split) -> None:
    """Refuse a chain that knows a held-out run: what it masks there would be too kind."""
    fits = [fit.fitted_on for fit in (chain.artefacts, chain.eog) if fit]
    known = sorted({name for names in fits for name in names}.intersection(parts.test))
    if known:
        raise DatasetError(
            "The chain's artefact limits or EOG coefficients were fitted on a held-out run",
            found=f"{', '.join(known)} in the store's fit and in this recipe's test part",
            do="Prepare again with the recipe's [split], or train with the store's",
        )


def _targets(store: Store, training: Examples) -> tuple[Target, ...]:
    means, sds = training.targets.mean(axis=0), training.targets.std(axis=0)
    return tuple(
        Target(
            name=roi.name,
            unit=roi.unit,
            definition=roi.definition,
            mean=float(mean),
            sd=float(sd) or 1.0,
        )
        for roi, mean, sd in zip(store.manifest.targets, means, sds, strict=True)
    )


def _one_tr(store: Store) -> float:
    found = sorted({run.tr for run in store.manifest.runs})
    if len(found) > 1:
        raise DatasetError(
            "The runs of the store differ in TR",
            found=", ".join(f"{tr:g} s" for tr in found),
            do="Prepare runs of one TR together",
        )
    return found[0]


def _spec(
    store: Store,
    config: TrainConfig,
    parts: Split,
    window: WindowSpec,
    targets: tuple[Target, ...],
) -> CheckpointSpec:
    runs = {run.name: run for run in store.manifest.runs}
    subjects = sorted({runs[name].subject for name in parts.train})
    return CheckpointSpec(
        model=config.model,
        chain=store.chain(config.model.chain),
        window=window,
        targets=targets,
        tr=_one_tr(store),
        environment=store.manifest.environment,
        upstream=store.manifest.upstream,
        training=Training(
            store=store.hash,
            subjects=tuple(subjects),
            train=parts.train,
            validation=parts.validation,
            test=parts.test,
            seed=config.seed,
            semi_synthetic=store.manifest.semi_synthetic,
            volume_locked=_largest(runs[name].volume_locked for name in parts.train),
            versions=store.manifest.versions,
        ),
    )


def _largest(shares: Iterable[float | None]) -> float | None:
    return max((share for share in shares if share is not None), default=None)
