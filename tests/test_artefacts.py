"""The one rule by which a window is invalid for its artefacts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtfeedback.artefacts import ArtefactRule
from rtfeedback.chain import ChainSpec
from rtfeedback.chain.limits import ArtefactLimits
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.hrf import hrf
from rtfeedback.ring import RingBuffer
from rtfeedback.signals import Float32
from rtfeedback.windows import WindowSpec
from tests.chain.streams import spec_of

CHANNELS = ("C3", "Cz", "C4", "O1")
TOKENS = BandPowerConfig(bands=((8, 13), (13, 30)))
WINDOW = WindowSpec(length=15.0)


def spec_with(
    power: BandPowerConfig | None = None, *, fitted: bool = True, **recipe: Any
) -> ChainSpec:
    spec = spec_of(250.0, CHANNELS, band_power=power, artefacts=recipe)
    n: dict[str, Any] = dict.fromkeys(
        ("amplitude", "step", "muscle", "flat", "typical"), (1e-4,) * len(CHANNELS)
    )
    limits = ArtefactLimits(**n, field=1.0, fitted_on=("a",))
    return spec.model_copy(update={"artefacts": limits if fitted else None})


def window_of(spec: ChainSpec, window: WindowSpec = WINDOW) -> Float32:
    return np.zeros((spec.n_features, window.n_times(spec.rate)), dtype=np.float32)


def mask(x: Float32, spec: ChainSpec, channel: int, oldest: float, newest: float) -> Float32:
    """Mask a channel from one age to another, in seconds before the window's end."""
    ages = np.arange(x.shape[1] - 1, -1, -1) / spec.rate
    rows = slice(*(x.shape[0] // len(CHANNELS) * k for k in (channel, channel + 1)))
    x[rows, (ages < oldest) & (ages >= newest)] = np.nan
    return x


def test_a_share_is_what_the_response_weighs_at_its_age() -> None:
    spec = spec_with()
    rule = ArtefactRule(spec, WINDOW)
    shares = rule.shares(mask(window_of(spec), spec, 1, 7.0, 4.0))
    ages = np.arange(0, 15, 1 / spec.rate)
    weights = np.abs(hrf(ages))
    inside = weights[(ages < 7) & (ages >= 4)].sum() / weights.sum()
    np.testing.assert_allclose(shares, [0, inside, 0, 0], atol=1e-12)
    assert 0.4 < inside < 0.6


def test_a_lead_moves_the_weights_to_what_the_bold_will_answer() -> None:
    spec, window = spec_with(), WindowSpec(length=4.0, lead=5.0)
    for lead in (0.0, 5.0):
        window = WindowSpec(length=4.0, lead=lead)
        weights = ArtefactRule(spec, window).weights
        assert weights.sum() == pytest.approx(1)
        # Nothing is known of the last second without a lead, most of it with one.
        assert (weights[-1] > weights[0]) == (lead > 0)


def test_a_token_stands_for_the_middle_of_its_samples() -> None:
    spec = spec_with(TOKENS)
    ages = np.arange(59, -1, -1) / 4.0
    expected = np.abs(hrf(ages + 0.5))
    np.testing.assert_allclose(ArtefactRule(spec, WINDOW).weights, expected / expected.sum())


def test_where_no_response_is_to_come_every_moment_counts_alike() -> None:
    weights = ArtefactRule(spec_with(), WindowSpec(length=2.0, lead=60.0)).weights
    assert np.ptp(weights) == 0


@pytest.mark.parametrize("power", [None, TOKENS], ids=["samples", "tokens"])
def test_a_window_is_invalid_past_the_share_of_all_channels(
    power: BandPowerConfig | None,
) -> None:
    spec = spec_with(power, share=0.5, channel_share=1.0)
    rule, x = ArtefactRule(spec, WINDOW), window_of(spec)
    assert rule.allows(x)
    mask(mask(x, spec, 0, 20.0, 0.0), spec, 2, 20.0, 0.0)
    assert rule.shares(x).mean() == pytest.approx(0.5)
    assert rule.allows(x)
    mask(x, spec, 3, 5.5, 5.0)
    assert not rule.allows(x)


def test_a_window_is_invalid_past_the_share_of_one_channel() -> None:
    spec = spec_with(share=1.0, channel_share=0.4)
    rule, x = ArtefactRule(spec, WINDOW), window_of(spec)
    assert rule.allows(mask(x, spec, 1, 15.0, 7.0))
    mask(x, spec, 1, 7.0, 4.0)
    assert not rule.allows(x)
    assert rule.names(x) == ("Cz",)


def test_a_share_of_one_lets_a_dead_channel_pass() -> None:
    for power in (None, TOKENS):
        for length in (1.0, 3.3, 10.0, 15.0):
            spec, window = spec_with(power, channel_share=1.0), WindowSpec(length=length)
            x = mask(window_of(spec, window), spec, 2, 99.0, 0.0)
            assert ArtefactRule(spec, window).allows(x)


def test_a_dead_channel_makes_the_window_invalid_unless_the_recipe_lets_it_pass() -> None:
    spec, window = spec_with(TOKENS), WindowSpec(length=10.0)
    x = mask(window_of(spec, window), spec, 2, 99.0, 0.0)
    assert ArtefactRule(spec, window).names(x) == (spec.channels[2],)


def test_a_channel_that_the_training_did_without_is_spared() -> None:
    spec, window = spec_with(TOKENS), WindowSpec(length=10.0)
    assert spec.artefacts
    usual = tuple(0.3 if k == 2 else 0.1 for k in range(len(spec.channels)))
    spared = spec.model_copy(
        update={"artefacts": spec.artefacts.model_copy(update={"usual": usual})}
    )
    dead = [mask(window_of(spec, window), spec, k, 99.0, 0.0) for k in (1, 2)]
    assert [ArtefactRule(spared, window).allows(x) for x in dead] == [False, True]
    assert [ArtefactRule(spec, window).allows(x) for x in dead] == [False, False]


def test_old_artefacts_hardly_count() -> None:
    spec = spec_with()
    rule, x = ArtefactRule(spec, WINDOW), window_of(spec)
    for channel in range(4):
        mask(x, spec, channel, 1.0, 0.0)
        mask(x, spec, channel, 15.0, 9.0)
    assert rule.shares(x).max() < 0.25
    assert rule.allows(x)


def test_the_worst_channels_are_blamed_first() -> None:
    spec = spec_with(share=0.3, channel_share=0.9)
    rule, x = ArtefactRule(spec, WINDOW), window_of(spec)
    assert rule.names(x) == ()
    mask(mask(mask(x, spec, 0, 9.0, 4.0), spec, 3, 9.0, 3.0), spec, 1, 2.0, 1.0)
    assert not rule.allows(x)
    assert rule.names(x) == ("O1", "C3")


def test_a_chain_that_masks_nothing_allows_everything() -> None:
    for spec in (spec_with(fitted=False), spec_of(channels=CHANNELS, artefacts=False)):
        rule, x = ArtefactRule(spec, WINDOW), window_of(spec)
        assert not rule.judges
        assert rule.allows(np.full_like(x, np.nan))
        assert rule.names(np.full_like(x, np.nan)) == ()


def test_a_view_of_the_ring_and_a_copy_have_the_same_shares() -> None:
    spec = spec_with(TOKENS)
    rule, x = ArtefactRule(spec, WINDOW), window_of(spec)
    mask(x, spec, 0, 9.3, 4.1)
    np.testing.assert_array_equal(rule.shares(x), rule.shares(np.asfortranarray(x)))


# --- the newest window of a ring, told only what is new ---------------------------------


def masked_now_and_then(spec: ChainSpec, n: int, seed: int) -> Float32:
    """Return rows, (n, n_features), with artefacts of all lengths in one or all channels."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((n, len(CHANNELS), spec.n_bands), np.float32)
    for first in rng.integers(0, n, rng.integers(0, 1 + n // 20)):
        length = int(rng.choice([1, 2, 10, 100, n]))
        every = slice(None) if rng.random() < 0.3 else int(rng.integers(len(CHANNELS)))
        rows[first : first + length, every] = np.nan
    for first in rng.integers(0, n, rng.integers(0, 20)):
        rows[first : first + int(rng.choice([1, 30, 300]))] = 0
    return rows.reshape(n, -1)


@pytest.mark.parametrize("power", [None, TOKENS], ids=["samples", "tokens"])
@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 2, 7, 40, 900]), min_size=1, max_size=60),
    seed=st.integers(0, 999),
    length=st.sampled_from([0.5, 3.0, 15.0]),
    clear=st.integers(0, 60),
)
def test_following_a_ring_gives_the_shares_of_its_window_to_the_bit(
    power: BandPowerConfig | None, sizes: list[int], seed: int, length: float, clear: int
) -> None:
    spec, window = spec_with(power, share=0.3, channel_share=0.6), WindowSpec(length=length)
    rule, n_times = ArtefactRule(spec, window), window.n_times(spec.rate)
    ring = RingBuffer(spec.n_features, n_times)
    rows, followed = masked_now_and_then(spec, sum(sizes) + 1, seed), rule.follow()
    for i, size in enumerate(sizes):
        new, rows = rows[:size], rows[size:]
        ring.push(new)
        followed.push(new)
        if i == clear:
            ring.clear()
            followed.clear()
        if ring.full:
            np.testing.assert_array_equal(followed.shares(), rule.shares(ring.window()))
            assert followed.names() == rule.names(ring.window())
            assert followed.allows() == rule.allows(ring.window())


def test_rows_that_are_missing_to_a_window_count_as_eeg() -> None:
    spec = spec_with()
    rule, rows = ArtefactRule(spec, WINDOW), np.full((500, 4), np.nan, np.float32)
    followed = rule.follow()
    followed.push(rows)
    x = window_of(spec)
    x[:, -500:] = np.nan
    np.testing.assert_array_equal(followed.shares(), rule.shares(x))
    assert 0 < followed.shares().min() < 1
    followed.clear()
    assert not followed.shares().any()
    assert followed.allows()


def test_what_is_followed_is_forgotten_with_its_window() -> None:
    spec, window = spec_with(), WindowSpec(length=2.0)
    followed = ArtefactRule(spec, window).follow()
    rows = np.zeros((100, 4), np.float32)
    rows[::2] = np.nan  # as many changes as there can be
    kept = []
    for _ in range(50):
        followed.push(rows)
        kept.append(sum(x.nbytes for x in vars(followed).values() if isinstance(x, np.ndarray)))
    assert kept[10] == kept[-1]
    followed.push(np.zeros((600, 4), np.float32))
    assert followed.shares().tolist() == [0.0] * 4


def test_a_chain_that_masks_nothing_follows_nothing() -> None:
    spec = spec_with(fitted=False)
    followed = ArtefactRule(spec, WINDOW).follow()
    followed.push(np.full((5000, 4), np.nan, np.float32))
    assert followed.allows()
    assert followed.names() == ()


def test_a_window_that_is_all_masked_is_masked_by_one_and_no_more() -> None:
    for power in (None, TOKENS):
        for length in (0.3, 1.0, 3.3, 15.0, 60.0):
            spec, window = spec_with(power), WindowSpec(length=length)
            rule = ArtefactRule(spec, window)
            x = np.full((spec.n_features, window.n_times(spec.rate)), np.nan, np.float32)
            assert rule.shares(x).tolist() == [1.0] * 4
            assert rule.weights.sum() == pytest.approx(1, abs=1e-12)
