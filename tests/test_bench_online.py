from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from bench.online import floor
from bench.online.bars import verdicts
from bench.online.contenders import FLOOR, OURS
from bench.online.job import Float32, Float64, Job, mean_power, missing
from bench.online.processes import cpu_seconds, tree
from bench.online.report import report
from bench.online.rounds import Arithmetic, ShapeResults
from bench.online.sender import SPEED, Pace
from bench.online.shapes import SHAPES, Shape
from bench.online.trial import Measured, run_trial
from rtfeedback.online.lsl import EEGOutlet
from rtfeedback.signals import StreamInfo

_PYTHON = (sys.executable, "-P", "-m")
WAIT = 20.0  # s that anything may take before a test fails
RATE, START = 250.0, 5000.0
NAMES = ("C3", "Cz", "C4")
INFO = StreamInfo("", RATE, NAMES, ("eeg",) * 3, ("microvolts",) * 3)


# ------------------------------------------------------------------ the floor


def heard_from_the_floor(
    port: int, stamps: Float64
) -> Iterator[tuple[dict[str, Any], Float32]]:
    """Yield the floor's messages while samples with these stamps come, and all samples."""
    job = Job(f"floor-{port}", f"tcp://127.0.0.1:{port}", RATE, 5, 0.4, 0.1)
    samples = np.random.default_rng(0).normal(0, 20, (len(stamps), 3)).astype(np.float32)
    outlet = EEGOutlet(INFO, job.stream)
    thread = threading.Thread(target=floor.run, args=(job,))
    thread.start()
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RECONNECT_IVL, 10)
        socket.subscribe("feedback")
        socket.connect(job.publish)
        assert outlet.wait_for_consumers(WAIT)
        for first in range(0, len(stamps), job.n_hop):
            block = slice(first, first + job.n_hop)
            outlet.push(samples[block], stamps[block])
            while socket.poll(10):
                yield json.loads(socket.recv_multipart()[1]), samples
    outlet.close()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_the_floor_publishes_the_power_of_the_window_that_ends_at_its_stamp(
    free_port: int,
) -> None:
    stamps = START + np.arange(round(10 * RATE)) / RATE
    heard = 0
    for message, samples in heard_from_the_floor(free_port, stamps):
        end = round((message["lsl_time"] - START) * RATE) + 1
        window = samples[end - 100 : end].astype(np.float64)
        assert message["powers"] == pytest.approx((window**2).mean(0), rel=1e-5)
        assert end % 25 == 0
        assert message["lost"] == 0
        heard += 1
    assert heard > 10


def test_the_floor_counts_what_is_missing(free_port: int) -> None:
    index = np.arange(round(10 * RATE))
    stamps = START + (index + 7 * (index >= 1000) + 2 * (index >= 1510)) / RATE
    lost = {
        math.floor((message["lsl_time"] - START) * RATE + 0.5): message["lost"]
        for message, _ in heard_from_the_floor(free_port, stamps)
    }
    assert lost[max(lost)] == 9
    assert all(n == (0 if at < 1000 else 7 if at < 1517 else 9) for at, n in lost.items())


@pytest.mark.parametrize("size", [1, 7, 25])
def test_the_floors_ring_holds_the_newest_samples(size: int) -> None:
    samples = np.random.default_rng(1).normal(size=(1000, 3)).astype(np.float32)
    ring = floor.SlidingRing(3, 40)
    for end in range(size, len(samples) + 1, size):
        window = ring.push(samples[end - size : end])
        assert window.flags.c_contiguous
        if end >= 40:
            np.testing.assert_array_equal(window, samples[end - 40 : end].T)


# ------------------------------------------------------------------ what all share


def test_a_job_comes_through_the_command_line() -> None:
    job = Job("EEG 1", "tcp://127.0.0.1:5556", 1000.0, 8, 20.0, 0.25)
    assert Job.parse(job.arguments()) == job


def test_mean_power_is_the_same_in_any_memory() -> None:
    window = np.random.default_rng(2).normal(size=(500, 3)).astype(np.float32)
    expected = (window.astype(np.float64) ** 2).mean(0)
    for each in (window.T, np.ascontiguousarray(window.T)):
        np.testing.assert_allclose(mean_power(each), expected, rtol=1e-5)


def test_samples_are_missing_between_stamps_and_before_them() -> None:
    stamps = np.array([1.0, 1.01, 1.04, 1.0501])
    assert missing(stamps, None, 100.0) == 2
    assert missing(stamps, 0.99, 100.0) == 2
    assert missing(stamps, 0.95, 100.0) == 6


def test_live_samples_are_pushed_when_they_are_complete_and_the_fill_sooner() -> None:
    pace = Pace(rate=100.0, n_fill=500, start=START)
    stamps = pace.stamps(0, 1000)
    np.testing.assert_allclose(np.diff(stamps), 0.01)
    assert pace.due(0) == pytest.approx(START)
    assert pace.due(500) == pytest.approx(pace.live)
    assert pace.live == pytest.approx(START + 5 / SPEED)
    assert pace.due(750) == pytest.approx(stamps[749] + 0.01)


def test_the_cpu_of_a_process_is_counted() -> None:
    before = cpu_seconds(os.getpid())
    began = time.process_time()
    while time.process_time() < began + 0.02:
        pass
    assert cpu_seconds(os.getpid()) >= before + 0.02
    assert os.getpid() in tree(os.getppid())


# ------------------------------------------------------------------ a trial, and its verdict


def test_a_trial_of_the_floor_loses_and_misses_nothing(tmp_path: Path) -> None:
    shape = Shape("tiny", 3, RATE, 5, 0.4, 0.1)

    def command(stream: str, endpoint: str, folder: Path) -> list[str]:
        job = Job(stream, endpoint, shape.rate, shape.chunk, shape.window, shape.hop)
        return [*_PYTHON, "bench.online.floor", *job.arguments()]

    measured = run_trial(command, shape, NAMES, 0.5, tmp_path / "trial")
    assert len(measured.latency) >= 2
    assert (measured.latency > 0).all()
    assert (measured.functions <= measured.latency).all()
    assert measured.lost == measured.invalid == 0
    assert 0 < measured.functions_cpu < measured.cpu


def test_a_contender_that_ends_is_an_error_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3: (?s:.*)no such thing"):
        run_trial(
            lambda *_: [_PYTHON[0], "-c", "import sys; sys.stderr.write('no such thing');"
                        "sys.exit(3)"],
            SHAPES["fast"], NAMES, 0.5, tmp_path / "trial",
        )  # fmt: skip


def measured(latency: float, cpu: float, **changes: Any) -> Measured:
    one = Measured(
        latency=np.full(50, latency), functions=np.full(50, 0.001), functions_cpu=0.01,
        cpu=cpu, other=0.1, peak=40.0, lost=0, missed=0, invalid=0,
    )  # fmt: skip
    return replace(one, **changes)


def results(ours: Sequence[Measured], **others: Sequence[Measured]) -> ShapeResults:
    by_name = {FLOOR: [measured(0.003, 0.02)] * 3, OURS: list(ours)}
    rivals = {name.replace("_", "-"): list(each) for name, each in others.items()}
    arithmetic = [[Arithmetic(100, latency=0.002, cpu=0.02)]] * 3
    return ShapeResults(SHAPES["fast"], {**by_name, **rivals}, arithmetic)


def failed(*each: ShapeResults) -> list[str]:
    return [verdict.said for verdict in verdicts(each) if not verdict.met]


# The floor without its function: 2 ms, 0.01 s/s. Allowed: 1.3 x 2 + 2 ms, 1.5 x 0.01 + 0.02.
def test_what_is_within_the_bars_passes() -> None:
    ours = [measured(0.0045, 0.034)] * 3
    assert not failed(results(ours, mne_lsl=[measured(0.005, 0.04)] * 3))


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (measured(0.0047, 0.034), "p50 4.70 ms is 1.02 of what is allowed"),
        (measured(0.0045, 0.036), "CPU 0.0360 s/s is 1.03 of what is allowed"),
        (measured(0.0045, 0.034, lost=1), "3 samples lost"),
        (measured(0.0045, 0.034, missed=1), "3 values missed"),
        (measured(0.0045, 0.034, invalid=1), "3 invalid"),
        (
            replace(measured(0.0045, 0.034), latency=np.array([0.0045] * 20 + [0.1])),
            "p99 100.00 ms, under 22.00 ms",
        ),
    ],
)
def test_what_is_not_fails(ours: Measured, said: str) -> None:
    assert [said in each for each in failed(results([ours] * 3))] == [True]


def test_a_rival_that_is_ahead_in_one_round_fails_it() -> None:
    ours = [measured(0.0045, 0.034)] * 3
    rival = [measured(0.005, 0.04), measured(0.005, 0.033), measured(0.005, 0.04)]
    assert ["ahead of mne-lsl" in each for each in failed(results(ours, mne_lsl=rival))] == [
        True
    ]


def test_single_samples_may_cost_twice_as_much() -> None:
    fast = results([measured(0.0045, 0.02)] * 3)
    for cpu, n in ((0.0395, 0), (0.041, 1)):
        single = replace(results([measured(0.0045, cpu)] * 3), shape=SHAPES["single"])
        said = [each for each in failed(fast, single) if "chunks of 1" in each]
        assert len(said) == n


def test_the_report_has_a_row_for_each_contender() -> None:
    nothing: dict[str, Any] = {"latency": np.empty(0), "functions": np.empty(0)}
    late = replace(measured(0.0, 0.5, missed=50), **nothing)
    text = report([results([measured(0.0045, 0.034)] * 3, neuxus=[late] * 3)], "the command")
    for words in ("`the command`", "| floor ", "| rtfeedback ", "- pass"):
        assert words in text
    (row,) = (line for line in text.splitlines() if line.startswith("| neuxus "))
    assert [cell.strip() for cell in row.split("|")][9:14] == ["40", "0", "150", "0", "0"]
