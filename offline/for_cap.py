"""A store for the cap that is used outside the scanner: fewer channels, all else alike."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from mne.channels import get_builtin_montages, make_standard_montage

from offline.prepare import PrepareConfig, prepare
from offline.progress import console
from offline.store.dataset import Store
from rtfeedback.channels import canonical
from rtfeedback.errors import ConfigError


def store_for_cap(store: Store, cap: str) -> Store:
    """Return the store of the same dataset with the channels of a cap.

    It is prepared anew, beside the store, unless that was done before: an average
    reference, artefact limits and EOG coefficients depend on which channels there are, so
    that taking columns out of a store would not be what the lab computes.

    Parameters
    ----------
    store : Store
    cap : str
        Labels with commas between them, or a cap that MNE knows by name, such as
        `easycap-M1` or `biosemi16`, of which those channels are taken that the store has.

    Raises
    ------
    ConfigError
        If the store lacks a channel that is named, or has none of the cap's.
    DatasetError, OutputError
        As `prepare`.
    """
    channels = _channels(cap, _all_channels(store))
    if set(channels) == set(_all_channels(store)):
        return store
    short = hashlib.sha256(",".join([store.hash, *channels]).encode()).hexdigest()[:8]
    path = store.path.with_name(f"{store.path.name}-{len(channels)}ch-{short}")
    if not path.exists():
        text = f"preparing {path} with {', '.join(channels)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        config = PrepareConfig.model_validate({**store.manifest.config, "channels": channels})
        prepare(Path(store.manifest.root), path, config)
    return Store(path)


def _all_channels(store: Store) -> tuple[str, ...]:
    return next(iter(store.manifest.chains.values())).channels


def _channels(cap: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return the channels of a cap, in the store's order."""
    if cap in get_builtin_montages():
        sites = {canonical(name) for name in make_standard_montage(cap).ch_names}
        found = tuple(name for name in known if name in sites)
        if not found:
            raise ConfigError(
                f"The store has no channel of the cap '{cap}'",
                found=f"It has {', '.join(known)}",
                do="Name the channels themselves",
            )
        return found
    named = [canonical(name) for name in cap.split(",") if name.strip()]
    absent = [name for name in named if name not in known]
    if absent or not named:
        raise ConfigError(
            f"The store has no channel {', '.join(absent) or 'of that name'}",
            found=f"It has {', '.join(known)}",
            do="Name channels of the store with commas between them, or a cap that MNE"
            f" knows, such as {', '.join(get_builtin_montages()[:4])}",
        )
    return tuple(name for name in known if name in named)
