"""What a checkpoint says of its training: targets, TR, parts, and where it all comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from offline.progress import say
from offline.splits.parts import Split
from offline.store.aims import Aims
from offline.store.dataset import Run, Store
from offline.store.examples import Examples
from offline.training.split_examples import Volumes
from rtfeedback.checkpoint import CheckpointSpec, Target, Training
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.models import AnyModelConfig
from rtfeedback.online.settings import other_tr
from rtfeedback.windows import WindowSpec

CONDITION = "a condition of the task: 1 where it holds, 0 elsewhere"


def aims_of(store: Store, model: AnyModelConfig, ahead: Sequence[float], parts: Split) -> Aims:
    """Return what a model is to predict.

    Raises
    ------
    DatasetError
        If the store holds no such thing.
    ConfigError
        If the model, or the split, does not go with what is ahead.
    """
    if tuple(ahead) != (0.0,) and (parts.cuts or model.of_volumes or model.of_task):
        raise ConfigError(
            "Only regions, in splits of whole runs, are predicted ahead",
            found=f"ahead = {list(ahead)}, '{model.name}', a split by {parts.kind}",
            do="Leave 'ahead' out, or split by run, session or subject",
        )
    if model.of_task:
        return Aims(_conditions([store.runs[name] for name in parts.train]), of_task=True)
    if model.of_volumes:
        return Aims(_regions_of_volumes(store, model))
    return Aims(tuple(target.name for target in store.manifest.targets), ahead=tuple(ahead))


def _conditions(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the task's conditions, which all training runs have."""
    found = {run.manifest.conditions for run in runs}
    names = found.pop()
    if found or not names:
        raise DatasetError(
            "The training runs have no conditions to tell apart, or not the same ones",
            found="; ".join(
                f"{run.name}: {', '.join(run.manifest.conditions) or 'none'}" for run in runs
            ),
            do="Train on runs of one task, or take another model.head",
        )
    return names


def _regions_of_volumes(store: Store, model: AnyModelConfig) -> tuple[str, ...]:
    volume = store.manifest.volume
    if volume is None or not volume.regions:
        raise DatasetError(
            f"The store {store.path} has no whole volumes for '{model.name}'",
            found="It has none"
            if volume is None
            else "None of its targets is a region that all subjects share",
            do="Prepare with [volumes] whole = true, and a target by mask, atlas or spheres",
        )
    return volume.regions


def training_spec(
    store: Store,
    model: AnyModelConfig,
    parts: Split,
    window: WindowSpec,
    training: Examples,
    volumes: Volumes,
    aims: Aims,
    seed: int,
) -> CheckpointSpec:
    """Return what the checkpoint of a training says."""
    runs = {run.name: run for run in store.manifest.runs}
    tr, trs = _trs(training)
    known = store.manifest.volume
    return CheckpointSpec(
        model=model,
        chain=store.chain(model.chain),
        window=window,
        volume=known.spec if known and model.of_volumes else None,
        targets=_targets(store, aims, training),
        tr=tr,
        environment=store.manifest.environment,
        upstream=store.manifest.upstream,
        training=Training(
            store=store.hash,
            subjects=tuple(sorted({runs[name].subject for name in parts.train})),
            train=parts.train,
            validation=parts.validation,
            test=parts.test,
            measured={n: runs[n].bold_sha256 for n in (*parts.train, *parts.validation)},
            split=parts.kind,
            volumes=volumes,
            trs=trs,
            seed=seed,
            semi_synthetic=store.manifest.semi_synthetic,
            volume_locked=_largest(runs[name].volume_locked for name in parts.train),
            versions=store.manifest.versions,
        ),
    )


def _targets(store: Store, aims: Aims, training: Examples) -> tuple[Target, ...]:
    known = {target.name: target for target in store.manifest.targets}
    means, sds = training.targets.mean(axis=0), training.targets.std(axis=0)
    return tuple(
        Target(
            name=name,
            unit="probability" if aims.of_task else known[of].unit,
            definition=CONDITION if aims.of_task else known[of].definition,
            region=of if ahead else "",
            ahead=ahead,
            mean=float(mean),
            sd=float(sd) or 1.0,
        )
        for (name, of, ahead), mean, sd in zip(aims.target_names(), means, sds, strict=True)
    )


def check_tr(store: Store, spec: CheckpointSpec) -> None:
    """Refuse runs of another TR than the one that a model is bound to.

    Every run in the lab would be refused for it, whose TR is the training's.

    Raises
    ------
    ConfigError
    """
    known = spec.training
    names = (*known.train, *known.validation, *known.test)
    others = sorted({store.runs[name].manifest.tr for name in names})
    if any(other_tr(spec, tr) for tr in others):
        raise ConfigError(
            f"'{spec.model.name}' is bound to a TR of {spec.model.bound_to_tr:g} s",
            found=f"The store's runs have {', '.join(f'{tr:g}' for tr in others)} s",
            do="Set model.tr to theirs, and model.length to hold as many columns",
        )


def _trs(training: Examples) -> tuple[float, tuple[float, ...]]:
    """Return the TR of most windows, and every TR where there are several."""
    windows = Counter(training.runs[i].manifest.tr for i in training.run.tolist())
    tr, every = max(windows, key=lambda tr: (windows[tr], -tr)), tuple(sorted(windows))
    if len(every) == 1:
        return tr, ()
    say(
        f"Trained on runs of TR {', '.join(f'{each:g}' for each in every)} s; a run in the lab"
        f" expects {tr:g} s where it is not told another"
    )
    return tr, every


def _largest(shares: Iterable[float | None]) -> float | None:
    return max((share for share in shares if share is not None), default=None)
