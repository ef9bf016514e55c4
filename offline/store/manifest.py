"""What a store says of itself: `store.json`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from rtfeedback.chain import ChainSpec
from rtfeedback.checkpoint import Environment
from rtfeedback.config import Config
from rtfeedback.models.volume import VolumeSpec


class RunManifest(Config):
    """What the store says of one run."""

    name: str
    subject: str
    session: str
    task: str
    run: str
    tr: float
    """In seconds, as the BOLD's header states it."""
    marked_tr: float
    """As the markers show it: what the daemon goes by, and so what onsets are forecast by."""
    n_volumes: int
    conditions: tuple[str, ...]
    """Task conditions, in the order of the design's columns."""
    eeg_file: str
    eeg_sha256: str
    """Of its samples as recorded, float32 microvolts."""
    bold_sha256: str
    duration: float
    """Of the EEG, in seconds."""
    onsets_from: str
    """Where the volumes' onsets came from."""
    drift_ppm: float | None = None
    """By how much slower than its stated TR the scanner ran by the EEG's clock."""
    jitter: float | None = None
    """Sd of the volumes' markers about an even grid, in seconds."""
    upstream: tuple[str, ...] = ()
    """What `prepare` did to this run's EEG before the chain."""
    bad_channels: tuple[str, ...] = ()
    interpolated: tuple[str, ...] = ()
    """Bad channels that hold what the others say."""
    quality: dict[str, Any] = Field(default_factory=dict)
    """Of the BOLD: tSNR, DVARS, spikes, head motion in mm; a figure of it lies in the run's
    folder."""
    notes: tuple[str, ...] = ()
    """What was found and chosen."""
    volume_locked: float | None = None
    """Share of the EEG that repeats from volume to volume (see `VolumeLocked`)."""
    arrays: dict[str, str]
    """SHA-256 of each array file."""


class SkippedRun(Config):
    """A run of the dataset that the store does not hold."""

    name: str
    why: str


class ROIManifest(Config):
    """One target: a region, its unit and where it came from."""

    name: str
    unit: str
    definition: str
    causal: bool = False
    """Whether each value comes of no later volume."""


class VolumeManifest(Config):
    """Whole volumes of every run."""

    spec: VolumeSpec
    regions: tuple[str, ...]
    """Targets that are regions of them, in the order of their weights."""


class StoreManifest(Config):
    """What a store holds and where it came from."""

    schema_: Literal["rtfeedback/store/1"] = Field(default="rtfeedback/store/1", alias="schema")
    dataset: str
    root: str
    """Folder that it was prepared from."""
    chains: dict[str, ChainSpec]
    targets: tuple[ROIManifest, ...]
    volume: VolumeManifest | None = None
    runs: tuple[RunManifest, ...]
    skipped: tuple[SkippedRun, ...] = ()
    """Runs that could not be used."""
    slice_ref: float
    environment: Environment
    upstream: str
    semi_synthetic: bool
    """Real EEG with a simulated BOLD: no claim of skill follows from it."""
    notes: tuple[str, ...] = ()
    """What is to be known of all targets."""
    config: dict[str, object]
    versions: dict[str, str]
