"""EEG that was cleaned, kept while a store is being made: cleaning takes minutes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from offline.eeg.clean_eeg import Cleaned
from offline.eeg.recordings import Recording

FACTS = ("volume_locked_before", "volume_locked")
LISTS = ("bad", "interpolated", "upstream", "notes")


def keep(path: Path, cleaned: Cleaned) -> None:
    """Keep a run's cleaned EEG, unless it is as recorded.

    Parameters
    ----------
    path : Path
        Of the file for its samples, `.npy`; what is known of it goes beside that.
    cleaned : Cleaned
    """
    if not (cleaned.upstream or cleaned.interpolated):
        return
    path.parent.mkdir(exist_ok=True)
    begun = path.with_suffix(".begun.npy")
    np.save(begun, cleaned.recording.samples, allow_pickle=False)
    begun.replace(path)
    known = {name: getattr(cleaned, name) for name in (*FACTS, *LISTS)}
    text = json.dumps({**known, "sfreq": cleaned.recording.info.sfreq})
    begun = path.with_suffix(".begun.json")
    begun.write_text(text, encoding="utf-8")
    begun.replace(path.with_suffix(".json"))


def kept(path: Path, recording: Recording) -> Cleaned | None:
    """Return what was kept of a recording's cleaning, its samples as a memory map; or None."""
    facts = path.with_suffix(".json")
    if not facts.is_file():
        return None
    known = json.loads(facts.read_text(encoding="utf-8"))
    samples = np.load(path, mmap_mode="r", allow_pickle=False)
    info = replace(recording.info, sfreq=known["sfreq"])
    values: dict[str, Any] = {name: known[name] for name in FACTS}
    values |= {name: tuple(known[name]) for name in LISTS}
    return Cleaned(replace(recording, info=info, samples=samples), **values)
