"""Monte-Carlo dropout put on a checkpoint: a child that tells an sd, by the same weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from rtfeedback.checkpoint import Checkpoint, CheckpointSpec, save_checkpoint
from rtfeedback.errors import ConfigError
from rtfeedback.models.monte_carlo import FEWEST, MOST, MonteCarlo, network_of


def with_passes(parent: Checkpoint, out: Path, passes: int) -> CheckpointSpec:
    """Write a child of a checkpoint, whose notes name the parent by its hash.

    Of an ensemble, each member is thinned; of another number of passes, they are drawn anew.

    Parameters
    ----------
    parent : Checkpoint
    out : Path
        New folder.
    passes : int
        From 2 to 256.

    Raises
    ------
    ConfigError
        As `check_passes`.
    OutputError
        If `out` is there already or cannot be written.
    """
    check_passes(parent.spec, passes)
    known = parent.spec.training
    training = known.model_copy(update={"notes": {**known.notes, "parent": parent.hash}})
    spec = parent.spec.model_copy(update={"training": training})
    spec, model = thin(spec, parent.model, passes)
    save_checkpoint(out, spec, model)
    return spec


def check_passes(spec: CheckpointSpec, passes: int) -> None:
    """Find out whether a model can be thinned, before anything is trained or written.

    Raises
    ------
    ConfigError
        If it has no dropout that its predictions go through, as those in closed form, its
        masks are too large, or passes are too few or too many.
    """
    if not FEWEST <= passes <= MOST:
        raise ConfigError(
            "So many Monte-Carlo passes are not made",
            found=f"{passes}",
            do=f"Take {FEWEST} to {MOST}; 20 are usual",
        )
    with torch.device("meta"):  # shapes without memory
        _of(spec, passes).build()


def thin(
    spec: CheckpointSpec, model: nn.Module, passes: int
) -> tuple[CheckpointSpec, nn.Module]:
    """Return a model with a trained one's weights that makes passes, and its spec.

    Raises
    ------
    ConfigError
        As `check_passes`.
    """
    spec = _of(spec, passes)
    thinned = spec.build()
    assert isinstance(thinned, MonteCarlo)
    thinned.network.load_state_dict(network_of(model).state_dict())
    return spec, thinned.eval()


def _of(spec: CheckpointSpec, passes: int) -> CheckpointSpec:
    return spec.model_copy(update={"passes": passes})
