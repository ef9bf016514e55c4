from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from rtfeedback.checkpoint import CheckpointSpec, save_checkpoint
from rtfeedback.models import RidgeConfig

COMMANDS = [
    "demo",
    "simulate",
    "fetch",
    "prepare",
    "train",
    "pretrain",
    "tune",
    "evaluate",
    "play",
    "run",
    "doctor",
    "listen",
]
Run = Callable[..., tuple[int, str, list[str]]]


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


# -------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(rtfeedback: Run, command: str) -> None:
    code, out, said = rtfeedback(command, "--help")
    assert (code, said) == (0, [])
    assert re.match(rf"Usage: .+ {command} ", out)


def test_help_lists_every_command_and_says_what_this_is_not(rtfeedback: Run) -> None:
    code, out, _ = rtfeedback("--help")
    assert code == 0
    assert [command for command in COMMANDS if f"\n  {command} " not in out] == []
    assert "Research use only" in out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['rtfeedback', '--help']\n"
        "from rtfeedback.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'mne', 'pydantic', 'pylsl', 'zmq'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode().splitlines()[-1] == "HEAVY []"


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "rtfeedback", "--help"]
    assert b"Usage: " in subprocess.run(command, capture_output=True, check=True).stdout


# ------------------------------------------------------------------ a malformed command line


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("", "Commands:"),
        ("fly", "No such command 'fly'"),
        ("simulate", "Missing argument"),
        ("simulate out --foo", "No such option: --foo"),
        ("simulate out --subjects two", "Input should be a valid integer"),
        ("simulate out --subjects 0", "'subjects' is 0"),
        ("simulate out --subjects 100", "'subjects' is 100"),
        ("simulate out --runs 0", "'runs' is 0"),
        ("simulate out --volumes 3", "'volumes' is 3"),
        ("simulate out --volumes 15", "A run needs 40 s"),
        ("simulate out --tr 0", "'tr' is 0.0"),
        ("simulate out --tr nan", "'tr' is nan"),
        ("simulate out --coupling 2", "'coupling' is 2.0"),
        ("simulate out --channels 65", "'channels' is 65"),
        ("simulate out --rate 1", "'rate' is 1.0"),
        ("simulate out --snr 0", "'snr' is 0.0"),
        ("simulate out --seed -1", "'seed' is -1"),
        ("demo --seed -1", "--seed"),
        ("prepare", "Name a BIDS dataset"),
        ("prepare a b c", "unexpected extra argument"),
        ("train --config", "requires an argument"),
        ("evaluate a", "Missing argument"),
        ("play", "Missing argument"),
        ("play a.vhdr", "Missing option '--stream'"),
        ("play a.vhdr --stream x --speed 0", "--speed"),
        ("play a.vhdr --stream x --speed -1", "--speed"),
        ("play a.vhdr --stream x --speed inf", "--speed"),
        ("play a.vhdr --stream x --speed fast", "--speed"),
        ("play a.vhdr --stream x --chunk 0", "--chunk"),
        ("run", "--stream names the EEG stream"),
        ("run --stream x --tr 2 --markers m", "--markers and --tr exclude each other"),
        ("run --stream x --tr 0", "--tr"),
        ("run --stream x --hop -1", "--hop"),
        ("run --stream x --hop nan", "--hop"),
        ("run --stream x --duration 0", "--duration"),
        ("run --stream x --device tpu", "--device is auto, cpu or cuda"),
        ("listen --count 0", "--count"),
        ("listen a b", "unexpected extra argument"),
    ],
)
def test_a_malformed_line_exits_2_and_leaves_nothing(
    rtfeedback: Run, tmp_path: Path, line: str, word: str
) -> None:
    code, _, said = rtfeedback(*line.split())
    assert code == 2
    assert word in "\n".join(said)
    assert files(tmp_path) == []


# -------------------------------------------------------------------------- what is refused


def fill(root: Path) -> list[str]:
    """Lay out what a user may point at by mistake; return it all."""
    (root / "empty").mkdir()
    (root / "full").mkdir()
    (root / "full" / "precious").write_text("data")
    (root / "file").write_text("data")
    (root / "zero.vhdr").write_bytes(b"")
    (root / "text.vhdr").write_text("/annex/objects/MD5E-s11812--a2fa.vhdr\n")
    (root / "text.edf").write_text("no EDF")
    (root / "model.pt").write_bytes(pickle.dumps({"state_dict": {}}))
    (root / "typo.toml").write_text("sede = 1\nchanels = []\n[session]\nsubjct = '01'\n")
    (root / "broken.toml").write_text("seed = \n")
    (root / "latin.toml").write_bytes(b"upstream = '\xfc'")
    return files(root)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("prepare none", ["none is not a BIDS dataset", "No such folder"]),
        ("prepare empty", ["empty is not a BIDS dataset", "dataset_description.json"]),
        ("prepare file", ["file is not a BIDS dataset"]),
        ("prepare empty out --config none.toml", ["none.toml cannot be read. No such file"]),
        ("prepare empty out --config empty", ["empty cannot be read. Is a directory"]),
        ("prepare empty out --config broken.toml", ["broken.toml is not valid TOML", "line 1"]),
        ("prepare empty out --config latin.toml", ["latin.toml cannot be read. 'utf-8'"]),
        (
            "prepare empty out --config typo.toml",
            ["typo.toml: 'chanels' (value []) is not a key. Did you mean 'channels'?"],
        ),
        ("train", ["nothing below ./prepared", "rtfeedback prepare BIDS"]),
        ("train none", ["none is no prepared store", "No such file"]),
        ("train file", ["file is no prepared store"]),
        ("train empty", ["empty is no prepared store"]),
        (
            "train empty --config typo.toml",
            ["'sede' (value 1) is not a key. Did you mean 'seed'? Allowed here: ahead, fit"],
        ),
        ("evaluate none empty", ["none is no checkpoint. No checkpoint.json"]),
        ("evaluate model.pt empty", ["model.pt is no checkpoint"]),
        ("evaluate empty empty", ["empty is no checkpoint"]),
        ("play none.vhdr --stream x", ["none.vhdr does not exist"]),
        ("play zero.vhdr --stream x", ["zero.vhdr is empty. 0 bytes"]),
        ("play text.vhdr --stream x", ["text.vhdr is not a BrainVision header"]),
        ("play text.edf --stream x", ["text.edf"]),
        ("play empty --stream x", ["empty"]),
        ("play file --stream x", ["file cannot be read as an EEG recording"]),
        ("run --stream x", ["nothing below ./checkpoints", "rtfeedback train"]),
        ("run --stream x --model none", ["none is no checkpoint"]),
        ("run --stream x --model model.pt", ["model.pt is no checkpoint"]),
        (
            "run --stream x --model none --config typo.toml",
            ["'session.subjct' (value '01') is not a key. Did you mean 'subject'?"],
        ),
        ("listen nowhere", ["'nowhere' is no endpoint to listen to", "tcp://127.0.0.1"]),
        ("simulate full", ["full is there already"]),
        ("simulate file", ["file is there already"]),
        ("simulate file/out", ["file/out cannot be written"]),
        ("simulate new/out --eeg none.edf", ["none.edf does not exist"]),
        ("demo --out full", ["full is there already"]),
        ("demo --out file", ["file"]),
        ("demo --out file/out --quick", ["file/out"]),
    ],
)
def test_bad_input_exits_1_with_one_paragraph_and_leaves_nothing(
    rtfeedback: Run, tmp_path: Path, line: str, words: list[str]
) -> None:
    before = fill(tmp_path)
    code, out, said = rtfeedback(*line.split())
    assert (code, len(said)) == (1, 1)
    assert said[0].endswith((".", "!", "?"))
    assert [word for word in words if word not in said[0]] == []
    assert [each for each in out.splitlines() if each.strip()] == [] or line.startswith("demo")
    assert files(tmp_path) == before
    assert (tmp_path / "full" / "precious").read_text() == "data"


Untrained = Callable[..., tuple[CheckpointSpec, nn.Module]]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_refused_where_there_is_none(
    rtfeedback: Run, untrained: Untrained, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "checkpoints" / "a", *untrained(RidgeConfig()))
    before = files(tmp_path)
    code, _, said = rtfeedback("run", "--stream", "x", "--device", "cuda")
    assert (code, len(said)) == (1, 2)
    assert "no CUDA device" in said[1]
    assert files(tmp_path) == before


def test_the_newest_is_taken_and_named(
    rtfeedback: Run, untrained: Untrained, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints"
    for age, name in enumerate(("new", "older", ".half-written")):
        save_checkpoint(folder / name, *untrained(RidgeConfig()))
        stamp = 1e9 - 100.0 * age if name[0] != "." else 2e9
        os.utime(folder / name / "checkpoint.json", (stamp, stamp))
    (folder / "new" / "weights.safetensors").write_bytes(b"broken, so that it goes no further")
    code, _, said = rtfeedback("run", "--stream", "x")
    assert (code, len(said)) == (1, 2)
    assert said[0] == "taking the newest: checkpoints/new"
    assert "The weights of checkpoints/new do not belong" in said[1]
