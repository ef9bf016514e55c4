from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rtfeedback.chain import Chain, ChainSpec
from rtfeedback.chain.limits import ArtefactLimits
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.online.line import Line
from rtfeedback.online.plausibility import FIRST, LOCKED, MAGNITUDE, Plausibility
from rtfeedback.online.trclock import TRClock
from rtfeedback.online.volumes import CountedVolumes
from rtfeedback.signals import Chunk, Float32, Float64, Marker, StreamInfo
from tests.lab import CHANNELS, RATE, TR, checkpoint_spec, noise, stream_info

START = 5000.0


def limits(typical: float) -> ArtefactLimits:
    """Return limits that mask nothing, for an EEG of a typical amplitude in volts."""
    n = len(CHANNELS)
    return ArtefactLimits(
        amplitude=(1e9,) * n, step=(1e9,) * n, muscle=(1e9,) * n, flat=(0.0,) * n, field=1e9,
        typical=(typical,) * n, fitted_on=("a",),
    )  # fmt: skip


def spec_of(typical: float | None = None, locked: float | None = None) -> CheckpointSpec:
    spec = checkpoint_spec()
    chain = spec.chain.model_copy(
        update={"artefacts": limits(typical) if typical is not None else None}
    )
    training = spec.training.model_copy(update={"volume_locked": locked})
    return spec.model_copy(update={"chain": ChainSpec(**dict(chain)), "training": training})


def line_of(spec: CheckpointSpec, info: StreamInfo | None = None, **how: Any) -> Line:
    plausibility = Plausibility(spec, TR)
    chain = Chain(spec.chain, info or stream_info(), tap=plausibility.tap)
    how.setdefault("volumes", CountedVolumes(TR))
    return Line(chain, spec.window, plausibility=plausibility, hop=0.25, **how)


def feed(
    line: Line, samples: Float32, stamps: Float64 | None = None, size: int = 50
) -> list[str]:
    """Push EEG, and return the reasons of its windows."""
    if stamps is None:
        stamps = START + np.arange(len(samples)) / RATE
    told = []
    for first in range(0, len(samples), size):
        cut = slice(first, first + size)
        told += [w.reason for w in line.push(Chunk(samples[cut], stamps[cut], 0.0))]
    return told


def doubt_of(line: Line) -> str | None:
    assert line.plausibility
    return line.plausibility.doubt.reason if line.plausibility.doubt else None


# 20 uV of white noise in 5-40 Hz, re-referenced: some 10 uV
TYPICAL = 10e-6


def test_eeg_like_the_trainings_is_believed() -> None:
    line = line_of(spec_of(TYPICAL))
    assert feed(line, noise(30))[-20:] == ["ok"] * 20
    assert line.plausibility
    assert line.plausibility.magnitude == pytest.approx(1.0, abs=0.3)
    assert doubt_of(line) is None


@pytest.mark.parametrize("factor", [1e6, 1e3, 100.0, 1 / 100, 1e-3, 1e-6])
def test_another_unit_than_is_stated_is_never_valid(factor: float) -> None:
    line = line_of(spec_of(TYPICAL))
    told = feed(line, noise(20) * np.float32(factor))
    assert "ok" not in told
    assert told[-1] == "units"
    assert line.plausibility
    assert line.plausibility.doubt
    assert "amplitude" in line.plausibility.doubt.found


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_people_and_gels_differ_and_are_believed(factor: float) -> None:
    assert MAGNITUDE > 5
    line = line_of(spec_of(TYPICAL))
    assert feed(line, noise(20) * np.float32(factor))[-1] == "ok"


def test_the_unit_that_is_stated_counts() -> None:
    info = replace(stream_info(), units=("V",) * len(CHANNELS))
    line = line_of(spec_of(TYPICAL), info)
    assert feed(line, noise(20) * np.float32(1e-6))[-1] == "ok"


def test_a_rate_that_is_not_the_stated_one_is_not_valid_from_its_finding_on() -> None:
    line = line_of(spec_of())
    stamps = START + np.arange(round(20 * RATE)) / (1.02 * RATE)
    told = feed(line, noise(20), stamps)
    assert told[-1] == "rate"
    assert "ok" not in told


def gradient(seconds: float, tr: float = TR) -> Float32:
    """Return EEG with what the gradients of a scanner put into it, in microvolts."""
    shape = np.random.default_rng(1).normal(0, 2000, (round(tr * RATE), len(CHANNELS)))
    eeg = noise(seconds)
    artefact = np.resize(shape, eeg.shape)
    return np.asarray(eeg + artefact, np.float32)


def test_raw_eeg_from_a_running_scanner_is_not_valid_with_the_way_out() -> None:
    line = line_of(spec_of(locked=0.01))
    told = feed(line, gradient(30))
    assert told[-1] == "scanner_artefact"
    assert line.plausibility
    assert line.plausibility.doubt
    assert "corrected" in line.plausibility.doubt.do


def test_raw_eeg_is_believed_where_the_training_was_on_it() -> None:
    assert feed(line_of(spec_of(locked=LOCKED + 0.4)), gradient(30))[-1] == "ok"


def test_the_scanners_artefact_is_found_by_the_tr_that_the_markers_show() -> None:
    line = line_of(spec_of(locked=0.01), volumes=TRClock(TR))
    samples = gradient(40, tr=1.36)
    told = []
    for k in range(round(40 / 1.36)):
        line.mark(Marker(START + 1.36 * k, "R128"))
    told = feed(line, samples)
    assert told[-1] == "scanner_artefact"


def test_eeg_that_is_corrected_again_is_believed_again() -> None:
    line = line_of(spec_of(locked=0.01))
    samples = np.concatenate([gradient(20), noise(120)])
    told = feed(line, samples)
    assert told[-1] == "ok"
    assert doubt_of(line) is None


def test_what_is_believed_depends_on_no_chunk() -> None:
    samples = np.concatenate([noise(12), noise(20) * np.float32(100), noise(20)])
    told = [
        feed(line_of(spec_of(TYPICAL)), samples, size=size) for size in (7, 50, len(samples))
    ]
    assert told[0] == told[1] == told[2]
    assert {"ok", "units"} <= set(told[0])


def hung(kind: str, seconds: float, ok: float = 12.0) -> Float32:
    """Return EEG of a program that hangs after some seconds, and then goes on."""
    eeg = noise(ok + seconds + 20)
    first, last = round(ok * RATE), round((ok + seconds) * RATE)
    size = 1 if kind == "one value" else round(float(kind) * RATE)
    again = np.arange(last - first) % size
    eeg[first:last] = eeg[first - size + again]
    return eeg


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("kind", ["one value", "0.04", "0.24", "1.0", "1.9"])
def test_a_program_that_hangs_is_found_within_seconds(kind: str, limited: bool) -> None:
    line = line_of(spec_of(TYPICAL if limited else None))
    feed(line, noise(12))
    assert doubt_of(line) is None
    line = line_of(spec_of(TYPICAL if limited else None))
    feed(line, hung(kind, 5.0)[: round(17 * RATE)])
    assert doubt_of(line) == "artefact"
    assert line.plausibility
    assert line.plausibility.doubt
    words = "No channel changed" if kind == "one value" else f"{float(kind):g} s are sent again"
    assert words in line.plausibility.doubt.found


@pytest.mark.parametrize("kind", ["one value", "0.25"])
def test_no_window_that_holds_a_second_of_a_hang_is_valid_once_it_is_found(kind: str) -> None:
    told = feed(line_of(spec_of()), hung(kind, 5.0))
    found, last = told.index("artefact"), len(told) - told[::-1].index("artefact")
    assert set(told[found:last]) == {"artefact"}
    assert last - found >= 4 * 4  # hops of 1/4 s: the window of 2 s after it as well
    assert told[last:].count("ok") == len(told) - last > 40


def test_what_hangs_is_found_whatever_the_chunks() -> None:
    for kind in ("one value", "0.25"):
        eeg = hung(kind, 4.0)
        told = [feed(line_of(spec_of()), eeg, size=size) for size in (7, 50, len(eeg))]
        assert told[0] == told[1] == told[2]


@pytest.mark.parametrize("channel", range(len(CHANNELS)))
def test_no_buffer_is_sent_again_while_one_channel_goes_on(channel: int) -> None:
    eeg = hung("0.25", 5.0)
    eeg[:, channel] = noise(len(eeg) / RATE)[:, channel]
    line = line_of(spec_of())
    assert feed(line, eeg)[-1] == "ok"
    line = line_of(spec_of())
    feed(line, eeg[: round(17 * RATE)])
    assert doubt_of(line) is None


def test_most_channels_standing_still_is_no_eeg_and_one_is_an_electrode() -> None:
    eeg = noise(20)
    eeg[:, 0] = 7.0
    line = line_of(spec_of())
    feed(line, eeg)
    assert doubt_of(line) is None
    eeg[:, :3] = 7.0
    line = line_of(spec_of())
    feed(line, eeg)
    assert doubt_of(line) == "artefact"


def test_a_segment_is_believed_by_what_it_shows_itself() -> None:
    line = line_of(spec_of(TYPICAL))
    assert feed(line, noise(20))[-1] == "ok"
    stamps = START + 25 + np.arange(round(20 * RATE)) / RATE  # reconnected in another unit
    told = feed(line, noise(20) * np.float32(1e-2), stamps)
    assert "ok" not in told
    assert told[-1] == "units"


def test_another_unit_in_mid_stream_is_found_within_three_seconds() -> None:
    line = line_of(spec_of(TYPICAL))
    feed(line, noise(20))
    stamps = START + 20 + np.arange(round(FIRST * RATE)) / RATE
    feed(line, noise(FIRST) * np.float32(1e-2), stamps)
    assert doubt_of(line) == "units"
