from __future__ import annotations

import time

import numpy as np
import pytest

from rtfeedback.online.lsl import clock
from rtfeedback.predictor import Predictor
from tests.lab import (
    CHANNELS,
    RATE,
    STALE,
    Start,
    noise,
    settled,
    stream_info,
)


@pytest.mark.parametrize("period", [{"hop": 0.25}, {"tr": 0.25}], ids=["hop", "tr"])
def test_a_frozen_stream_is_told_at_once_and_then_every_hop_or_tr(
    lab: Start, period: dict[str, float]
) -> None:
    one = lab(stream=STALE, **period)
    outlet = one.connect()
    then = one.feed(outlet, noise(1), clock())
    one.received(round(RATE))
    one.until(lambda: len(one.of("feedback", reason="stale")) >= 5)
    stale = one.of("feedback", reason="stale")
    for message in stale:
        assert message["value"] is None
        assert message["volume"] is None
        assert message["target_time"] is None
    assert 200 < stale[0]["age_ms"] < 600
    assert np.median(np.diff([m["publish_time"] for m in stale])) == pytest.approx(
        0.25, abs=0.1
    )
    assert np.median(np.diff([m["age_ms"] for m in stale])) == pytest.approx(250, abs=100)
    assert one.ask("status")["status"]["state"] == "stale"
    one.feed(outlet, noise(9), then + 3)
    one.until(lambda: one.of("feedback", segment=1, reason="ok"))
    gap = one.of("event", event="gap")[0]
    assert (gap["segment"], gap["lost"]) == (1, 3 * RATE)


@pytest.mark.parametrize("stale", [0.2, 0.5])
def test_a_stream_that_dies_at_an_amplifiers_pace_is_stale_when_it_said_so(
    lab: Start, stale: float
) -> None:
    one = lab(hop=2.0, stream={"stale": stale})
    outlet, then, chunk = one.connect(), clock(), 0.04
    for due in time.monotonic() + chunk * np.arange(1, 51):
        one.until(lambda due=due: time.monotonic() > due)  # type: ignore[misc]
        then = one.feed(outlet, noise(chunk), then)
    pushed = clock()
    assert not one.of("feedback", reason="stale")
    one.until(lambda: one.of("feedback", reason="stale"))
    told = one.of("feedback", reason="stale")[0]
    assert told["age_ms"] >= 1000 * stale
    # A pull of a quarter of a second is under way when it dies: that may not be added.
    assert told["publish_time"] - pushed < stale + 0.2


def test_a_stream_in_long_chunks_is_not_stale_between_them(lab: Start) -> None:
    one = lab(tr=60.0, stream={"stale": 0.2})
    outlet, then, told = one.connect(), clock(), []
    for due in time.monotonic() + 0.4 * np.arange(8):
        one.until(lambda due=due: time.monotonic() > due)  # type: ignore[misc]
        then = one.feed(outlet, noise(0.4), then, chunk=100)
        told.append(len(one.of("feedback", reason="stale")))
    assert 1 <= told[1] <= 2  # how long its pauses are shows only then
    assert told[-1] == told[4]


def test_a_gap_is_told_before_anything_that_follows_it(lab: Start) -> None:
    one = lab(hop=0.25)
    outlet = one.connect()
    then = one.feed(outlet, noise(2), clock())
    # A chunk in which hops fall due on both sides of the gap.
    block, stamps = noise(1), then + np.arange(250) / RATE
    stamps[125:] += 1.0
    outlet.push(block, stamps)
    one.feed(outlet, noise(1), then + 2)
    one.until(lambda: one.of("feedback", segment=1))
    told = [m for m in one.messages if m["topic"] != "status"]
    gap = told.index(one.of("event", event="gap")[0])
    segments = [m["segment"] for m in told[:gap]]
    assert set(segments) == {0}
    assert told[gap + 1]["segment"] == 1
    assert told[gap + 1]["reason"] == "gap"
    assert "ok" not in {m["reason"] for m in one.of("feedback", segment=1)}


def test_an_outlet_that_died_is_followed_by_the_next(lab: Start, predictor: Predictor) -> None:
    one = lab(hop=0.25, stream={"stale": 5.0})
    outlet = one.connect()
    then = one.feed(outlet, noise(1), clock())
    one.received(round(RATE))
    outlet.close()
    one.until(lambda: one.of("event", event="lost"))
    one.until(lambda: len(one.of("feedback", reason="stale")) >= 3)
    lost, stale = one.of("event", event="lost")[0], one.of("feedback", reason="stale")
    assert one.name in lost["reason"]
    assert stale[0]["age_ms"] < 2000  # at once: who is gone need not be waited for
    again = one.connect()
    n_stale = len(one.of("feedback", reason="stale"))
    one.until(lambda: len(one.of("feedback", reason="stale")) >= n_stale + 2)
    seconds = settled(predictor)
    one.feed(again, noise(seconds), then + 2)
    one.until(lambda: one.of("feedback", segment=1, reason="ok"))
    assert one.of("event", event="reconnect")[0]["stream"] == one.name
    # Ages rise from the last sample on, over the outlet's end and the next one's silence.
    ages = [m["age_ms"] for m in one.of("feedback", reason="stale")]
    assert ages == sorted(ages)
    told = [m["publish_time"] for m in one.of("feedback", reason="stale")]
    assert np.diff(told).max() < 0.7  # no two in a row were left out
    assert np.diff([m["publish_time"] for m in one.of("status")]).max() < 1.9


def test_an_outlet_with_other_channels_is_refused_and_the_run_goes_on(
    lab: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtfeedback.online.inputs.REFUSED", 0.1)
    one = lab(hop=0.25, stream=STALE)
    outlet = one.connect()
    one.feed(outlet, noise(1), clock())
    one.received(round(RATE))
    outlet.close()
    one.until(lambda: one.of("event", event="lost"))
    wrong = one.outlet(stream_info(CHANNELS[:-1]))
    one.until(lambda: one.of("event", event="refused"))
    assert CHANNELS[-1] in one.of("event", event="refused")[0]["reason"]
    one.until(lambda: len(one.of("feedback", reason="refused")) > 8)
    assert len(one.of("event", event="refused")) == 1
    assert not one.of("event", event="reconnect")
    wrong.close()
    one.feed(one.connect(), noise(1), clock())
    one.until(lambda: one.of("feedback", segment=1))
    assert one.of("event", event="reconnect")


def test_markers_that_died_alone_stop_no_eeg(lab: Start) -> None:
    one = lab(markers=True, hop=0.25)
    markers = one.marker_outlet()
    outlet = one.connect()
    then = one.feed(outlet, noise(1), clock())
    one.received(round(RATE))
    markers.close()
    one.until(lambda: one.of("event", event="lost"))
    assert one.of("event", event="lost")[0]["stream"] == one.name + "-markers"
    assert one.ask("status")["status"]["markers"] == "lost"
    hops = len(one.of("feedback"))
    then = one.feed(outlet, noise(2), then)
    one.until(lambda: len(one.of("feedback")) >= hops + 6)
    assert {m["segment"] for m in one.of("feedback")} == {0}
    again = one.marker_outlet()
    one.until(lambda: one.of("event", event="reconnect"))
    again.push("R128", then)
    one.until(lambda: one.of("event", event="volume"))
    one.feed(outlet, noise(1), then)
    one.until(lambda: one.of("feedback", volume=0))
    status = one.ask("status")["status"]
    assert (status["markers"], status["samples_lost"]) == ("ok", 0)


def test_a_stream_that_dies_while_markers_are_awaited_is_told(lab: Start) -> None:
    one = lab(markers=True, hop=0.25)
    markers = one.marker_outlet()
    outlet = one.connect()
    markers.close()
    one.until(lambda: one.of("event", event="lost"))
    one.feed(outlet, noise(1), clock())
    one.received(round(RATE))
    outlet.close()
    one.until(lambda: one.of("event", event="lost", stream=one.name))
    one.feed(one.connect(), noise(1), clock())
    one.until(lambda: one.of("feedback", segment=1))


def test_a_silent_marker_stream_is_no_error(lab: Start) -> None:
    one = lab(markers=True)
    one.marker_outlet()
    outlet = one.connect()
    one.feed(outlet, noise(3), clock())
    one.received(round(3 * RATE))
    assert one.ask("status")["status"]["markers"] == "silent"
    one.stop()
    assert one.error is None
    assert {m["reason"] for m in one.of("feedback")} <= {"stale"}
