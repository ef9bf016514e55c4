from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rtfeedback import checkpoint as checkpoints
from rtfeedback.checkpoint import (
    JSON_FILE,
    WEIGHTS_FILE,
    CheckpointSpec,
    load_checkpoint,
    save_checkpoint,
)
from rtfeedback.errors import CheckpointError, OutputError
from rtfeedback.models import EEGNetConfig, RidgeConfig

Untrained = Callable[..., tuple[CheckpointSpec, nn.Module]]
MODELS = [RidgeConfig(length=2.0), EEGNetConfig(length=1.0, f1=2)]


@pytest.fixture
def folder(untrained: Untrained, tmp_path: Path) -> Path:
    """Return a checkpoint of a small ridge, for a test to break."""
    save_checkpoint(tmp_path / "checkpoint", *untrained(MODELS[0]))
    return tmp_path / "checkpoint"


def content_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / JSON_FILE).read_text())
    return content


def write(folder: Path, content: dict[str, Any]) -> None:
    (folder / JSON_FILE).write_text(json.dumps(content))


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    said = str(caught.value)
    assert str(folder) in said
    assert "\n" not in said
    return said


def paths(content: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every key in JSON."""
    below = content.items() if isinstance(content, dict) else ()
    return [p for key, value in below for p in ((*way, key), *paths(value, (*way, key)))]


def parent_of(content: Any, way: tuple[Any, ...]) -> Any:
    for key in way[:-1]:
        content = content[key]
    return content


def other(value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return value + "x" if isinstance(value, str) else [value]


# ----------------------------------------------------------------------- what is kept


@pytest.mark.parametrize("config", MODELS, ids=lambda config: config.name)
def test_a_round_trip_gives_the_same_bits(
    untrained: Untrained, tmp_path: Path, config: RidgeConfig | EEGNetConfig
) -> None:
    spec, model = untrained(config)
    stated = save_checkpoint(tmp_path / "a", spec, model)
    loaded = load_checkpoint(tmp_path / "a")
    assert loaded.hash == stated
    assert loaded.spec.model_copy(update={"weights_sha256": ""}) == spec
    before, after = model.state_dict(), loaded.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not loaded.model.training
    assert save_checkpoint(tmp_path / "b", loaded.spec, loaded.model) == stated
    for file in (JSON_FILE, WEIGHTS_FILE):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_it_is_two_files_without_code(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [JSON_FILE, WEIGHTS_FILE]
    assert content_of(folder)["schema"] == "rtfeedback/checkpoint/1"


def test_the_hash_is_that_of_the_content_whatever_its_layout(folder: Path) -> None:
    stated = load_checkpoint(folder).hash
    content = dict(reversed(content_of(folder).items()))
    (folder / JSON_FILE).write_text(json.dumps(content, indent=7))
    assert load_checkpoint(folder).hash == stated


def test_another_process_reads_the_same_hash(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rtfeedback.checkpoint import *\n"
        "print(load_checkpoint(Path(sys.argv[1])).hash)"
    )
    env = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=env, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == load_checkpoint(folder).hash


def test_another_weight_is_another_hash(untrained: Untrained, tmp_path: Path) -> None:
    spec, model = untrained(MODELS[0])
    first = save_checkpoint(tmp_path / "a", spec, model)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-3
    assert save_checkpoint(tmp_path / "b", spec, model) != first


# -------------------------------------------------------------------- what is refused


def test_every_altered_value_is_refused(folder: Path) -> None:
    whole = content_of(folder)
    ways = paths(whole)
    assert len(ways) > 35
    for way in ways:
        content = json.loads(json.dumps(whole))
        parent = parent_of(content, way)
        parent[way[-1]] = other(parent[way[-1]])
        write(folder, content)
        refusal(folder)


def test_every_missing_renamed_or_extra_key_is_refused(folder: Path) -> None:
    whole = content_of(folder)
    for way in paths(whole):
        for change in ("missing", "renamed", "extra"):
            content = json.loads(json.dumps(whole))
            parent = parent_of(content, way)
            value = parent[way[-1]] if change == "extra" else parent.pop(way[-1])
            if change != "missing":
                parent[f"{way[-1]}_"] = value
            write(folder, content)
            refusal(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "\x00\xff",
        '{"tr": NaN}',
        '{"tr": 1e999, "hash": "0"}',
        "[" * 100_000,
        '{"state_dict": {}, "epoch": 3}',
    ],
)
def test_json_that_is_broken_or_foreign_is_refused(folder: Path, text: str) -> None:
    (folder / JSON_FILE).write_bytes(text.encode("latin-1"))
    assert "rtfeedback train" in refusal(folder)


@pytest.mark.parametrize("file", [JSON_FILE, WEIGHTS_FILE])
def test_an_absent_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    assert f"No {file}" in refusal(folder)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"weights": 1}))
    for path in (tmp_path / "none", tmp_path / "model.pt", tmp_path):
        assert f"is no checkpoint. No {JSON_FILE}" in refusal(path)


def test_every_altered_or_cut_byte_of_the_weights_is_refused(folder: Path) -> None:
    weights = (folder / WEIGHTS_FILE).read_bytes()
    for place in range(0, len(weights), 11):
        flipped = bytearray(weights)
        flipped[place] ^= 1
        (folder / WEIGHTS_FILE).write_bytes(flipped)
        refusal(folder)
        (folder / WEIGHTS_FILE).write_bytes(weights[:place])
        refusal(folder)


def test_weights_of_another_checkpoint_are_refused(
    folder: Path, untrained: Untrained, tmp_path: Path
) -> None:
    spec, model = untrained(MODELS[0])
    torch.nn.init.ones_(model.get_parameter("linear.weight"))
    save_checkpoint(tmp_path / "other", spec, model)
    (folder / WEIGHTS_FILE).write_bytes((tmp_path / "other" / WEIGHTS_FILE).read_bytes())
    assert "does not have the hash" in refusal(folder)


@pytest.mark.parametrize("file", [JSON_FILE, WEIGHTS_FILE])
def test_a_huge_file_is_refused_unread(
    folder: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    os.truncate(folder / file, 2**40)  # sparse: it takes no room

    def read(_: Path, *__: object, **___: object) -> None:
        pytest.fail("it was read")

    monkeypatch.setattr(Path, "read_bytes", read)
    monkeypatch.setattr(Path, "read_text", read)
    assert "is too large" in refusal(folder)


# --------------------------------------------------------------------- what is written


def test_weights_that_are_not_numbers_are_not_saved(
    untrained: Untrained, tmp_path: Path
) -> None:
    spec, model = untrained(MODELS[1])
    torch.nn.init.constant_(model.get_parameter("spatial.weight"), float("nan"))
    with pytest.raises(CheckpointError, match=r"not numbers\. spatial\.weight\. .+ diverged"):
        save_checkpoint(tmp_path / "a", spec, model)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_never_written_over(folder: Path, untrained: Untrained) -> None:
    before = (folder / JSON_FILE).read_bytes()
    with pytest.raises(OutputError, match="is there already"):
        save_checkpoint(folder, *untrained(MODELS[1]))
    assert (folder / JSON_FILE).read_bytes() == before


def test_no_pickle_is_imported_to_read_one() -> None:
    assert "pickle" not in vars(checkpoints)
