"""A chain that does nothing: samples pass at the stream's rate, in volts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from pydantic import ValidationError

from rtfeedback.chain import ChainConfig, ChainSpec
from rtfeedback.config import parse_config
from rtfeedback.errors import ConfigError
from rtfeedback.signals import Float64
from tests.chain.streams import NAMES, bits, chain_of, cut, eeg, spec_of, through

BARE = {
    "reference": "recorded",
    "band": False,
    "notch": (),
    "max_rate": 1e6,
    "artefacts": False,
}


def bare(sfreq: float = 1000.0, channels: Sequence[str] = NAMES, **other: object) -> ChainSpec:
    return spec_of(sfreq, tuple(channels), **{**BARE, **other})


@pytest.mark.parametrize("n_channels", [1, 8, 256])
@pytest.mark.parametrize("sfreq", [160.0, 512.0, 5000.0])
def test_every_sample_passes_at_once_in_volts(n_channels: int, sfreq: float) -> None:
    spec = bare(sfreq, [f"E{i}" for i in range(1, n_channels + 1)])
    chain, samples = chain_of(spec), eeg(300, n_channels)
    features, index = through(chain, [samples])
    assert chain.warm_up == 0
    assert (spec.rate, spec.n_features) == (sfreq, n_channels)
    assert index.tolist() == list(range(300))
    assert np.array_equal(bits(features), bits((samples * np.float64(1e-6)).astype(np.float32)))


@pytest.mark.parametrize("sizes", [[1] * 300, [7] * 40, [0, 32, 0, 100], [299]])
def test_chunks_change_no_bit(sizes: list[int]) -> None:
    samples = eeg(300)
    whole, at = through(chain_of(bare()), [samples])
    parts, there = through(chain_of(bare()), cut(samples, sizes))
    assert np.array_equal(bits(whole), bits(parts))
    assert np.array_equal(at, there)


def test_channels_still_go_by_name() -> None:
    samples = eeg(50)
    wanted = chain_of(bare(channels=NAMES))
    order = [3, 0, 7, 1, 2, 6, 5, 4]
    chain = chain_of(bare(channels=[NAMES[i] for i in order]))
    assert np.array_equal(chain.push(samples[:, order])[0], wanted.push(samples)[0][:, order])


def test_samples_in_columns_pass_as_those_in_rows() -> None:
    samples = eeg(50)
    in_columns = np.asfortranarray(samples)
    features, _ = chain_of(bare()).push(in_columns)
    assert features.flags.c_contiguous
    assert np.array_equal(features, chain_of(bare()).push(samples)[0])


def test_what_comes_out_is_no_view_of_what_went_in() -> None:
    samples = eeg(50)
    features, _ = chain_of(bare(), unit="V").push(samples)
    assert not np.shares_memory(features, samples)


def test_without_a_band_mains_may_still_be_notched() -> None:
    time = np.arange(4000)[:, None] / 1000
    mains = (20 * np.sin(2 * np.pi * 50 * time) + 100).astype(np.float32).repeat(8, axis=1)
    chain = chain_of(bare(notch=(50.0,)))
    volts, _ = chain.push(mains)
    assert chain.warm_up > 0
    settled = volts[chain.warm_up :].astype(np.float64)
    assert np.abs(settled - 100e-6).max() < 0.05 * 20e-6  # the offset stays, mains goes


def test_without_a_band_nothing_is_decimated_unfiltered() -> None:
    time = np.arange(4000)[:, None] / 1000
    fast = (20 * np.sin(2 * np.pi * 110 * time)).astype(np.float32).repeat(8, axis=1)
    chain = chain_of(bare(max_rate=125.0))
    volts, index = chain.push(fast)
    assert np.abs(volts[index >= chain.warm_up]).max() < 20e-9


def test_the_tap_gets_volts_too() -> None:
    heard: list[Float64] = []
    chain, samples = chain_of(bare()), eeg(20)
    chain._tap = heard.append
    chain.push(samples)
    assert np.array_equal(heard[0], samples * np.float64(1e-6))


@pytest.mark.parametrize("other", [{"artefacts": {}}, {"eog": ("Fp1",)}])
def test_what_takes_a_filtered_signal_takes_a_band(other: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"with band = false, set artefacts = false"):
        ChainConfig.model_validate({**BARE, **other})


def test_false_is_the_only_word_for_no_band() -> None:
    assert ChainConfig.model_validate(BARE).band is None
    with pytest.raises(ConfigError, match=r"'band' is True"):
        parse_config({**BARE, "band": True}, ChainConfig, source="a file")


def test_it_comes_back_from_json_as_it_was() -> None:
    spec = bare()
    assert ChainSpec.model_validate_json(spec.model_dump_json()) == spec
