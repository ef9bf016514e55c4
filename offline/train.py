"""Fit a model on the training runs of a store and write its checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import torch
from pydantic import Field

from offline.progress import console
from offline.splits.blocks import Part
from offline.splits.parts import SHUFFLED, Split, scanned
from offline.splits.split import RunKey, SplitConfig, split_runs
from offline.store.dataset import Run, Store
from offline.store.examples import Examples, Holds
from offline.training.fit_network import FitConfig, fit_network
from offline.training.fit_ridge import fit_ridge
from rtfeedback.arithmetic import fix_arithmetic
from rtfeedback.checkpoint import CheckpointSpec, Target, Training, save_checkpoint
from rtfeedback.config import Config
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.models import MeanPowerConfig, ModelConfig, Network, Ridge, RidgeConfig
from rtfeedback.signals import Bool, Float64, Int64
from rtfeedback.windows import WindowSpec

Volumes = dict[str, dict[str, tuple[int, ...]]]
"""Of each part, by run."""


class TrainConfig(Config):
    """A recipe: which model, on which runs, fitted how."""

    model: ModelConfig = RidgeConfig()
    """The model and its settings; `name` says which."""
    split: SplitConfig = SplitConfig()
    """What is for training, validation and test."""
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
        store was fitted on what the split holds out.
    ConfigError
        If the model does not go with its windows or targets, or has nothing to learn, or
        windows are to be shuffled without leave.
    OutputError
        If `out` is there already or cannot be written.
    """
    if isinstance(config.model, MeanPowerConfig):
        raise ConfigError(
            f"The model '{config.model.name}' has nothing to learn",
            do="Make its checkpoint with `python -m bench.checkpoint`, or name another model",
        )
    parts = split_store(store, config.split)
    for note in (*parts.notes, *([SHUFFLED] if parts.kind == "shuffled" else [])):
        _say(note)
    _check_fit(store, config, parts)
    window = WindowSpec(
        length=config.model.length,
        lead=config.model.lead,
        slice_ref=store.manifest.slice_ref,
    )
    volumes = _volumes(store, config, parts, window)
    training = examples_of(store, parts, "train", config.model.chain, window)
    validation = None
    if parts.validation and (not volumes or any(volumes["validation"].values())):
        validation = examples_of(store, parts, "validation", config.model.chain, window)
    spec = _spec(store, config, parts, window, training, volumes)
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
            n_bands=spec.chain.n_features // len(spec.chain.channels),
        )
    notes["windows"] = len(training)
    notes["windows_left_out"] = training.left_out
    if training.without_target:
        notes["windows_without_target"] = training.without_target
    spec = spec.model_copy(
        update={"training": spec.training.model_copy(update={"notes": notes})}
    )
    fix_arithmetic()
    save_checkpoint(out, spec, model.eval())
    if training.left_out:
        _say(f"{training.left_out} training windows left out for their artefacts")
    return spec


def split_store(store: Store, config: SplitConfig) -> Split:
    """Part the runs of a store."""
    keys = [
        RunKey(run.name, run.subject, run.session, order)
        for order, run in enumerate(store.manifest.runs)
    ]
    return split_runs(keys, config)


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False)


def examples_of(
    store: Store, parts: Split, part: Part, chain: str, window: WindowSpec
) -> Examples:
    """Return the windows of a part.

    Raises
    ------
    DatasetError, ConfigError
        As `Examples` and `Split.holds`.
    """
    names: tuple[str, ...] = getattr(parts, part)
    holds = _holds(parts, part, window) if parts.cuts else None
    return Examples(store, names, chain, window, holds)


def _holds(parts: Split, part: Part, window: WindowSpec) -> Holds:
    def holds(run: Run, volumes: Int64, times: Float64) -> Bool:
        facts = run.manifest
        return parts.holds(
            part,
            run.name,
            volumes=volumes,
            times=times,
            n_volumes=facts.n_volumes,
            scanned=scanned(run.onsets, facts.marked_tr),
            window=window,
        )

    return holds


def _volumes(store: Store, config: TrainConfig, parts: Split, window: WindowSpec) -> Volumes:
    """Return the volumes of each part by run, or nothing where no run is cut."""
    if not parts.cuts:
        return {}
    chain, found = config.model.chain, Volumes()
    windows = {name: store.runs[name].examples(chain, window) for name in parts.train}
    for part in get_args(Part):
        holds, found[part] = _holds(parts, part, window), {}
        for name, every in windows.items():
            run = store.runs[name]
            times = run.stamps(chain)[every.ends] + window.lead
            held = every.volumes[holds(run, every.volumes, times)]
            found[part][name] = tuple(held.tolist())
    empty = [part for part in ("train", "test") if not any(found[part].values())]
    if empty:
        raise DatasetError(
            f"The split leaves no window for {' and '.join(empty)}",
            found=f"{config.split.blocks} blocks of each run, windows of {window.length:g} s,"
            " and gaps between the parts",
            do="Cut runs into fewer blocks, shorten the window, or hold out whole runs",
        )
    if parts.validation and not any(found["validation"].values()):
        _say("There is no validation part: the gap beside the test takes all of its block")
    return found


def _trs(training: Examples) -> tuple[float, tuple[float, ...]]:
    """Return the TR of most windows, and every TR where there are several."""
    windows = Counter(training.runs[i].manifest.tr for i in training.run.tolist())
    tr, every = max(windows, key=lambda tr: (windows[tr], -tr)), tuple(sorted(windows))
    if len(every) == 1:
        return tr, ()
    _say(
        f"Trained on runs of TR {', '.join(f'{each:g}' for each in every)} s; a run in the lab"
        f" expects {tr:g} s where it is not told another"
    )
    return tr, every


def _check_fit(store: Store, config: TrainConfig, parts: Split) -> None:
    """Refuse a chain that knows what is held out: what it masks there would be too kind."""
    chain = store.chain(config.model.chain)
    fits = [fit.fitted_on for fit in (chain.artefacts, chain.eog) if fit]
    if parts.cuts and fits:
        _check_cut(store, config.split)
        return
    known = sorted({name for names in fits for name in names}.intersection(parts.test))
    if known:
        raise DatasetError(
            "The chain's artefact limits or EOG coefficients were fitted on a held-out run",
            found=f"{', '.join(known)} in the store's fit and in this recipe's test part",
            do="Prepare again with the recipe's [split], or train with the store's",
        )


def _check_cut(store: Store, split: SplitConfig) -> None:
    """Refuse a store whose limits were fitted by another cut; shuffled parts share all."""
    if split.kind == "shuffled":
        return
    fitted = SplitConfig.model_validate(store.manifest.config.get("split", {}))
    if fitted != split:
        raise DatasetError(
            "The chain's artefact limits or EOG coefficients were fitted by another split",
            found=f"[split] of the store is {fitted.model_dump(exclude_defaults=True)}, that of"
            f" the recipe {split.model_dump(exclude_defaults=True)}",
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


def _spec(
    store: Store,
    config: TrainConfig,
    parts: Split,
    window: WindowSpec,
    training: Examples,
    volumes: Volumes,
) -> CheckpointSpec:
    runs = {run.name: run for run in store.manifest.runs}
    tr, trs = _trs(training)
    subjects = sorted({runs[name].subject for name in parts.train})
    return CheckpointSpec(
        model=config.model,
        chain=store.chain(config.model.chain),
        window=window,
        targets=_targets(store, training),
        tr=tr,
        environment=store.manifest.environment,
        upstream=store.manifest.upstream,
        training=Training(
            store=store.hash,
            subjects=tuple(subjects),
            train=parts.train,
            validation=parts.validation,
            test=parts.test,
            split=parts.kind,
            volumes=volumes,
            trs=trs,
            seed=config.seed,
            semi_synthetic=store.manifest.semi_synthetic,
            volume_locked=_largest(runs[name].volume_locked for name in parts.train),
            versions=store.manifest.versions,
        ),
    )


def _largest(shares: Iterable[float | None]) -> float | None:
    return max((share for share in shares if share is not None), default=None)
