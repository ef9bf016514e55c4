"""How a network is fitted: `[fit]` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from offline.training.augment import AugmentConfig
from offline.training.losses import LossName
from rtfeedback.config import Config


class FitConfig(Config):
    """How a network is fitted; closed-form models have no use for it."""

    epochs: Annotated[int, Field(gt=0)] = 24
    """At most so many passes over the training windows."""
    patience: Annotated[int, Field(gt=0)] = 8
    """Stop after so many epochs without a lower validation loss."""
    batch: Annotated[int, Field(gt=1)] = 32
    """Windows per step."""
    loss: LossName = "mse"
    """What is made smaller, on validation runs as well: `mse`, `mae`, `correlation`, or `nll`,
    the negative log-likelihood, for models that predict a variance."""
    optimiser: Literal["adamw", "adam"] = "adamw"
    """AdamW's weight decay leaves the gradient alone, Adam's is added to it."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Its largest; it rises over `warm_up`, then falls as a cosine."""
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps over which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Of the optimiser."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of a step's gradient."""
    jitter: Annotated[float, Field(ge=0)] = 1.0
    """Seconds by which a training window may end earlier or later, its target then
    interpolated between volumes. 0: none."""
    flip: bool = True
    """Turn the sign of half of the training windows: power has no polarity. Windows of
    band-power tokens, which have a sign, are never turned."""
    augment: AugmentConfig = AugmentConfig()
    """What else is done to training windows at random."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the network is trained; the checkpoint runs on either."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of products in training; weights stay float32. `bfloat16` is quicker on most GPUs."""
    compile: bool = False
    """Have torch.compile fuse the network's kernels: minutes at the start, for large ones."""
    memory: Annotated[float, Field(ge=0)] = 1.0
    """GiB of features, of a part of the split, that are kept in memory on a CPU: more is
    read from the store's files as it is needed. A GPU gives half of what is free on it."""
