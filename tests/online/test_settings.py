from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rtfeedback.config import load_config
from rtfeedback.errors import CheckpointError, ConfigError
from rtfeedback.models.volume import VolumeSpec
from rtfeedback.online.settings import RunConfig, RunOptions, run_flags
from tests.lab import checkpoint_spec
from tests.volume_lab import volume_spec


def flags(
    here: str | None = None, *, accept: bool = False, **checkpoint: Any
) -> tuple[str, ...]:
    config = RunConfig.model_validate({"session": {"environment": here}})
    options = RunOptions(stream="EEG", out=Path(), accept_domain_shift=accept)
    return run_flags(checkpoint_spec(**checkpoint), config, options)


def load(tmp_path: Path, text: str) -> RunConfig:
    (tmp_path / "run.toml").write_text(text)
    return load_config(tmp_path / "run.toml", RunConfig)


# ------------------------------------------------------------------ the environment


def test_an_environment_that_nobody_named_is_the_checkpoints_and_flagged() -> None:
    assert flags() == ("environment_assumed",)
    assert flags(accept=True) == ("environment_assumed",)


@pytest.mark.parametrize("where", ["scanner", "outside"])
def test_the_environment_of_the_training_takes_no_flag(where: str) -> None:
    assert flags(where, environment=where) == ()


def test_another_environment_is_refused_with_the_way_out() -> None:
    with pytest.raises(CheckpointError) as caught:
        flags("outside")
    told = str(caught.value)
    assert "'scanner'" in told
    assert "'outside'" in told
    assert "--accept-domain-shift" in told


def test_another_environment_that_was_accepted_is_flagged() -> None:
    assert flags("outside", accept=True) == ("domain_shift",)
    assert flags("scanner", accept=True, environment="outside") == ("domain_shift",)


def test_a_model_of_simulated_bold_is_flagged() -> None:
    training = checkpoint_spec().training.model_copy(update={"semi_synthetic": True})
    assert flags("scanner", training=training) == ("semi_synthetic",)
    assert flags(training=training) == ("environment_assumed", "semi_synthetic")


# ------------------------------------------------------------------ the config


def test_an_empty_config_is_a_whole_one(tmp_path: Path) -> None:
    assert load(tmp_path, "") == RunConfig()


HELD = {*checkpoint_spec().model_dump(by_alias=True), "channels", "reference", "rate"}


@pytest.mark.parametrize("key", sorted(HELD - {"volume"}))
def test_a_config_cannot_restate_what_the_checkpoint_holds(tmp_path: Path, key: str) -> None:
    for text in (f"{key} = 1", f"[{key}]", f"[session]\n{key} = 1", f"[stream]\n{key} = 1"):
        with pytest.raises(ConfigError, match=f"'(session.|stream.)?{key}'"):
            load(tmp_path, text)


@pytest.mark.parametrize("key", VolumeSpec.model_fields)
def test_a_config_cannot_restate_what_a_volume_is(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=f"'volume.{key}'"):
        load(tmp_path, f"[volume]\n{key} = 1")


def test_voxels_that_are_not_published_cannot_be_kept(tmp_path: Path) -> None:
    """A run that was to keep them would end with nothing kept, and nobody told."""
    with pytest.raises(ConfigError, match="'record' keeps volumes that are published"):
        load(tmp_path, "[volume]\nrecord = true\n")
    assert load(tmp_path, "[volume]\nrecord = true\npublish = true\n").volume.record


def test_volumes_of_a_model_of_regions_are_refused_with_the_way_out() -> None:
    config = RunConfig.model_validate({"volume": {"publish": True}})
    options = RunOptions(stream="EEG", out=Path())
    with pytest.raises(CheckpointError, match=r"'ridge' predicts regions only.+volume-lowrank"):
        run_flags(checkpoint_spec(), config, options)
    assert run_flags(volume_spec(), config, options) == ("environment_assumed",)


@pytest.mark.parametrize(
    "text",
    [
        'session.subject = "../../etc"',
        'session.run = "a/b"',
        'session.session = ""',
        'session.environment = "home"',
        "stream.wait = 0",
        "stream.gap = -1",
        "stream.stale = nan",
        "stream.stale = inf",
        "volume.every = 0",
    ],
)
def test_a_value_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=text.split(" ")[0]):
        load(tmp_path, text)


@pytest.mark.parametrize("option", ["hop", "tr"])
def test_nothing_is_answered_more_often_than_samples_come(option: str) -> None:
    spec, options = checkpoint_spec(), RunOptions("EEG", Path())
    least = 1 / spec.chain.sfreq
    run_flags(spec, RunConfig(), replace(options, **{option: least}))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=rf"--{option} .* shorter than a sample.* Lengthen"):
        run_flags(spec, RunConfig(), replace(options, **{option: 0.9 * least}))  # type: ignore[arg-type]
