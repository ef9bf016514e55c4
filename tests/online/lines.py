"""Lines and the EEG that goes through them, for the line's tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from rtfeedback.chain import Chain, ChainConfig, ChainSpec
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.online.line import Line
from rtfeedback.online.trclock import TRClock
from rtfeedback.online.volumes import CountedVolumes
from rtfeedback.signals import Bool, Chunk, Float32, Float64, Marker, StreamInfo, Window
from rtfeedback.windows import WindowSpec

NAMES = ("C3", "Cz", "C4")
INFO = StreamInfo("EEG", 250.0, NAMES, ("eeg",) * 3, ("uV",) * 3)
SFREQ, TR, START = 250.0, 2.0, 98765.4321
SAMPLES = ChainSpec(config=ChainConfig(), channels=NAMES, sfreq=SFREQ)
TOKENS = ChainSpec(
    config=ChainConfig(band_power=BandPowerConfig(bands=((8, 13), (13, 30)))),
    channels=NAMES,
    sfreq=SFREQ,
)
SPEC = WindowSpec(length=4.0)

both_chains = pytest.mark.parametrize("chain", [SAMPLES, TOKENS], ids=["samples", "tokens"])
both_clocks = pytest.mark.parametrize("counted", [False, True], ids=["marked", "counted"])


def line_of(
    chain: ChainSpec = SAMPLES,
    spec: WindowSpec = SPEC,
    *,
    hop: float | None = None,
    counted: bool = False,
) -> Line:
    volumes = CountedVolumes(TR) if counted else TRClock(TR)
    return Line(Chain(chain, INFO), spec, volumes, hop=hop)


def eeg(n_times: int, seed: int = 0) -> Float32:
    rng = np.random.default_rng(seed)
    return rng.normal(rng.normal(0, 1e3, 3), 20, (n_times, 3)).astype(np.float32)


def stamped(n_times: int) -> Float64:
    return START + np.arange(n_times) / SFREQ


def lose(stamps: Float64, *gaps: tuple[float, float]) -> Bool:
    """Return which samples are left when those of some spans of seconds are lost."""
    seconds = stamps - START
    return np.asarray(np.all([(seconds < a) | (seconds >= b) for a, b in gaps], axis=0))


def push(
    line: Line, samples: Float32, stamps: Float64, sizes: Iterable[int] = ()
) -> Iterator[Window]:
    """Push chunks of these sizes and then the rest; yield windows with data of their own."""
    first = 0
    for size in (*sizes, len(samples)):
        chunk = Chunk(samples[first : first + size], stamps[first : first + size], first)
        for window in line.push(chunk):
            yield replace(window, data=window.data.copy())
        first += size


def mark(line: Line, onsets: Iterable[float]) -> None:
    for onset in onsets:
        line.mark(Marker(onset, "R128"))


def onsets(n: int, phase: float = 0.0) -> list[float]:
    return [START + phase + k * TR for k in range(n)]


def scanned(windows: Iterable[Window]) -> list[Window]:
    """Return the windows but for those that say that the scanner has stopped."""
    return [window for window in windows if window.reason != "no_volume"]


def facts(windows: Iterable[Window]) -> list[tuple[object, ...]]:
    """Return all that windows say but when they were received."""
    return [
        (
            *(w.volume, w.valid, w.reason, w.target_time, w.due_time, w.lsl_time),
            *(w.segment, w.sample, w.data.tobytes() if w.valid else b""),
        )
        for w in windows
    ]


def seconds(times: Iterable[float]) -> list[float]:
    return [round(time - START, 6) for time in times]


def desk_window(chain: ChainSpec, segment: Float32, end: int, n_times: int) -> Float32 | None:
    """Return what the desk makes of a segment's samples up to one, None if not settled."""
    made = Chain(chain, INFO)
    features, index = made.push(segment[: end + 1])
    kept = features[index >= made.warm_up]
    assert index[-1] == end
    return kept[-n_times:].T if len(kept) >= n_times else None
