"""Checkpoints for benches are ones that a run takes, and noise gives valid values."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import checkpoint, inference
from bench.checkpoint import MODELS, NOISES, labels_of, noise, write
from rtfeedback.artefacts import ArtefactRule
from rtfeedback.chain import Chain
from rtfeedback.channels import canonical, kind_of
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.errors import ConfigError
from rtfeedback.predictor import Predictor, plausible
from rtfeedback.ring import RingBuffer
from rtfeedback.signals import Float32, StreamInfo

SHORT = {"mean-power": 3.0, "ridge": 3.0, "tcn": 4.0, "eegnet": 3.0}  # s of a window
RATE, LABELS = 250.0, labels_of(8)


def made(out: Path, model: str, **other: object) -> CheckpointSpec:
    small = {"blocks": 2} if model == "tcn" else {}
    config = MODELS[model].model_validate({"length": SHORT[model], **small, **other})
    return write(out, config, labels=LABELS, rate=RATE)


def newest_window(predict: Predictor, samples: Float32, labels: tuple[str, ...]) -> Float32:
    """Return what a run would predict from, labels being the stream's."""
    n = len(labels)
    info = StreamInfo("EEG", RATE, labels, ("eeg",) * n, ("microvolts",) * n)
    chain, ring = Chain(predict.spec.chain, info), RingBuffer(*predict.shape)
    features, index = chain.push(samples)
    ring.push(features[index >= chain.warm_up])
    assert ring.full
    return ring.window().copy()


@pytest.mark.parametrize("model", MODELS)
def test_noise_of_either_kind_gives_valid_values(model: str, tmp_path: Path) -> None:
    made(tmp_path / "checkpoint", model)
    predict = Predictor.load(tmp_path / "checkpoint", "cpu")
    rule = ArtefactRule(predict.spec.chain, predict.spec.window)
    for exponent in NOISES.values():
        samples = noise(LABELS, RATE, exponent).samples
        window = newest_window(predict, samples, LABELS)
        assert rule.allows(window)
        prediction = predict(window)
        assert plausible(prediction)
        assert all(np.isfinite(roi.z or 0.0) for roi in prediction.values())


def test_mean_power_says_each_channels_mean_power(tmp_path: Path) -> None:
    spec = made(tmp_path / "checkpoint", "mean-power")
    assert spec.chain.rate == RATE
    predict = Predictor.load(tmp_path / "checkpoint", "cpu")
    samples = noise(LABELS, RATE, 1.0).samples
    said = predict(newest_window(predict, samples[:, ::-1], LABELS[::-1]))
    volts = 1e-6 * samples[-750:].astype(np.float64)
    power = np.mean(volts**2, axis=0)
    assert list(said) == list(LABELS)
    assert np.allclose([roi.raw or 0 for roi in said.values()], power, rtol=1e-5, atol=0)
    assert {target.unit for target in spec.targets} == {"V**2"}


def test_the_same_seed_gives_the_same_checkpoint(tmp_path: Path) -> None:
    made(tmp_path / "a", "tcn")
    made(tmp_path / "b", "tcn")
    hashes = [Predictor.load(tmp_path / name, "cpu").checkpoint.hash for name in "ab"]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("n", [1, 8, 64, 65, 128, 300])
def test_names_are_distinct_sites_in_their_one_spelling(n: int) -> None:
    names = labels_of(n)
    assert len(set(names)) == n
    assert all(canonical(name) == name and kind_of(name) == "eeg" for name in names)


def test_more_channels_than_the_system_has_take_labels() -> None:
    with pytest.raises(ConfigError, match=r"no 999 names.*--labels"):
        labels_of(999)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.checkpoint", *map(str, arguments)])
    checkpoint.main()


def test_the_command_prints_the_labels_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--labels", "Cz,E7,C3", "--rate", 512, "--window", 2.5, "--print-labels")
    call(monkeypatch, tmp_path / "out", *given)
    assert json.loads(capsys.readouterr().out) == ["Cz", "E7", "C3"]
    predict = Predictor.load(tmp_path / "out", "cpu")
    assert predict.shape == (3, 1280)
    assert predict.spec.chain.sfreq == 512


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (["--model", "tcn", "--window", 3.0], "too short for 'tcn'"),
        (["--window", 0], "'length' is 0"),
        (["--labels", "Cz,Cz"], "Cz: named twice"),
        (["--rate", 50, "--model", "eegnet"], "cannot be filtered"),
    ],
)
def test_what_cannot_be_is_refused_without_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[object], word: str
) -> None:
    with pytest.raises(SystemExit, match=word):
        call(monkeypatch, tmp_path / "out", "--channels", 4, *given)
    assert list(tmp_path.iterdir()) == []


def test_every_model_has_its_row_in_the_table_of_latencies() -> None:
    text = inference.report(1, ["cpu"], [(4, 250.0, 2.0)])
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(MODELS)
    assert [row.split()[1] for row in rows[2:]] == list(MODELS)
    assert "`python -m bench.inference --rounds 1`" in text
