"""Chains and the streams that go through them, for the chain's tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtfeedback.chain import Chain, ChainConfig, ChainSpec
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.signals import Float32, Int64, StreamInfo

NAMES = ("Fp1", "Fp2", "F3", "F4", "C3", "Cz", "C4", "O1")
RATES = (160.0, 250.0, 256.0, 1000.0, 5000.0)
TOKENS = BandPowerConfig()

both_outputs = pytest.mark.parametrize("power", [None, TOKENS], ids=["samples", "tokens"])


def spec_of(
    sfreq: float = 250.0, channels: tuple[str, ...] = NAMES, **settings_: Any
) -> ChainSpec:
    return ChainSpec(config=ChainConfig(**settings_), channels=channels, sfreq=sfreq)


def info_of(
    sfreq: float = 250.0, channels: tuple[str, ...] = NAMES, unit: str = "uV"
) -> StreamInfo:
    n = len(channels)
    return StreamInfo("EEG", sfreq, channels, ("eeg",) * n, (unit,) * n)


def chain_of(spec: ChainSpec, unit: str = "uV") -> Chain:
    return Chain(spec, info_of(spec.sfreq, spec.channels, unit))


def eeg(n_times: int, n_channels: int = len(NAMES), seed: int = 0) -> Float32:
    """Return microvolts on electrode offsets of some millivolts that drift."""
    rng = np.random.default_rng(seed)
    drift = rng.normal(0, 0.5, (n_times, n_channels)).cumsum(axis=0)
    signal = rng.normal(0, 20, (n_times, n_channels)) + rng.normal(0, 5e3, n_channels)
    return np.asarray(signal + drift, dtype=np.float32)


def cut(samples: Float32, sizes: Iterable[int]) -> Iterator[Float32]:
    """Yield chunks of these sizes, then what is left, all at once."""
    first = 0
    for size in sizes:
        if first >= len(samples):
            return
        yield samples[first : first + size]
        first += size
    yield samples[first:]


def through(chain: Chain, chunks: Iterable[Float32]) -> tuple[Float32, Int64]:
    parts = [chain.push(chunk) for chunk in chunks]
    return np.concatenate([x for x, _ in parts]), np.concatenate([i for _, i in parts])


def bits(x: Float32) -> NDArray[np.int32]:
    assert x.dtype == np.float32
    return np.ascontiguousarray(x).view(np.int32)
