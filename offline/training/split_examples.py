"""The windows of each part of a split."""

from __future__ import annotations

from typing import get_args

from offline.progress import say
from offline.splits.blocks import Part
from offline.splits.parts import SHUFFLED, Split, scanned
from offline.splits.split import RunKey, SplitConfig, split_runs
from offline.store.aims import Aims
from offline.store.dataset import Run, Store
from offline.store.examples import Examples, Holds
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float64, Int64
from rtfeedback.windows import WindowSpec

Volumes = dict[str, dict[str, tuple[int, ...]]]
"""Of each part, by run."""


def split_store(store: Store, config: SplitConfig) -> Split:
    """Part the runs of a store."""
    keys = [
        RunKey(run.name, run.subject, run.session, order)
        for order, run in enumerate(store.manifest.runs)
    ]
    return split_runs(keys, config)


def checked_split(store: Store, config: SplitConfig, chain: str) -> Split:
    """Part the runs of a store, say what is to be said of it, and check it against the fit.

    Raises
    ------
    DatasetError
        If the split leaves nothing, or what the chain knows is held out.
    ConfigError
        If windows are to be shuffled without leave.
    """
    parts = split_store(store, config)
    for note in (*parts.notes, *([SHUFFLED] if parts.kind == "shuffled" else [])):
        say(note)
    check_fit(store, chain, config, parts)
    return parts


def training_and_validation(
    store: Store, parts: Split, volumes: Volumes, chain: str, window: WindowSpec, aims: Aims
) -> tuple[Examples, Examples | None]:
    """Return the windows of both parts; None of a validation part that holds none."""
    training = examples_of(store, parts, "train", chain, window, aims)
    if not parts.validation or (volumes and not any(volumes["validation"].values())):
        return training, None
    return training, examples_of(store, parts, "validation", chain, window, aims)


def examples_of(
    store: Store,
    parts: Split,
    part: Part,
    chain: str,
    window: WindowSpec,
    aims: Aims | None = None,
) -> Examples:
    """Return the windows of a part.

    Raises
    ------
    DatasetError, ConfigError
        As `Examples` and `Split.holds`.
    """
    names: tuple[str, ...] = getattr(parts, part)
    holds = _holds(parts, part, window) if parts.cuts else None
    return Examples(store, names, chain, window, holds, aims)


def volumes_of_parts(store: Store, parts: Split, chain: str, window: WindowSpec) -> Volumes:
    """Return the volumes of each part by run, or nothing where no run is cut."""
    if not parts.cuts:
        return {}
    found = Volumes()
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
            found=f"{len(parts.inside)} blocks of each run, windows of {window.length:g} s,"
            " and gaps between the parts",
            do="Cut runs into fewer blocks, shorten the window, or hold out whole runs",
        )
    if parts.validation and not any(found["validation"].values()):
        say("There is no validation part: the gap beside the test takes all of its block")
    return found


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


def check_fit(store: Store, chain_name: str, split: SplitConfig, parts: Split) -> None:
    """Refuse a chain that knows what is held out: what it masks there would be too kind."""
    chain = store.chain(chain_name)
    fits = [fit.fitted_on for fit in (chain.artefacts, chain.eog) if fit]
    if parts.cuts and fits:
        _check_cut(store, split)
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
