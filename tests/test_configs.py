"""Every shipped TOML loads, says the defaults, and names every key there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from offline.prepare import PrepareConfig
from offline.train import TrainConfig
from offline.training.fit_config import FitConfig
from offline.training.pretrain import PretrainConfig
from rtfeedback.config import Config, load_config
from rtfeedback.models import (
    AnyModelConfig,
    CalhasConfig,
    ChannelTransformerConfig,
    CNNConfig,
    EEGNetConfig,
    FCConfig,
    MeanPowerConfig,
    PatchTransformerConfig,
    RidgeConfig,
    SiameseFCConfig,
    TCNConfig,
    VolumeLowRankConfig,
)
from rtfeedback.models.cnn import Convolution
from rtfeedback.online.settings import RunConfig

SMALL: dict[str, Any] = {"embedding": 32, "hidden": (128, 128, 32)}  # of a window, of voxels
CONFIGS = Path(__file__).parent.parent / "configs"
DEFAULTS: dict[str, Config] = {
    "prepare.toml": PrepareConfig(),
    "train-ridge.toml": TrainConfig(),
    "train-eegnet.toml": TrainConfig(model=EEGNetConfig()),
    "train-ridge-hrf.toml": TrainConfig(model=RidgeConfig(basis="hrf", length=20.0)),
    "train-ridge-group-lasso.toml": TrainConfig(
        model=RidgeConfig(basis="hrf", length=20.0, penalty="group-lasso")
    ),
    "train-eegnet-2s.toml": TrainConfig(
        model=EEGNetConfig(length=2.0, lead=4.0, kernel=0.512, dropout=0.5, head_max_norm=0.15)
    ),
    "train-eegnet-levels.toml": TrainConfig(model=EEGNetConfig(head="levels")),
    "train-eegnet-conditions.toml": TrainConfig(
        model=EEGNetConfig(head="conditions", length=2.0, kernel=0.512)
    ),
    "train-tcn.toml": TrainConfig(model=TCNConfig(), fit=FitConfig(learning_rate=5e-4)),
    "train-patch-transformer.toml": TrainConfig(
        model=PatchTransformerConfig(chain="tokens"), fit=FitConfig(learning_rate=3e-4)
    ),
    "train-volume-lowrank.toml": TrainConfig(
        model=VolumeLowRankConfig(), fit=FitConfig(learning_rate=5e-4)
    ),
    "train-fc.toml": TrainConfig(model=FCConfig(**SMALL), fit=FitConfig(learning_rate=1e-3)),
    "train-siamese-fc.toml": TrainConfig(
        model=SiameseFCConfig(**SMALL), fit=FitConfig(learning_rate=3e-3)
    ),
    "train-cnn.toml": TrainConfig(
        model=CNNConfig(
            **SMALL,
            dropout=0.2,
            refinements=2,
            refinement_maps=4,
            convolution=Convolution(filters=32),
        ),
        fit=FitConfig(learning_rate=1e-3),
    ),
    "train-channel-transformer.toml": TrainConfig(
        model=ChannelTransformerConfig(
            length=20.0,
            pool_to=62.5,
            embedding="convolutional",
            convolution=Convolution(filters=8, stride=0.032),
            layers=1,
            feedforward=128,
            dropout=0.1,
            norm_first=True,
        ),
        fit=FitConfig(learning_rate=3e-3),
    ),
    "train-calhas.toml": TrainConfig(
        model=CalhasConfig(length=20.0, tr=2.0, highest=40.0, latent=64),
        fit=FitConfig(batch=16, loss="mae", learning_rate=1e-3, flip=False),
    ),
    "pretrain.toml": PretrainConfig(),
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
    # tests/offline/test_recipes.py has the first, tests/offline/test_tune.py the others
    recipes = {*CONFIGS.glob("prepare-*.toml"), *CONFIGS.glob("tune-*.toml")}
    assert {path.name for path in set(CONFIGS.glob("*.toml")) - recipes} == set(DEFAULTS)


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_shipped_file_states_the_defaults(name: str) -> None:
    assert load_config(CONFIGS / name, type(DEFAULTS[name])) == DEFAULTS[name]


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_shipped_file_names_every_key(name: str) -> None:
    text = (CONFIGS / name).read_text()
    unused = {"fit", *keys(TrainConfig().fit)} if name.startswith("train-ridge") else set()
    for key in keys(DEFAULTS[name]) - unused:
        assert re.search(rf"\b{key}\b", text), f"{name} does not name {key}"


@pytest.mark.parametrize("model", get_args(AnyModelConfig))
def test_every_model_that_learns_has_a_recipe(model: type[AnyModelConfig]) -> None:
    has_one = f"train-{model().name}.toml" in DEFAULTS
    assert has_one is (model is not MeanPowerConfig)
