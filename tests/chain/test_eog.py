"""What the eyes put into the EEG is taken out, and nothing else."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from rtfeedback.chain import Chain, ChainSpec
from rtfeedback.chain.limits import EOGRegression
from rtfeedback.signals import Float32, Float64, StreamInfo
from tests.chain.streams import bits, both_outputs, cut, spec_of, through

CHANNELS = ("F3", "Cz", "Pz", "O1")
LEAKS = np.array([0.5, 0.2, 0.1, 0.0])
INFO = StreamInfo(
    "EEG", 250.0, (*CHANNELS, "VEOG", "Fp1"), ("eeg",) * 4 + ("eog", "eeg"), ("uV",) * 6
)


def regression(*names: str, referenced: bool = False, scale: float = 1.0) -> EOGRegression:
    return EOGRegression(
        channels=names,
        referenced=(referenced,) * len(names),
        coefficients=(tuple(LEAKS * scale),) * len(names),
        fitted_on=("a",),
    )


def spec_with(eog: EOGRegression | None, **values: Any) -> ChainSpec:
    spec = spec_of(channels=CHANNELS, **{"reference": "recorded", **values})
    return ChainSpec.model_validate(spec.model_dump() | {"eog": eog})


def blinks(n: int = 3000) -> Float64:
    times = np.arange(n) / 250.0
    return np.asarray(150 * np.exp(-0.5 * ((times % 3 - 1.5) / 0.07) ** 2))


def recorded(eyes: Float64, brain: Float64) -> Float32:
    """Return EEG with the eyes in it, VEOG, and Fp1 that sees only the eyes."""
    eeg = brain + eyes[:, None] * LEAKS
    return np.column_stack([eeg, eyes, eyes]).astype(np.float32)


@pytest.fixture
def brain() -> Float64:
    return np.random.default_rng(0).normal(0, 10, (3000, 4))


@pytest.mark.parametrize("eog", ["VEOG", "Fp1"])
def test_blinks_are_taken_out_and_the_brain_is_left(brain: Float64, eog: str) -> None:
    eyes = blinks()
    samples = recorded(eyes, brain)
    clean, _ = Chain(spec_with(None), INFO).push(recorded(0 * eyes, brain))
    raw, _ = Chain(spec_with(None), INFO).push(samples)
    got, _ = Chain(spec_with(regression(eog)), INFO).push(samples)
    assert np.abs(raw - clean).max() > 30e-6
    np.testing.assert_allclose(got, clean, rtol=0, atol=1e-10)


@both_outputs
def test_the_bits_do_not_depend_on_how_samples_are_cut(brain: Float64, power: Any) -> None:
    spec = spec_with(
        regression("VEOG", "Fp1", scale=0.4), reference="average", band_power=power
    )
    samples = recorded(blinks(), brain)
    whole, _ = Chain(spec, INFO).push(samples)
    for sizes in ([1, 0, 7, 32, 250, 3], cycle([1])):
        cut_up, _ = through(Chain(spec, INFO), cut(samples, sizes))
        np.testing.assert_array_equal(bits(cut_up), bits(whole))


@pytest.mark.parametrize("reference", ["average", "Cz", "Fp1"])
def test_frontal_eeg_is_referenced_as_the_channels_are(brain: Float64, reference: str) -> None:
    """What the recording was referenced to cancels in it too; EOG is bipolar as recorded."""
    eyes, hum = blinks(), 200 * np.random.default_rng(1).normal(size=(3000, 1))
    name = "VEOG" if reference == "Fp1" else "Fp1"
    spec = spec_with(regression(name, referenced=name == "Fp1"), reference=reference)
    samples = recorded(eyes, brain)
    humming = samples.copy()
    eeg = [0, 1, 2, 3, 5]
    humming[:, eeg] += hum.astype(np.float32)
    a, _ = Chain(spec, INFO).push(samples)
    b, _ = Chain(spec, INFO).push(humming)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)


def test_the_average_is_over_the_models_channels_alone(brain: Float64) -> None:
    samples = recorded(blinks(), brain)
    loud = samples.copy()
    loud[:, 4:] *= 1000
    nothing = regression("VEOG", "Fp1", referenced=True, scale=0.0)
    a, _ = Chain(spec_with(nothing, reference="average"), INFO).push(samples)
    b, _ = Chain(spec_with(nothing, reference="average"), INFO).push(loud)
    np.testing.assert_array_equal(a, b)
    assert a.shape[1] == len(CHANNELS)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"eog": regression("F3")}, "F3: named twice, or as channel of the model and as EOG"),
        ({"eog": regression("VEOG", "VEOG")}, "VEOG: named twice"),
        ({"eog": regression("Fp1"), "reference": "Fp1"}, "cannot be both reference and EOG"),
    ],
)
def test_eog_that_is_something_else_too_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        spec_with(**values)


def test_coefficients_have_to_go_with_the_channels() -> None:
    with pytest.raises(ValidationError, match="not EOG coefficients for 4 channels"):
        spec_with(
            EOGRegression(
                channels=("VEOG",), referenced=(False,), coefficients=((1.0,),), fitted_on=()
            )
        )
    with pytest.raises(ValidationError, match="do not go with the EOG channels"):
        EOGRegression(channels=("a",), referenced=(), coefficients=((1.0,),), fitted_on=())
