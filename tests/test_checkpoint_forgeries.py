"""Checkpoints whose hashes are right and whose content is not: another's, or a forger's."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from rtfeedback.checkpoint import (
    JSON_FILE,
    WEIGHTS_FILE,
    CheckpointSpec,
    load_checkpoint,
    save_checkpoint,
)
from rtfeedback.errors import CheckpointError
from rtfeedback.models import RidgeConfig
from tests.volume_lab import save_volume_model, volume_spec

Untrained = Callable[..., tuple[CheckpointSpec, nn.Module]]


@pytest.fixture
def folder(untrained: Untrained, tmp_path: Path) -> Path:
    """Return a checkpoint of a small ridge, for a test to forge."""
    save_checkpoint(tmp_path / "checkpoint", *untrained(RidgeConfig(length=2.0)))
    return tmp_path / "checkpoint"


def content_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / JSON_FILE).read_text())
    return content


def write(folder: Path, content: dict[str, Any]) -> None:
    """Write the JSON with the hash that it has now."""
    content.pop("hash", None)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["hash"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / JSON_FILE).write_text(json.dumps(content))


def write_weights(folder: Path, weights: bytes) -> None:
    """Write weights, and every hash that goes with them."""
    (folder / WEIGHTS_FILE).write_bytes(weights)
    write(folder, {**content_of(folder), "weights_sha256": hashlib.sha256(weights).hexdigest()})


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def paths(content: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every key in JSON."""
    below = content.items() if isinstance(content, dict) else ()
    return [p for key, value in below for p in ((*way, key), *paths(value, (*way, key)))]


def parent_of(content: Any, way: tuple[Any, ...]) -> Any:
    for key in way[:-1]:
        content = content[key]
    return content


def test_a_right_hash_is_all_that_a_forger_needs_to_be_read(folder: Path) -> None:
    """And so what follows is refused for what it is, not for its hash."""
    content = content_of(folder)
    content["tr"] = 1.5
    write(folder, content)
    assert load_checkpoint(folder).spec.tr == 1.5


FREE = {("training", "notes"), ("training", "versions")}  # names that are the fit's own


def test_every_unknown_key_is_refused(folder: Path) -> None:
    whole = content_of(folder)
    for way in paths(whole):
        if way == ("hash",) or way[:-1] in FREE:
            continue
        content = json.loads(json.dumps(whole))
        parent = parent_of(content, way)
        parent[f"{way[-1]}_"] = parent[way[-1]]
        write(folder, content)
        assert f"{way[-1]}_' (value" in refusal(folder)


@pytest.mark.parametrize(
    ("way", "value", "word"),
    [
        (("schema",), "rtfeedback/checkpoint/2", "'schema' is 'rtfeedback/checkpoint/2'"),
        (("model", "name"), "svm", "'model.name' is 'svm'"),
        (("environment",), "home", "'environment' is 'home'"),
        (("tr",), 0, "'tr' is 0"),
        (("tr",), None, "'tr' is None"),
        (("targets",), [], "'targets' is []"),
        (("window", "slice_ref"), 2, "'window.slice_ref' is 2"),
        (("window", "length"), 3.0, "'linear.weight' is"),
        (("window", "length"), 1e9, "'linear.weight' is"),  # terabytes, were they asked for
        (("window", "length"), 1e-3, "too short"),
        (("chain", "channels"), ["Cz", "C3"], "'linear.weight' is"),
        (("chain", "sfreq"), 60.0, "cannot be filtered in a stream of 60 Hz"),
    ],
)
def test_a_value_that_cannot_be_is_refused(
    folder: Path, way: tuple[str, ...], value: object, word: str
) -> None:
    content = content_of(folder)
    parent_of(content, way)[way[-1]] = value
    write(folder, content)
    assert word in refusal(folder)


def test_cut_weights_are_refused(folder: Path) -> None:
    weights = (folder / WEIGHTS_FILE).read_bytes()
    for n_bytes in (0, 4, 8, 100, len(weights) // 2, len(weights) - 1):
        write_weights(folder, weights[:n_bytes])
        assert "do not belong" in refusal(folder)


def reshaped(tensors: dict[str, torch.Tensor]) -> None:
    tensors["linear.weight"] = tensors["linear.weight"].T.contiguous()


def renamed(tensors: dict[str, torch.Tensor]) -> None:
    tensors["linear.weights"] = tensors.pop("linear.weight")


def extra(tensors: dict[str, torch.Tensor]) -> None:
    tensors["more"] = torch.zeros(1)


def missing(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["scaler.sd"]


def doubled(tensors: dict[str, torch.Tensor]) -> None:
    tensors["linear.bias"] = tensors["linear.bias"].double()


def halved(tensors: dict[str, torch.Tensor]) -> None:
    tensors["scaler.mean"] = tensors["scaler.mean"].half()


def nan(tensors: dict[str, torch.Tensor]) -> None:
    tensors["linear.weight"][1, 2] = float("nan")


def infinite(tensors: dict[str, torch.Tensor]) -> None:
    tensors["scaler.sd"][0] = float("inf")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (reshaped, "'linear.weight' is torch.float32 (48, 2)"),
        (renamed, "'linear.weight' is absent in the file"),
        (extra, "'more' is torch.float32 (1,) in the file, and absent in the model"),
        (missing, "'scaler.sd' is absent in the file"),
        (doubled, "'linear.bias' is torch.float64 (2,)"),
        (halved, "'scaler.mean' is torch.float16"),
        (nan, "not numbers. linear.weight"),
        (infinite, "not numbers. scaler.sd"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], None], word: str
) -> None:
    tensors = load_tensors((folder / WEIGHTS_FILE).read_bytes())
    change(tensors)
    write_weights(folder, save_tensors(tensors))
    assert word in refusal(folder)


class Trap:
    """Something that a pickle runs on its way in."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was run",))


def test_a_pickle_in_place_of_weights_is_refused_and_not_run(folder: Path) -> None:
    write_weights(folder, pickle.dumps(Trap()))
    assert "do not belong" in refusal(folder)


# ------------------------------------------------------------------ whole volumes


@pytest.fixture
def of_volumes(tmp_path: Path) -> Path:
    """Return a checkpoint of a model of volumes, for a test to forge."""
    save_volume_model(tmp_path / "volumes", volume_spec())
    return tmp_path / "volumes"


def forge_weights(folder: Path, name: str, change: Callable[[torch.Tensor], Any]) -> None:
    tensors = load_tensors((folder / WEIGHTS_FILE).read_bytes())
    change(tensors[name])
    write_weights(folder, save_tensors(tensors))


@pytest.mark.parametrize(
    ("at", "place"),
    [(-1, 5 * 6 * 7), (0, -1), (3, 0), (-1, 2**40)],
    ids=["beyond", "before", "twice", "far"],
)
def test_voxels_stand_in_the_grid_each_once_in_order(
    of_volumes: Path, at: int, place: int
) -> None:
    """A place below 0 counts from the end: the volume would be laid wrongly without a word."""
    forge_weights(of_volumes, "voxels", lambda voxels: voxels[at].fill_(place))
    assert "'voxels' are not places of a grid of 210" in refusal(of_volumes)


def test_voxels_in_another_order_are_refused(of_volumes: Path) -> None:
    forge_weights(of_volumes, "voxels", lambda voxels: voxels.copy_(voxels.flip(0)))
    assert "in order" in refusal(of_volumes)


def test_a_voxel_without_a_spread_is_refused(of_volumes: Path) -> None:
    forge_weights(of_volumes, "sd", lambda sd: sd[2].fill_(0.0))
    assert "'sd' of a voxel" in refusal(of_volumes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_voxels", 211),
        ("affine", [[3, 0, 0, 0], [0, 3, 0, 0], [3, 3, 0, 0], [0, 0, 0, 1]]),
        ("affine", [[3, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0], [0, 0, 1, 1]]),
    ],
)
def test_a_volume_has_a_place(of_volumes: Path, name: str, value: Any) -> None:
    content = content_of(of_volumes)
    content["volume"][name] = value
    write(of_volumes, content)
    assert "volume" in refusal(of_volumes)


def test_a_volume_and_a_model_of_volumes_go_together(folder: Path, of_volumes: Path) -> None:
    volumes, regions = content_of(of_volumes), content_of(folder)
    write(folder, {**regions, "volume": volumes["volume"]})
    assert "a 'volume' beside the model 'ridge'" in refusal(folder)
    write(of_volumes, {**volumes, "members": 2})
    assert "'members'" in refusal(of_volumes)
    write(of_volumes, {**volumes, "volume": None})
    assert "no 'volume' beside the model 'volume-lowrank'" in refusal(of_volumes)
