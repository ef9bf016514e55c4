from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from math import inf, nan, nextafter, pi
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtfeedback.online.encoding import FeedbackEncoder, encode
from rtfeedback.online.feedback import FeedbackMaker
from rtfeedback.predictor import LARGEST_Z, plausible
from rtfeedback.signals import SCHEMA, Feedback, Float32, Prediction, ROIPrediction, Window

ROIS = ("motor", "visual")
PERIOD = 2.0
INVALID = ("warming_up", "gap", "late")
NOW = 5000.0  # s of the monotonic clock


class Clocks:
    """The monotonic clock and LSL's, both in the test's hands."""

    def __init__(self) -> None:
        self.now = NOW

    def lsl(self) -> float:
        return self.now + 98765.4321

    def age_ms(self, received: float) -> float:
        return 1000 * (self.now - received)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def make(clocks: Clocks) -> FeedbackMaker:
    return FeedbackMaker(
        session="01",
        run="02",
        checkpoint="abc",
        rois=ROIS,
        flags=("environment_assumed",),
        period=PERIOD,
        clock=clocks,
    )


def window_of(reason: str = "ok", volume: int | None = 7, received: float = NOW) -> Window:
    return Window(
        data=np.zeros((2, 3), dtype=np.float32),
        valid=reason == "ok",
        reason=reason,
        volume=volume,
        target_time=103.0,
        due_time=98.0,
        lsl_time=98.0001,
        segment=1,
        sample=24500,
        received=received,
    )


def predicted(z: float = 0.5, raw: float = 1.25, sd: float | None = None) -> Prediction:
    return {
        "motor": ROIPrediction(raw=raw, z=z, sd=sd),
        "visual": ROIPrediction(raw=-0.5, z=-1.5),
    }


def giving(prediction: Prediction) -> Callable[[Float32], Prediction]:
    return lambda window: prediction


def assert_says_nothing(feedback: Feedback, reason: str) -> None:
    """Assert that nothing in a message can be taken for a prediction."""
    assert (feedback.valid, feedback.value, feedback.reason) == (False, None, reason)
    assert feedback.rois == dict.fromkeys(ROIS, ROIPrediction(raw=None, z=None, sd=None))


def test_a_valid_window_says_its_prediction_and_where_it_is_from(make: FeedbackMaker) -> None:
    told = make.of_window(window_of(), giving(predicted()))
    assert (told.valid, told.reason, told.value) == (True, "ok", 0.5)
    assert told.rois == predicted()
    assert (told.schema, told.session, told.run, told.checkpoint) == (SCHEMA, "01", "02", "abc")
    assert (told.volume, told.target_time, told.due_time) == (7, 103.0, 98.0)
    assert (told.lsl_time, told.segment, told.sample) == (98.0001, 1, 24500)
    assert (told.flags, told.block) == (("environment_assumed",), None)
    assert told.infer_ms is not None
    assert told.infer_ms >= 0


@pytest.mark.parametrize("reason", INVALID)
def test_an_invalid_window_has_no_value_and_no_number_in_any_roi(
    make: FeedbackMaker, reason: str
) -> None:
    asked: list[Float32] = []
    told = make.of_window(window_of(reason), lambda x: asked.append(x) or predicted())  # type: ignore[func-returns-value]
    assert asked == []
    assert_says_nothing(told, reason)
    assert (told.volume, told.sample, told.segment) == (7, 24500, 1)


@pytest.mark.parametrize("bad", [nan, inf, -inf])
@pytest.mark.parametrize("where", ["z", "raw", "sd"])
def test_a_prediction_that_is_not_finite_is_not_valid(
    make: FeedbackMaker, bad: float, where: str
) -> None:
    told = make.of_window(window_of(), giving(predicted(**{where: bad})))
    assert_says_nothing(told, "not_finite")
    other = {**predicted(), "visual": ROIPrediction(raw=bad, z=0.0)}
    assert_says_nothing(make.of_window(window_of(), giving(other)), "not_finite")


@pytest.mark.parametrize(
    ("age", "late"), [(0.0, False), (0.1, False), (PERIOD, False), (2.001, True), (1e6, True)]
)
def test_a_window_told_more_than_a_period_after_its_eeg_came_is_late(
    make: FeedbackMaker, clocks: Clocks, age: float, late: bool
) -> None:
    clocks.now = NOW + age
    told = make.of_window(window_of(), giving(predicted()))
    assert told.age_ms == pytest.approx(1000 * age)
    if late:
        assert_says_nothing(told, "late")
    else:
        assert (told.valid, told.value) == (True, 0.5)


def test_what_is_late_already_is_not_predicted(make: FeedbackMaker, clocks: Clocks) -> None:
    clocks.now = NOW + PERIOD + 0.001
    asked: list[Float32] = []
    told = make.of_window(window_of(), lambda x: asked.append(x) or predicted())  # type: ignore[func-returns-value]
    assert_says_nothing(told, "late")
    assert (asked, told.infer_ms) == ([], None)


@pytest.mark.parametrize("z", [0.5, nan, LARGEST_Z + 1])
def test_what_was_predicted_too_late_is_late_whatever_it_is(
    make: FeedbackMaker, clocks: Clocks, z: float
) -> None:
    """A replay knows the age, and need not know when in the prediction it was reached."""

    def slowly(window: Float32) -> Prediction:
        clocks.now += PERIOD + 0.001
        return predicted(z=z)

    assert_says_nothing(make.of_window(window_of(), slowly), "late")


def test_an_invalid_window_keeps_its_reason_however_old(
    make: FeedbackMaker, clocks: Clocks
) -> None:
    clocks.now += 100
    assert_says_nothing(make.of_window(window_of("gap"), giving(predicted())), "gap")


def test_the_wall_clock_has_no_say(
    make: FeedbackMaker, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    told = make.of_window(window_of(), giving(predicted()))
    assert told.valid
    assert told.publish_time == clocks.lsl()


def test_the_value_is_the_first_roi_of_the_checkpoint(make: FeedbackMaker) -> None:
    assert make.of_window(window_of(), giving(predicted(z=-2.25))).value == -2.25


def test_a_hop_is_told_without_a_volume(make: FeedbackMaker) -> None:
    told = make.of_window(window_of(volume=None), giving(predicted()))
    assert (told.volume, told.valid) == (None, True)


def test_no_eeg_is_told_as_stale_with_the_last_window_and_the_age(
    make: FeedbackMaker, clocks: Clocks
) -> None:
    clocks.now = NOW + 1.5
    told = make.stale(window_of(), NOW)
    assert_says_nothing(told, "stale")
    assert (told.volume, told.target_time, told.due_time) == (None, None, None)
    assert (told.lsl_time, told.segment, told.sample) == (98.0001, 1, 24500)
    assert told.age_ms == pytest.approx(1500)
    assert told.infer_ms is None
    assert told.publish_time == clocks.lsl()


def test_stale_before_the_first_window_knows_nothing(make: FeedbackMaker) -> None:
    told = make.stale(None, NOW)
    assert_says_nothing(told, "stale")
    assert (told.lsl_time, told.segment, told.sample) == (None, None, None)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(kinds=st.lists(st.sampled_from(["ok", "stale", "nan", *INVALID]), max_size=30))
def test_messages_are_numbered_from_0_without_holes(kinds: list[str]) -> None:
    make = FeedbackMaker(
        session="01",
        run="01",
        checkpoint="",
        rois=ROIS,
        flags=(),
        period=1e9,
        clock=Clocks(),
    )
    told = []
    for kind in kinds:
        if kind == "stale":
            told.append(make.stale(None, 0.0))
        elif kind == "nan":
            told.append(make.of_window(window_of(), giving(predicted(z=nan))))
        else:
            told.append(make.of_window(window_of(kind), giving(predicted())))
    assert [feedback.seq for feedback in told] == [*range(len(kinds))]
    assert make.seq == len(kinds)
    for feedback in told:
        assert feedback.valid == (feedback.reason == "ok") == (feedback.value is not None)
        assert json.loads(encode(feedback.message()))["seq"] == feedback.seq


@pytest.mark.parametrize(
    "number",
    [0.1, 1 / 3, pi * 1e-9, -7.3e-15, 5e-300, nextafter(1.0, 2.0), float(np.float32(0.1))],
)
def test_numbers_go_through_json_without_a_bit_changed(
    make: FeedbackMaker, number: float
) -> None:
    told = make.of_window(window_of(), giving(predicted(z=number, raw=-number)))
    back = json.loads(encode(told.message()))
    assert back["value"] == back["rois"]["motor"]["z"] == number
    assert back["infer_ms"] == told.infer_ms
    assert back["rois"]["motor"] == {"raw": -number, "z": number, "sd": None}
    assert (back["publish_time"], back["lsl_time"]) == (told.publish_time, told.lsl_time)


@pytest.mark.parametrize("prediction", [predicted(), predicted(sd=0.3), predicted(z=1e-300)])
def test_feedback_is_encoded_as_any_json_would_be(
    make: FeedbackMaker, prediction: Prediction
) -> None:
    encoder = FeedbackEncoder(ROIS)
    for told in (make.of_window(window_of(), giving(prediction)), make.stale(None, NOW)):
        for each in (told, replace(told, run="02", flags=("no_fmri", "100 %s")), told):
            assert encoder(each) == encode(each.message())


def test_numbers_of_numpy_are_encoded_as_any_json_would_be(make: FeedbackMaker) -> None:
    told = replace(make.stale(None, NOW), lsl_time=np.float64(3.5))
    assert FeedbackEncoder(ROIS)(told) == encode(told.message())
    with pytest.raises(TypeError):
        FeedbackEncoder(ROIS)(replace(told, sample=cast(int, np.int64(4))))


def test_a_region_may_be_called_anything(clocks: Clocks) -> None:
    names = ('100 %s "M1"', "Größe\n\\", "%")
    make = FeedbackMaker(
        session="01", run="01", checkpoint="", rois=names, flags=("a", "b"), period=1,
        clock=clocks,
    )  # fmt: skip
    told = make.of_window(window_of(), giving(dict.fromkeys(names, ROIPrediction(1.5, 0.1))))
    assert FeedbackEncoder(names)(told) == encode(told.message())


@pytest.mark.parametrize("bad", [nan, inf, -inf])
def test_no_nan_can_be_encoded_as_feedback(make: FeedbackMaker, bad: float) -> None:
    told = make.of_window(window_of(), giving(predicted()))
    for wrong in (replace(told, rois=predicted(raw=bad)), replace(told, lsl_time=bad)):
        with pytest.raises(ValueError, match="JSON"):
            FeedbackEncoder(ROIS)(wrong)


@pytest.mark.parametrize("bad", [nan, inf, -inf])
def test_no_nan_can_be_published(bad: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode({"value": bad})


def test_a_message_has_every_field_and_plain_types(make: FeedbackMaker) -> None:
    for told in (make.of_window(window_of(), giving(predicted())), make.stale(None, NOW)):
        message = told.message()
        assert json.loads(encode(message)) == {**message, "flags": list(told.flags)}
        assert set(message) == set(Feedback.__dataclass_fields__)


def test_a_value_that_no_brain_can_have_is_an_artefact() -> None:
    assert plausible({"motor": ROIPrediction(raw=1.0, z=LARGEST_Z)})
    assert not plausible({"motor": ROIPrediction(raw=1.0, z=-LARGEST_Z - 1e-6)})
