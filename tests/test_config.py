from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from offline.prepare import PrepareConfig
from offline.simulate import SimulateConfig
from offline.train import TrainConfig
from rtfeedback.config import Config, load_config, parse_config
from rtfeedback.errors import ConfigError
from rtfeedback.online.settings import RunConfig


class Inner(Config):
    depth: int = 1


class Outer(Config):
    needed: str
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    named: dict[str, Inner] = {}  # noqa: RUF012 (pydantic copies it)


def refusal(path: Path, text: str, model: type[Config]) -> str:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, model)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    assert "pydantic" not in said
    return said


# file, config, key as it stands in the file, value, nearest key, one that is allowed there
TYPOS = [
    ("sede = 1", TrainConfig, "sede", "1", "seed", "split"),
    ("[fitt]\nepochs = 3", TrainConfig, "fitt", "{'epochs': 3}", "fit", "model"),
    ("[fit]\nepoch = 3", TrainConfig, "fit.epoch", "3", "epochs", "patience"),
    ("model = {name = 'ridge', led = 5}", TrainConfig, "model.led", "5", "lead", "length"),
    ("model = {name = 'eegnet', kernal = 1}", TrainConfig, "model.kernal", "1", "kernel", "f1"),
    ("slice_rf = 0.5", PrepareConfig, "slice_rf", "0.5", "slice_ref", "chains"),
    (
        "[chains.samples]\nbnd = [1, 40]",
        PrepareConfig,
        "chains.samples.bnd",
        "[1, 40]",
        "band",
        "notch",
    ),
    (
        "[chains.band_power]\nnoch = []",
        PrepareConfig,
        "chains.band_power.noch",
        "[]",
        "notch",
        "band",
    ),
    (
        "[chains.tokens.band_power]\nlegnth = 2",
        PrepareConfig,
        "chains.tokens.band_power.legnth",
        "2",
        "length",
        "bands",
    ),
    ("[[targets]]\nnmae = 'm'", PrepareConfig, "targets.0.nmae", "'m'", "name", "atlas"),
    ("[session]\nsubjct = '1'", RunConfig, "session.subjct", "'1'", "subject", "environment"),
]


@pytest.mark.parametrize(("text", "model", "key", "value", "near", "allowed"), TYPOS)
def test_a_typo_is_told_with_key_value_nearest_and_allowed(
    tmp_path: Path,
    text: str,
    model: type[Config],
    key: str,
    value: str,
    near: str,
    allowed: str,
) -> None:
    said = refusal(tmp_path / "x.toml", text, model)
    assert f"'{key}' (value {value}) is not a key." in said
    assert f"Did you mean '{near}'?" in said
    assert {near, allowed} <= set(said.rsplit("Allowed here: ", 1)[1].strip(".").split(", "))


@pytest.mark.parametrize("model", [TrainConfig, PrepareConfig, RunConfig, SimulateConfig])
def test_any_key_is_found_again_from_a_typo(model: type[Config]) -> None:
    for name in model.model_fields:
        with pytest.raises(ConfigError, match=f"Did you mean '{name}'"):
            parse_config({name + name[-1]: 1}, model, source="x")


def test_only_the_keys_of_the_model_that_is_named_are_allowed(tmp_path: Path) -> None:
    said = refusal(tmp_path / "x.toml", "model = {name = 'ridge', kernel = 1}", TrainConfig)
    assert (
        "'model.kernel' (value 1) is not a key. Allowed here: basis, chain, group, lead" in said
    )
    assert "Did you mean" not in said


def test_a_checkpoints_facts_cannot_be_stated_for_a_run(tmp_path: Path) -> None:
    for key in ("channels", "rate", "reference", "window", "chain", "lead", "model"):
        said = refusal(tmp_path / "x.toml", f"{key} = 1", RunConfig)
        assert f"'{key}' (value 1) is not a key" in said


def test_an_unknown_model_is_told_with_those_there_are(tmp_path: Path) -> None:
    said = refusal(tmp_path / "x.toml", "model = {name = 'rigde'}", TrainConfig)
    assert "'model.name' is 'rigde'. Did you mean 'ridge'? Allowed here: ridge, eegnet" in said


def test_a_model_without_a_name_is_told(tmp_path: Path) -> None:
    said = refusal(tmp_path / "x.toml", "model = {length = 5}", TrainConfig)
    assert said.endswith("'model.name' is missing.")


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    said = refusal(tmp_path / "x.toml", "ned = 1\n[inner]\ndpth = 2", Outer)
    assert "'needed' is missing" in said
    assert "'ned' (value 1)" in said
    assert "'inner.dpth' (value 2) is not a key. Did you mean 'depth'? Allowed" in said


@pytest.mark.parametrize(
    ("where", "values"),
    [
        ("inner", {"dep": 1}),
        ("many.1", ({}, {"dep": 1})),
        ("named.inner", {"inner": {"dep": 1}}),
    ],
)
def test_a_key_is_named_by_its_way_down(where: str, values: Any) -> None:
    with pytest.raises(
        ConfigError, match=rf"'{where}\.dep' .+ 'depth'\? Allowed here: depth\."
    ):
        parse_config({"needed": "", where.split(".")[0]: values}, Outer, source="x")


@pytest.mark.parametrize(
    ("text", "model", "words"),
    [
        ("seed = 'one'", TrainConfig, ["'seed' is 'one'", "valid integer"]),
        ("seed = -1", TrainConfig, ["'seed' is -1", "greater than or equal to 0"]),
        ("fit = 3", TrainConfig, ["'fit' is 3"]),
        ("model = {name = 'ridge', lead = inf}", TrainConfig, ["'model.lead' is inf"]),
        ("model = {name = 'ridge', lead = nan}", TrainConfig, ["'model.lead' is nan"]),
        ("environment = 'lab'", PrepareConfig, ["'environment' is 'lab'", "'scanner' or 'out"]),
        ("[chains.a]\nband = [40, 1]", PrepareConfig, ["'chains.a': The band is [lower,"]),
        ("chains = {}", PrepareConfig, ["'chains'", "at least 1"]),
        ("[[targets]]\natlas = 'a.nii'", PrepareConfig, ["An atlas and a label go together"]),
        ("[[targets]]\nspheres = []", PrepareConfig, ["'targets.0.spheres' is []"]),
        ("[[targets]]\n[[targets]]", PrepareConfig, ["a name of its own, not motor, motor"]),
        ("[bold]\nhigh_pass = 0.008", PrepareConfig, ["high_pass", "20 or more"]),
        ("volumes = 10", SimulateConfig, ["x.toml: A run needs 40 s"]),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_its_key(
    tmp_path: Path, text: str, model: type[Config], words: list[str]
) -> None:
    said = refusal(tmp_path / "x.toml", text, model)
    assert [word for word in words if word not in said] == []


def test_an_absent_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read\. No such file"):
        load_config(tmp_path / "none.toml", RunConfig)


def test_a_folder_in_a_files_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read\. Is a directory"):
        load_config(tmp_path, RunConfig)


def test_broken_toml_is_told_with_its_line(tmp_path: Path) -> None:
    said = refusal_of_bytes(tmp_path / "x.toml", b"seed = 1\nmodel = [\n")
    assert "is not valid TOML" in said
    assert "line 3" in said or "end of document" in said


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    said = refusal_of_bytes(tmp_path / "x.toml", "upstream = 'Müller'".encode("latin-1"))
    assert "cannot be read. 'utf-8' codec" in said


def refusal_of_bytes(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path, TrainConfig)
    return str(caught.value)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("seed = 3", encoding="utf-8-sig")
    assert load_config(tmp_path / "x.toml", TrainConfig).seed == 3


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("# nothing\n")
    assert load_config(tmp_path / "x.toml", TrainConfig) == TrainConfig()


def test_a_config_cannot_be_changed() -> None:
    config = TrainConfig()
    for part, key in ((config, "seed"), (config.model, "length"), (config.fit, "epochs")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, key, 1)


def test_toml_is_what_the_standard_library_reads(tmp_path: Path) -> None:
    text = "seed = 2\n[model]\nname = 'eegnet'\nlength = 4\n[split]\ntest = 2\n"
    (tmp_path / "x.toml").write_text(text)
    read = load_config(tmp_path / "x.toml", TrainConfig)
    assert read == parse_config(tomllib.loads(text), TrainConfig, source="x")
    assert (read.model.name, read.model.length, read.split.test) == ("eegnet", 4.0, 2)
