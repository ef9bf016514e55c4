"""What is fitted: limits that artefacts in the data do not move, and what the eyes leak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from offline.eeg.fit_artefacts import fit_artefacts
from offline.eeg.recordings import Recording
from offline.injection import inject
from rtfeedback.chain import Chain, ChainSpec
from rtfeedback.chain.limits import ArtefactLimits
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float64, StreamInfo
from tests.chain.streams import spec_of

CHANNELS = ("Fz", "Cz", "Pz", "O1")
LEAKS = np.array([0.4, 0.15, 0.05, 0.0])
INFO = StreamInfo(
    "EEG", 250.0, (*CHANNELS, "VEOG", "Fp1"), ("eeg",) * 4 + ("eog", "eeg"), ("uV",) * 6
)


def recording(
    seed: int = 0, *, seconds: float = 60.0, eyes: float = 0.0, loud: float = 1.0
) -> Recording:
    """Return noise in which channel k has k + 1 times 5 uV, and blinks every 3 s."""
    rng = np.random.default_rng(seed)
    n = round(seconds * 250)
    brain = loud * rng.normal(0, 5, (n, 4)) * [1, 2, 3, 4]
    times = np.arange(n) / 250
    blinks = eyes * np.exp(-0.5 * ((times % 3 - 1.5) / 0.07) ** 2)
    own = rng.normal(0, 4, (n, 2))
    # Fp1 sees the brain under Fz as well: what it shares with it is not the eyes'.
    columns = [*(brain + blinks[:, None] * LEAKS).T, blinks, blinks + 0.7 * brain[:, 0]]
    x = np.stack(columns, axis=1)
    x[:, 4:] += own
    return Recording(INFO, x.astype(np.float32), ())


def runs(*recordings: Recording) -> dict[str, Callable[[], Recording]]:
    return {f"run-{i}": (lambda each=each: each) for i, each in enumerate(recordings)}  # type: ignore[misc]


def unfitted(**recipe: Any) -> ChainSpec:
    return spec_of(channels=CHANNELS, **{"reference": "recorded", **recipe})


def fitted_limits(*recordings: Recording, **recipe: Any) -> ArtefactLimits:
    found = fit_artefacts(unfitted(artefacts=recipe), runs(*recordings)).artefacts
    assert found is not None
    return found


def test_limits_are_multiples_of_what_a_channel_typically_does() -> None:
    once, twice = (
        fitted_limits(recording()),
        fitted_limits(recording(), amplitude=6.0, step=1.4),
    )
    np.testing.assert_allclose(twice.amplitude, 2 * np.array(once.amplitude))
    np.testing.assert_allclose(twice.step, np.array(once.step) / 2)
    assert twice.muscle == once.muscle
    for name in ("amplitude", "step", "muscle", "flat", "typical"):
        by_channel = np.array(getattr(once, name))
        np.testing.assert_allclose(by_channel / by_channel[0], [1, 2, 3, 4], rtol=0.1)


def test_typical_is_the_rms_of_the_filtered_signal() -> None:
    heard: list[Float64] = []
    Chain(unfitted(), INFO, tap=heard.append).push(recording().samples)
    rms = heard[0][1000:].std(axis=0)
    np.testing.assert_allclose(fitted_limits(recording()).typical, rms, rtol=0.05)


def test_artefacts_in_the_data_hardly_move_the_limits() -> None:
    clean = recording()
    samples, rng = clean.samples, np.random.default_rng(0)
    for onset in np.arange(5.0, 55.0, 5.0):
        for kind in ("pop", "movement"):
            samples, _ = inject(samples, INFO, kind, float(onset), rng)
    dirty = fitted_limits(Recording(INFO, samples, ()))
    for name in ("amplitude", "step", "muscle"):
        ratio = np.array(getattr(dirty, name)) / getattr(fitted_limits(clean), name)
        assert np.all((ratio > 0.9) & (ratio < 1.5)), name


def test_the_runs_are_named_and_all_of_them_count() -> None:
    found = fitted_limits(recording(0), recording(1, loud=3.0), recording(2, loud=3.0))
    assert found.fitted_on == ("run-0", "run-1", "run-2")
    alone = fitted_limits(recording(1, loud=3.0))
    np.testing.assert_allclose(found.amplitude, alone.amplitude, rtol=0.35)


def test_a_channel_that_is_flat_nearly_always_is_refused() -> None:
    flat = recording()
    flat.samples[: 56 * 250, 2] = 0.0
    with pytest.raises(DatasetError, match=r"EEG of Pz does not change.*Name the other"):
        fitted_limits(flat)
    flat.samples[:, 2] = recording().samples[:, 2]
    flat.samples[: 20 * 250, 2] = 0.0  # a third: the rest says what is typical
    np.testing.assert_allclose(
        fitted_limits(flat).amplitude, fitted_limits(recording()).amplitude, rtol=0.1
    )


def test_too_little_eeg_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"too little EEG.*artefacts = false"):
        fitted_limits(recording(seconds=1.0))


def test_nothing_is_fitted_that_the_recipe_does_not_ask_for() -> None:
    spec = unfitted(artefacts=False)
    assert fit_artefacts(spec, runs(recording())) == spec


# --- the eyes -------------------------------------------------------------------------


@pytest.mark.parametrize("eog", ["VEOG", "Fp1"])
def test_what_the_eyes_leak_is_found_from_their_blinks(eog: str) -> None:
    spec = fit_artefacts(unfitted(eog=[eog]), runs(recording(eyes=150), recording(1, eyes=200)))
    assert spec.eog is not None
    assert spec.eog.referenced == (eog == "Fp1",)
    assert spec.eog.fitted_on == ("run-0", "run-1")
    np.testing.assert_allclose(spec.eog.coefficients[0], LEAKS, atol=0.05)


@pytest.mark.parametrize("eog", ["VEOG", "Fp1"])
def test_without_blinks_nothing_is_taken_out(eog: str) -> None:
    """Fp1 shares half of its variance with Fz here, and that is brain."""
    spec = fit_artefacts(unfitted(eog=[eog]), runs(recording()))
    assert spec.eog is not None
    assert not np.any(spec.eog.coefficients)
    x, _ = Chain(spec, INFO).push(recording().samples)
    plain = spec.model_copy(update={"eog": None})
    np.testing.assert_array_equal(x, Chain(plain, INFO).push(recording().samples)[0])


def test_limits_are_of_what_the_regression_leaves() -> None:
    blinking = runs(recording(eyes=400))
    with_eog = fit_artefacts(unfitted(eog=["VEOG"]), blinking).artefacts
    assert with_eog is not None
    np.testing.assert_allclose(
        with_eog.amplitude, fitted_limits(recording()).amplitude, rtol=0.15
    )


def test_how_much_of_each_channel_is_usually_masked_is_recorded() -> None:
    harmed = recording().samples.copy()
    for second in range(10, 50, 4):  # a pop in each four seconds of the second channel
        harmed[second * 250 : second * 250 + 2, 1] += 3000
    limits = fitted_limits(Recording(INFO, harmed, ()))
    assert limits.usual[1] > 0.1
    assert max(limits.usual[0], *limits.usual[2:]) < limits.usual[1] - 0.05
