"""Every shipped TOML loads, says the defaults, and names every key there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from offline.prepare import PrepareConfig
from offline.train import TrainConfig
from offline.training.fit_network import FitConfig
from rtfeedback.config import Config, load_config
from rtfeedback.models import AnyModelConfig, EEGNetConfig, MeanPowerConfig, TCNConfig
from rtfeedback.online.settings import RunConfig

CONFIGS = Path(__file__).parent.parent / "configs"
DEFAULTS: dict[str, Config] = {
    "prepare.toml": PrepareConfig(),
    "train-ridge.toml": TrainConfig(),
    "train-eegnet.toml": TrainConfig(model=EEGNetConfig()),
    "train-tcn.toml": TrainConfig(model=TCNConfig(), fit=FitConfig(learning_rate=5e-4)),
    "run.toml": RunConfig(),
}


def keys(config: BaseModel) -> set[str]:
    """Return every key of a config and of those inside it."""
    found = set(type(config).model_fields)
    for name in type(config).model_fields:
        value = getattr(config, name)
        inside = value.values() if isinstance(value, dict) else value
        for each in inside if isinstance(value, dict | tuple) else [value]:
            found |= keys(each) if isinstance(each, BaseModel) else set()
    return found


def test_every_shipped_file_is_known() -> None:
    recipes = set(CONFIGS.glob("prepare-*.toml"))  # tests/offline/test_recipes.py has these
    assert {path.name for path in set(CONFIGS.glob("*.toml")) - recipes} == set(DEFAULTS)


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_shipped_file_states_the_defaults(name: str) -> None:
    assert load_config(CONFIGS / name, type(DEFAULTS[name])) == DEFAULTS[name]


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_shipped_file_names_every_key(name: str) -> None:
    text = (CONFIGS / name).read_text()
    unused = {"fit", *keys(TrainConfig().fit)} if name == "train-ridge.toml" else set()
    for key in keys(DEFAULTS[name]) - unused:
        assert re.search(rf"\b{key}\b", text), f"{name} does not name {key}"


@pytest.mark.parametrize("model", get_args(AnyModelConfig))
def test_every_model_that_learns_has_a_recipe(model: type[AnyModelConfig]) -> None:
    has_one = f"train-{model().name}.toml" in DEFAULTS
    assert has_one is (model is not MeanPowerConfig)
