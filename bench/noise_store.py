"""A store of noise whose arrays are as long as a real dataset's: for benches of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.checkpoint import labels_of
from offline.store.dataset import MANIFEST, Store
from offline.store.manifest import ROIManifest, RunManifest, StoreManifest
from rtfeedback.chain import ChainConfig, ChainSpec
from rtfeedback.signals import Float32

CHAIN = "samples"
TR = 2.0  # s


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a store: ds000116's, unless a test asks for less."""

    channels: int = 34
    rate: int = 1000
    seconds: int = 350
    n_volumes: int = 170
    length: float = 30.0
    runs: int = 6


def make_store(path: Path, subjects: int, shape: Shape) -> Store:
    """Write a store of noise whose arrays are as long as a real one's."""
    rng = np.random.default_rng(0)
    bare = ChainConfig(
        reference="recorded", band=None, notch=(), max_rate=shape.rate, artefacts=None
    )
    chain = ChainSpec(config=bare, channels=labels_of(shape.channels), sfreq=shape.rate)
    noise = rng.normal(0, 1e-5, (shape.rate * 10, shape.channels)).astype(np.float32)
    runs: list[RunManifest] = []
    for subject in range(1, subjects + 1):
        for number in range(1, shape.runs + 1):
            name = f"sub-{subject:02}_run-{number}"
            _write_run(path / name, np.roll(noise, 7 * len(runs), axis=0), shape, rng)
            runs.append(_manifest(name, f"{subject:02}", f"{number}", shape))
    manifest = StoreManifest(
        dataset="noise",
        root="",
        chains={CHAIN: chain},
        targets=(ROIManifest(name="noise", unit="none", definition="noise"),),
        runs=tuple(runs),
        slice_ref=0.5,
        environment="scanner",
        upstream="",
        semi_synthetic=False,
        config={},
        versions={},
    )
    (path / MANIFEST).write_text(manifest.model_dump_json(by_alias=True), encoding="utf-8")
    return Store(path)


def _write_run(folder: Path, noise: Float32, shape: Shape, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    n_times = shape.seconds * shape.rate
    rows = np.lib.format.open_memmap(
        folder / f"{CHAIN}.npy", "w+", np.float32, (n_times, shape.channels)
    )
    for first in range(0, n_times, len(noise)):
        rows[first : first + len(noise)] = noise[: n_times - first]
    rows.flush()
    np.save(folder / f"{CHAIN}_stamps.npy", np.arange(n_times) / shape.rate)
    np.save(folder / "onsets.npy", TR * np.arange(shape.n_volumes))
    np.save(folder / "targets.npy", rng.normal(size=(shape.n_volumes, 1)))
    np.save(folder / "design.npy", np.empty((shape.n_volumes, 0)))


def _manifest(name: str, subject: str, run: str, shape: Shape) -> RunManifest:
    return RunManifest(
        name=name,
        subject=subject,
        session="",
        task="noise",
        run=run,
        tr=TR,
        marked_tr=TR,
        n_volumes=shape.n_volumes,
        duration=shape.seconds,
        conditions=(),
        eeg_file="",
        eeg_sha256="",
        bold_sha256="",
        onsets_from="made up",
        arrays={},
    )
