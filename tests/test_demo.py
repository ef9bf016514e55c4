from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offline.demo import Outcome, outcome
from offline.rehearsal import Rehearsal

VOLUMES = list(range(4, 30))  # the first ones have no window
N_SAMPLES = 7500


def courses() -> tuple[list[float], list[float]]:
    z = np.random.default_rng(1).normal(size=len(VOLUMES))
    return (0.3 * z + 0.1).tolist(), z.tolist()


def report() -> dict[str, Any]:
    raw, z = courses()
    run: dict[str, Any] = {
        "volumes": VOLUMES,
        "predicted": raw,
        "z": z,
        "measured": raw,
        "r": 1.0,
    }
    run["artefacts"] = []
    return {"model": "ridge", "target": "motor", "runs": [{}, run]}


def message(volume: int | None, pair: tuple[float, float] | None) -> dict[str, Any]:
    raw, z = pair or (None, None)
    return {
        "volume": volume,
        "valid": pair is not None,
        "rois": {"motor": {"raw": raw, "z": z, "sd": None}},
        "age_ms": 2.0,
        "publish_time": 100.0,
        "receive_time": 100.0005,
    }


def rehearsal(n_volumes: int = 30) -> Rehearsal:
    pairs = dict(zip(VOLUMES, zip(*courses(), strict=True), strict=True))
    feedback = [message(volume, pairs.get(volume)) for volume in range(n_volumes)]
    feedback += [message(None, (0.0, 0.0)), message(None, None)]
    return Rehearsal(feedback, received=N_SAMPLES, lost=0, replayed=len(feedback))


def judge(whole: Rehearsal | None = None, live: Rehearsal | None = None) -> Outcome:
    return outcome(report(), whole or rehearsal(), live or rehearsal(12), N_SAMPLES)


def changed(one: Rehearsal, volume: int, *, roi: str, steps: int = 1) -> Rehearsal:
    """Return a rehearsal in which one number went to a neighbouring one."""
    feedback = json.loads(json.dumps(one.feedback))
    numbers = feedback[volume]["rois"]["motor"]
    for _ in range(steps):
        numbers[roi] = float(np.nextafter(numbers[roi], np.inf))
    return replace(one, feedback=feedback, replayed=len(feedback))


def without(one: Rehearsal, volume: int) -> Rehearsal:
    feedback = [m for m in one.feedback if m["volume"] != volume]
    return replace(one, feedback=feedback, replayed=len(feedback))


def test_a_demo_whose_values_are_all_identical_passes() -> None:
    found = judge()
    assert found.passed
    assert (found.identical, found.lost) == (found.compared, 0)
    assert found.compared == 30 + 12
    assert found.latency_p50 == pytest.approx(2.5)
    assert found.r_online == pytest.approx(1.0)


@pytest.mark.parametrize("roi", ["raw", "z"])
def test_one_bit_in_one_value_fails_the_demo(roi: str) -> None:
    for found in (
        judge(whole=changed(rehearsal(), 17, roi=roi)),
        judge(live=changed(rehearsal(12), 7, roi=roi)),
    ):
        assert not found.passed
        assert found.identical == found.compared - 1


def test_a_missing_volume_fails_the_demo() -> None:
    for volume in (VOLUMES[0], 17, VOLUMES[-1]):
        assert not judge(whole=without(rehearsal(), volume)).passed
    assert not judge(live=without(rehearsal(12), 7)).passed


def test_a_value_that_is_invalid_on_one_side_only_fails_the_demo() -> None:
    whole = rehearsal()
    whole.feedback[17] = message(17, None)
    assert not judge(whole=whole).passed
    whole = rehearsal()
    whole.feedback[1] = message(1, (0.1, 0.2))
    assert not judge(whole=whole).passed


@pytest.mark.parametrize(
    "whole",
    [
        replace(rehearsal(), received=N_SAMPLES - 1),
        replace(rehearsal(), received=N_SAMPLES + 1),
        replace(rehearsal(), lost=1),
    ],
    ids=["not received", "received twice", "known to be missing"],
)
def test_a_lost_sample_fails_the_demo(whole: Rehearsal) -> None:
    assert not judge(whole=whole).passed
    assert judge(whole=whole).lost == 1


def test_a_sample_lost_at_speed_1_fails_the_demo() -> None:
    assert not judge(live=replace(rehearsal(12), lost=1)).passed


def test_a_message_that_is_another_in_the_replay_fails_the_demo() -> None:
    whole, live = rehearsal(), rehearsal(12)
    assert not judge(whole=replace(whole, replayed=whole.replayed - 1)).passed
    assert not judge(live=replace(live, replayed=live.replayed - 1)).passed


def test_a_demo_that_streamed_nothing_fails() -> None:
    assert not judge(whole=Rehearsal([], 0, 0, 0)).passed
    assert not judge(live=Rehearsal([], 0, 0, 0)).passed


@pytest.mark.slow
def test_the_quick_demo_passes_in_one_go(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "rtfeedback", "demo", "--quick", "--out", str(out)]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for heading in ("values identical", "latency p50 ms", "samples lost", "ridge"):
        assert heading in done.stdout
    assert "Every volume's online value is identical to the offline one" in done.stdout
    content = json.loads((out / "demo.json").read_text())
    (model,) = content["models"]
    assert model["passed"] is True
    assert model["lost"] == 0
    assert model["identical"] == model["compared"] > 20
    assert model["replayed"] == model["published"] > 20
