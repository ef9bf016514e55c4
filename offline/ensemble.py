"""An ensemble: one recipe trained from several seeds, in one checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

from offline.staging import unfinished
from offline.store.dataset import Store
from offline.train import TrainConfig, train
from offline.training.pretrained import read_pretrained
from offline.training.training_state import key_of
from rtfeedback.checkpoint import Checkpoint, CheckpointSpec, load_checkpoint, save_checkpoint
from rtfeedback.errors import ConfigError
from rtfeedback.models.ensemble import Ensemble


def train_ensemble(
    store: Store, out: Path, config: TrainConfig, n: int, *, pretrained: Path | None = None
) -> CheckpointSpec:
    """Train n networks from the recipe's seed and the next ones; write one checkpoint.

    One that was killed goes on with the member that it was at. No logs are kept.

    Parameters
    ----------
    store : Store
    out : Path
    config : TrainConfig
    n : int
        Two at least.
    pretrained : Path, optional
        Weights that all of them begin with.

    Raises
    ------
    ConfigError
        If seeds make no difference to the model, or it predicts no regions.
    CheckpointError, DatasetError, OutputError
        As `train`.
    """
    _check(config, n)
    begun_with = [read_pretrained(pretrained)] if pretrained is not None else []
    with unfinished(out, key_of(store.hash, n, config, *begun_with)) as folder:
        members = []
        for seed in range(config.seed, config.seed + n):
            path = folder / f"seed-{seed}"
            if not path.exists():
                seeded = config.model_copy(update={"seed": seed})
                train(store, path, seeded, pretrained=pretrained)
            members.append(load_checkpoint(path))
        return join(members, out)


def join(members: Sequence[Checkpoint], out: Path) -> CheckpointSpec:
    """Write checkpoints that differ in their seeds only as one; return its spec."""
    first = members[0].spec
    reached = [each.spec.training.notes for each in members]
    notes = {
        name: sum(float(each[name]) for each in reached) / len(reached)
        for name in ("loss", "validation_r")
        if all(name in each for each in reached)
    }
    same = ("windows", "pretrained")  # of all members
    kept = {name: value for name, value in reached[0].items() if name.startswith(same)}
    training = first.training.model_copy(
        update={"notes": {"members": len(members), **notes, **kept}}
    )
    spec = first.model_copy(update={"training": training, "members": len(members)})
    models = [copy.deepcopy(each.model) for each in members]  # no tensor stands in two places
    save_checkpoint(out, spec, Ensemble(models).eval())
    return spec


def _check(config: TrainConfig, n: int) -> None:
    model = config.model
    if n < 2:
        raise ConfigError("An ensemble has two members at least", found=f"{n}")
    if model.name in ("ridge", "mean-power"):
        raise ConfigError(
            f"An ensemble of '{model.name}' would be of members that are all the same",
            found="Its fit has one solution, whatever the seed",
            do="Train it alone, or take an ensemble of a network",
        )
    if model.of_volumes or model.of_task or getattr(model, "head", "value") != "value":
        raise ConfigError(
            f"An ensemble of '{model.name}' cannot be made with these settings",
            found="It predicts whole volumes or classes, and an ensemble's sd is of regions",
            do="Take a network of regions",
        )
