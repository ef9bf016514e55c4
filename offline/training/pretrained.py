"""A pretrained transformer on disk: weights, and the chain and settings that they go with."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from offline.splits.parts import Split
from rtfeedback.chain import ChainSpec
from rtfeedback.config import Config, explain
from rtfeedback.errors import CheckpointError, ConfigError, DatasetError, listed
from rtfeedback.folders import new_folder
from rtfeedback.models.patch_transformer import PatchTransformer, PatchTransformerSettings
from rtfeedback.models.volume_lowrank import VolumeLowRank

JSON_FILE = "pretrained.json"
WEIGHTS_FILE = "weights.safetensors"
HEAD = "head."


class PretrainedSpec(Config):
    """What weights were learnt of, and what they may be loaded into."""

    schema_: Literal["rtfeedback/pretrained/1"] = Field(
        default="rtfeedback/pretrained/1", alias="schema"
    )
    model: PatchTransformerSettings
    chain: ChainSpec
    recordings: tuple[str, ...]
    """Names of those that were trained on."""
    stopped_by: tuple[str, ...] = ()
    """Names of others, by which it was seen when to stop."""
    hours: float
    """Of EEG in them."""
    seed: int
    notes: dict[str, float | int | str] = Field(default_factory=dict)
    """What the fit reached."""
    weights_sha256: str = ""


def save_pretrained(path: Path, spec: PretrainedSpec, model: PatchTransformer) -> None:
    """Write a folder with all but the head's weights, whole or not at all.

    Raises
    ------
    OutputError
        If the folder is there already or cannot be written.
    """
    tensors = {
        name: each.contiguous()
        for name, each in model.state_dict().items()
        if not name.startswith(HEAD)
    }
    weights = save_tensors(tensors)
    spec = spec.model_copy(update={"weights_sha256": hashlib.sha256(weights).hexdigest()})
    with new_folder(path) as folder:
        (folder / WEIGHTS_FILE).write_bytes(weights)
        text = spec.model_dump_json(indent=1, by_alias=True) + "\n"
        (folder / JSON_FILE).write_text(text, encoding="utf-8")


def load_pretrained(path: Path, model: PatchTransformer, chain: ChainSpec) -> PretrainedSpec:
    """Load pretrained weights into a model that has yet to be trained; the head stays.

    Parameters
    ----------
    path : Path
        A folder that `save_pretrained` wrote.
    model : PatchTransformer
    chain : ChainSpec
        That the model is fed by.

    Raises
    ------
    CheckpointError
        If the folder is none of ours or was altered, or the weights were learnt of other
        channels or features, or by a transformer of other settings.
    """
    spec = read_pretrained(path)
    _check_alike(path, spec, model, chain)
    try:
        weights = (path / WEIGHTS_FILE).read_bytes()
        if hashlib.sha256(weights).hexdigest() != spec.weights_sha256:
            raise ValueError(f"the file does not have the hash that {JSON_FILE} states")
        tensors = load_tensors(weights)
        own = {name: each for name, each in model.state_dict().items() if name.startswith(HEAD)}
        with torch.no_grad():
            model.load_state_dict({**tensors, **own}, strict=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"The weights of {path} do not belong to its {JSON_FILE}",
            found=" ".join(str(error).split()),
            do="Pretrain again",
        ) from error
    return spec


def read_pretrained(path: Path) -> PretrainedSpec:
    """Return what pretrained weights say of themselves.

    Raises
    ------
    CheckpointError
        If the folder is none of ours.
    """
    try:
        text = (path / JSON_FILE).read_text(encoding="utf-8")
        return PretrainedSpec.model_validate_json(text)
    except ValidationError as error:
        found = explain(error, PretrainedSpec, JSON_FILE)
    except (OSError, UnicodeDecodeError) as error:
        found = str(error)
    raise CheckpointError(
        f"{path} holds no pretrained weights",
        found=found,
        do="Name a folder that 'rtfeedback pretrain' wrote",
    )


def notes_of_pretrained(path: Path, parts: Split) -> dict[str, float | int | str]:
    """Return what a checkpoint notes of the weights that its training began with.

    Raises
    ------
    CheckpointError
        If the folder is none of ours.
    DatasetError
        If they were learnt of a run that is held out now, or stopped by one.
    """
    spec = read_pretrained(path)
    used = (*spec.recordings, *spec.stopped_by)
    known = sorted(run for run in parts.test if any(_is_of(each, run) for each in used))
    if known:
        raise DatasetError(
            "The weights were pretrained on a held-out run",
            found=f"{listed(known)} among the recordings of {path}",
            do="Pretrain with this recipe's [split], or on other recordings",
        )
    return {"pretrained": spec.weights_sha256, "pretrained_hours": round(spec.hours, 3)}


def _is_of(recording: str, run: str) -> bool:
    """Tell whether a recording, the name of a run or a path, is of a run."""
    return f"{Path(recording).stem}_".startswith(f"{run}_")


def transformer_of(model: nn.Module) -> PatchTransformer:
    """Return what of a model pretrained weights are for.

    Raises
    ------
    ConfigError
        If there is no patch-transformer in it.
    """
    inner = model.encoder if isinstance(model, VolumeLowRank) else model
    if not isinstance(inner, PatchTransformer):
        raise ConfigError(
            "The model cannot begin with pretrained weights",
            found=f"They are a patch-transformer's, and it is a {type(inner).__name__}",
            do="Train 'patch-transformer', or 'volume-lowrank' with one as its encoder",
        )
    return inner


def _check_alike(
    path: Path, spec: PretrainedSpec, model: PatchTransformer, chain: ChainSpec
) -> None:
    """Refuse weights that would mean something else here; what trains them may differ."""
    pairs = {
        name: (getattr(spec.model, name), getattr(model.config, name))
        for name in PatchTransformerSettings.model_fields
        if "dropout" not in name
    }
    pairs["channels"] = (spec.chain.channels, chain.channels)
    pairs["rate"] = (spec.chain.rate, chain.rate)
    for name in ("reference", "band", "band_power"):
        pairs[name] = (getattr(spec.chain.config, name), getattr(chain.config, name))
    other = [f"{name}: {a}, here {b}" for name, (a, b) in pairs.items() if a != b]
    if other:
        raise CheckpointError(
            f"The weights in {path} do not go with this model and chain",
            found="; ".join(other),
            do="Use the settings and channels of the pretraining, or pretrain again with these",
        )
