"""The one rule by which a window is invalid for its artefacts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtfeedback.artefacts import ArtefactRule
from rtfeedback.chain import ChainSpec
from rtfeedback.chain.limits import ArtefactLimits
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.hrf import hrf
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
