from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import nan

import numpy as np
import pytest

from rtfeedback.online.lsl import EEGOutlet, clock
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32, Prediction, ROIPrediction
from tests.lab import (
    CHANNELS,
    RATE,
    STALE,
    WAIT,
    Lab,
    Start,
    noise,
    settled,
)


def test_samples_that_are_no_numbers_never_reach_a_value(
    lab: Start, predictor: Predictor
) -> None:
    seconds = settled(predictor)
    one = lab(hop=0.25)
    outlet = one.connect()
    samples = noise(2 * seconds)
    spoilt = round(seconds * RATE)
    samples[spoilt, 2] = np.nan
    samples[spoilt + 40, 0] = np.inf
    one.feed(outlet, samples, clock())
    one.received(len(samples))
    one.until(lambda: one.of("feedback", segment=2, reason="ok"))
    touched = [m for m in one.of("feedback", valid=True) if m["segment"] == 2]
    length = round(predictor.spec.window.length * RATE)
    assert min(m["sample"] for m in touched) > spoilt + 40 + length
    assert one.of("feedback", segment=0, reason="ok")
    assert one.ask("status")["status"]["samples_lost"] == 2


def test_nothing_but_samples_that_are_no_numbers_is_stale(lab: Start) -> None:
    one = lab(hop=0.25, stream=STALE)
    outlet = one.connect()
    then = one.feed(outlet, noise(1), clock())
    one.received(round(RATE))
    broken = np.full((25, len(CHANNELS)), np.nan, dtype=np.float32)
    deadline = time.monotonic() + WAIT
    while not one.of("feedback", reason="stale"):
        assert time.monotonic() < deadline
        then = one.feed(outlet, broken, then)
        one.listen()
    assert one.of("feedback", reason="stale")[0]["age_ms"] > 200


class Slow:
    """A predictor whose first real prediction takes as long as it is told."""

    def __init__(self, predictor: Predictor, meanwhile: Callable[[], object]) -> None:
        self._predictor, self._meanwhile = predictor, meanwhile
        self.checkpoint, self.spec = predictor.checkpoint, predictor.spec
        self.device = predictor.device
        self.calls = 0

    def warm_up(self) -> None:
        self._predictor.warm_up()

    def __call__(self, window: Float32) -> Prediction:
        self.calls += 1
        if self.calls == 1:
            self._meanwhile()
        return self._predictor(window)


@pytest.fixture
def leap(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what puts the monotonic clock three seconds ahead."""
    real, ahead = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + ahead[0])

    def jump() -> None:
        ahead[0] += 3.0

    return jump


def feed_until(one: Lab, outlet: EEGOutlet, then: float, done: Callable[[], object]) -> None:
    """Send EEG a tenth of a second at a time until something is so."""
    deadline = time.monotonic() + WAIT
    while not done():
        assert time.monotonic() < deadline, one.messages[-3:]
        then = one.feed(outlet, noise(0.1), then)
        one.listen()


def test_a_late_prediction_is_published_without_a_number(
    lab: Start, predictor: Predictor, leap: Callable[[], None]
) -> None:
    one = lab(hop=0.25, predictor=Slow(predictor, leap))
    outlet = one.connect()
    then = one.feed(outlet, noise(settled(predictor)), clock())
    one.until(lambda: one.of("feedback", reason="late"))
    late = one.of("feedback", reason="late")[0]
    assert late["age_ms"] > 3000
    assert late["value"] is None
    assert late["rois"]["motor"] == {"raw": None, "z": None, "sd": None}
    feed_until(one, outlet, then, lambda: one.of("feedback", valid=True))


def test_windows_behind_a_slow_one_are_told_in_order_and_late_ones_not_computed(
    lab: Start, predictor: Predictor, leap: Callable[[], None]
) -> None:
    slow = Slow(predictor, leap)
    one = lab(hop=0.25, predictor=slow)
    outlet = one.connect()
    seconds = settled(predictor)
    one.feed(outlet, noise(seconds), clock(), chunk=round(seconds * RATE))
    one.received(round(seconds * RATE))
    one.stop()
    due = [m for m in one.of("feedback") if m["reason"] in ("ok", "late")]
    assert {m["reason"] for m in due} == {"late"}  # they waited for the first
    assert slow.calls == 1
    assert len(due) >= 2
    samples = [m["sample"] for m in due]
    assert samples == sorted(set(samples))


def test_a_slow_prediction_makes_no_eeg_stale(
    lab: Start, predictor: Predictor, leap: Callable[[], None]
) -> None:
    computing, fed = threading.Event(), threading.Event()

    def compute() -> None:
        leap()
        computing.set()
        assert fed.wait(WAIT)

    one = lab(hop=0.25, predictor=Slow(predictor, compute))
    outlet = one.connect()
    seconds = settled(predictor)
    then = one.feed(outlet, noise(seconds), clock())
    one.until(computing.is_set)
    then = one.feed(outlet, noise(2), then)
    fed.set()
    feed_until(one, outlet, then, lambda: len(one.of("feedback", valid=True)) >= 3)
    before = one.messages.index(one.of("feedback", valid=True)[2])
    assert "stale" not in {m.get("reason") for m in one.messages[:before]}


def test_a_prediction_that_is_no_number_is_never_published(
    lab: Start, predictor: Predictor
) -> None:
    class Broken(Slow):
        def __call__(self, window: Float32) -> Prediction:
            nothing = ROIPrediction(raw=nan, z=nan)
            return dict.fromkeys(super().__call__(window), nothing)

    one = lab(hop=0.25, predictor=Broken(predictor, lambda: None))
    one.feed(one.connect(), noise(settled(predictor)), clock())
    one.until(lambda: one.of("feedback", reason="not_finite"))
    assert not one.of("feedback", valid=True)
