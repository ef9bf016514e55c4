"""Every model at the shapes that its paper states, or that it was made for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rtfeedback.models import (
    AnyModelConfig,
    CalhasConfig,
    ChannelTransformerConfig,
    CNNConfig,
    EEGNetConfig,
    FCConfig,
    PatchTransformerConfig,
    RidgeConfig,
    Shape,
    SiameseFCConfig,
    TCNConfig,
    VolumeLowRankConfig,
)
from rtfeedback.models.volume import VolumeSpec

Grid = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Case:
    """A model, the shapes that go in and come out, and the windows of a training step.

    Where the paper's are 32 windows of 34 x 30 000, a step here takes 4: `cnn` would need a
    minute or two for it on two cores.
    """

    config: AnyModelConfig
    shape: Shape
    batch: int = 32


def volumes(grid: Grid, mm: float, n_voxels: int = 0) -> VolumeSpec:
    """Return volumes on a grid of so many millimetres; all of it, where no number is told."""
    affine = (
        (mm, 0.0, 0.0, 0.0),
        (0.0, mm, 0.0, 0.0),
        (0.0, 0.0, mm, 0.0),
        (0.0, 0.0, 0.0, 1.0),
    )
    n = n_voxels or math.prod(grid)
    return VolumeSpec(grid=grid, affine=affine, n_voxels=n, unit="percent signal change")


ODDBALL = Shape(34, 30_000, 1, 1000.0, volume=volumes((53, 63, 52), 3.0))
"""Bricman and Borst: 30 s of ds000116's 34 channels, its normalised volumes."""
NODDI = Shape(64, 5400, 1, 250.0, volume=volumes((64, 64, 30), 3.3))
"""Calhas and Henriques: ten TRs of 2.16 s."""
SAMPLES = Shape(64, 2031, 1, 125.0, 44)
"""64 channels behind the default chain, 16.25 s."""
TOKENS = Shape(512, 65, 1, 4.0, 1, 8)
"""The same in band power."""

PAPER: dict[str, Case] = {
    "ridge": Case(RidgeConfig(), Shape(512, 40, 1, 4.0, n_bands=8)),
    "eegnet, 2 s": Case(
        EEGNetConfig(
            length=2.0,
            lead=4.0,
            kernel=0.512,
            dropout=0.5,
            head_max_norm=0.15,
            lowpass=30.0,
        ),
        Shape(31, 250, 1, 125.0),
        batch=64,
    ),
    "eegnet, 15 s": Case(EEGNetConfig(), Shape(64, 1875, 1, 125.0)),
    "tcn": Case(TCNConfig(), Shape(512, 64, 1, 4.0, 1, 8)),
    "patch-transformer, samples": Case(PatchTransformerConfig(), SAMPLES),
    "patch-transformer, tokens": Case(PatchTransformerConfig(chain="tokens"), TOKENS),
    "fc": Case(FCConfig(), ODDBALL, batch=4),
    "siamese-fc": Case(SiameseFCConfig(), ODDBALL, batch=4),
    "cnn": Case(CNNConfig(), ODDBALL, batch=4),
    "channel-transformer": Case(ChannelTransformerConfig(), ODDBALL, batch=4),
    "channel-transformer, dense": Case(
        ChannelTransformerConfig(decoding="dense"), ODDBALL, batch=4
    ),
    "channel-transformer, autoregressive": Case(
        ChannelTransformerConfig(decoding="autoregressive"), ODDBALL, batch=4
    ),
    "calhas": Case(CalhasConfig(), NODDI, batch=4),
    "volume-lowrank": Case(
        VolumeLowRankConfig(),
        Shape(512, 65, 7, 4.0, 1, 8, volumes((53, 63, 52), 3.0, 30_000)),
    ),
}
