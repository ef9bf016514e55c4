"""The last layer of a model of regions, and what goes into it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from offline.store.examples import Examples
from rtfeedback.models import EEGNet, Ridge
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.signals import Float64

BATCH = 64  # windows at a time


def readout(model: nn.Module) -> nn.Linear | None:
    """Return the linear layer whose outputs are the targets' z; None where there is none.

    Volumes have none, whose regions are sums of voxels; classes have logits there; and
    where variances are predicted as well, a layer that gave better means would leave
    them saying how sure the old ones were.
    """
    if isinstance(model, Ridge):
        return model.linear
    if isinstance(model, VolumeNetwork) or getattr(model, "gaussian", False):
        return None
    if isinstance(model, EEGNet) and model.classes:
        return None
    head = getattr(model, "head", None)
    return head if isinstance(head, nn.Linear) else None


def predict(model: nn.Module, examples: Examples) -> Float64:
    """Return the z of every window, shape (n, n_targets)."""
    n_targets = examples.targets.shape[1]
    return np.concatenate([z[:, :n_targets].double().numpy() for z in _passes(model, examples)])


def hidden(model: nn.Module, layer: nn.Linear, examples: Examples) -> Float64:
    """Return what goes into a layer for every window, shape (n, n_inputs)."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        for _ in _passes(model, examples):
            pass
    finally:
        hook.remove()
    return np.concatenate([part.double().numpy() for part in seen])


@torch.inference_mode()
def _passes(model: nn.Module, examples: Examples) -> Iterator[Tensor]:
    """Yield the outputs for every window, a batch at a time."""
    model.eval()
    for first in range(0, len(examples), BATCH):
        which = np.arange(first, min(first + BATCH, len(examples)))
        z: Tensor = model(torch.from_numpy(examples.gather(which)))
        yield z
