"""The daemon on sources that are no LSL stream, and on volumes as scanners mark them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offline.eeg.recordings import Recording
from rtfeedback.errors import CheckpointError, StreamError
from rtfeedback.online.daemon import Daemon
from rtfeedback.online.lsl import clock
from rtfeedback.online.memory import MemorySource
from rtfeedback.online.settings import RunConfig, RunOptions
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Marker
from tests.lab import RATE, TR, Lab, Message, Start, desk_values, noise, settled

START = 4000.0


def source_of(recording: Recording, **how: Any) -> MemorySource:
    stamps = START + np.arange(len(recording.samples)) / RATE
    shifted = [type(m)(START + m.stamp, m.label) for m in recording.markers]
    return MemorySource(
        recording.info, recording.samples, stamps=stamps, markers=shifted, **how
    )


def run(
    out: Path, predictor: Predictor, port: int, source: MemorySource, **options: Any
) -> list[Message]:
    """Run a daemon until its source is over, and return what it published."""
    chosen = RunOptions(
        stream="", out=out, endpoint=f"tcp://127.0.0.1:{port}", source="memory", **options
    )
    daemon = Daemon(predictor, chosen, RunConfig(), source)
    daemon.run()
    lines = (daemon.folder.path / "messages.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def feedback(messages: list[Message]) -> list[Message]:
    told = [m for m in messages if m["topic"] == "feedback"]
    timed = ("publish_time", "age_ms", "infer_ms", "run", "session")
    return [{k: v for k, v in m.items() if k not in timed} for m in told]


def test_a_recording_in_memory_gives_the_desks_values_and_ends_the_run(
    tmp_path: Path, predictor: Predictor, recording: Recording, free_port: int
) -> None:
    messages = run(tmp_path, predictor, free_port, source_of(recording), markers="markers")
    onsets = [m.stamp for m in recording.markers]
    values = {m["volume"]: m["rois"] for m in feedback(messages) if m["valid"]}
    assert values == desk_values(predictor, recording, onsets)
    assert len(values) > 4
    assert messages[-1]["state"] == "stopped"
    assert messages[-1]["samples_received"] == len(recording.samples)


def test_a_recording_in_memory_gives_the_same_each_time_whatever_the_chunks(
    tmp_path: Path, predictor: Predictor, recording: Recording, free_port: int
) -> None:
    told = [
        feedback(
            run(tmp_path, predictor, free_port, source_of(recording, chunk=chunk), hop=0.5)
        )
        for chunk in (10, 10, 250, 33)
    ]
    assert told[0] == told[1] == told[2] == told[3]
    assert {m["reason"] for m in told[0]} == {"warming_up", "ok"}


def test_a_source_without_markers_cannot_be_counted_by_them(
    tmp_path: Path, predictor: Predictor, recording: Recording, free_port: int
) -> None:
    silent = Recording(recording.info, recording.samples, ())
    with pytest.raises(StreamError, match=r"--tr"):
        run(tmp_path, predictor, free_port, source_of(silent), markers="markers")
    assert list(tmp_path.iterdir()) == []


# --- the scanner ----------------------------------------------------------------------


def test_a_scanner_that_stops_leaves_no_value_standing(
    lab: Start, predictor: Predictor
) -> None:
    one = lab(markers=True)
    markers = one.marker_outlet()
    outlet = one.connect()
    then = start = clock()
    for k in range(round(settled(predictor)) + 6):
        markers.push("R128", start + k * TR)
        then = one.feed(outlet, noise(TR, seed=k), then)
    one.until(lambda: one.of("feedback", valid=True))
    feed_until(one, outlet, then, "no_volume", 3)
    (stopped,) = one.of("event", event="scanner_stopped")
    told = one.of("feedback", reason="no_volume")
    assert {(m["volume"], m["value"]) for m in told} == {(None, None)}
    gaps = np.diff([m["due_time"] for m in told])
    np.testing.assert_allclose(gaps, TR)
    assert stopped["volume"] == round(settled(predictor)) + 5
    assert one.ask("status")["status"]["markers"] == "stopped"


def feed_until(one: Lab, outlet: Any, then: float, reason: str, n: int) -> float:
    """Send EEG until so many messages of a reason have come."""
    for _ in range(200):
        then = one.feed(outlet, noise(0.5), then)
        one.listen()
        if len(one.of("feedback", reason=reason)) >= n:
            return then
    raise AssertionError(one.messages[-3:])


def test_the_tr_of_the_markers_is_told_and_gone_by(lab: Start) -> None:
    one = lab(markers=True)
    markers = one.marker_outlet()
    outlet = one.connect()
    start = clock()
    for k in range(12):  # the checkpoint's TR is 1 s
        markers.push("T  1", start + 1.5 * k)
    one.until(lambda: len(one.of("event", event="volume")) == 12)
    (tr,) = one.of("event", event="tr")
    assert tr["tr"] == pytest.approx(1.5, abs=1e-4)
    assert tr["expected"] == TR
    one.feed(outlet, noise(16), start)
    one.until(lambda: one.of("feedback", volume=9))
    status = one.ask("status")["status"]
    assert status["tr"] == pytest.approx(1.5, abs=1e-4)
    assert status["tr_jitter_ms"] < 1
    told = {m["volume"]: m["target_time"] - start for m in one.of("feedback") if m["valid"]}
    for volume, target in told.items():
        assert target == pytest.approx(1.5 * volume + 0.75, abs=0.005)


def test_a_player_that_starts_again_loses_no_marker_of_its_first_sample(lab: Start) -> None:
    one = lab(markers=True, hop=0.25)
    markers = one.marker_outlet()
    outlet = one.connect()
    then = one.feed(outlet, noise(1), clock())
    one.received(round(RATE))
    markers.close()
    outlet.close()
    one.until(lambda: len(one.of("event", event="lost")) == 2)
    markers = one.marker_outlet()
    outlet = one.connect()  # returns as soon as the EEG is received
    markers.push("R128", then + 5)
    one.feed(outlet, noise(1), then + 5)
    one.until(lambda: one.of("event", event="volume"))
    assert len(one.of("event", event="reconnect")) == 2


def test_a_rate_that_is_not_the_stated_one_is_told_with_what_was_found(
    lab: Start, predictor: Predictor
) -> None:
    one = lab(hop=0.25)
    outlet = one.connect()
    start = clock()
    samples = noise(settled(predictor) + 10)
    stamps = start + np.arange(len(samples)) / (1.03 * RATE)
    for first in range(0, len(samples), 25):
        outlet.push(samples[first : first + 25], stamps[first : first + 25])
        one.listen(0)
    one.until(lambda: one.of("feedback", reason="rate"))
    (told,) = one.of("event", event="implausible")
    assert told["reason"] == "rate"
    assert float(told["found"].split()[0]) == pytest.approx(1.03 * RATE, abs=0.1)
    assert not one.of("feedback", valid=True)


def test_a_marker_without_a_time_is_told_and_dropped(lab: Start) -> None:
    one = lab(markers=True)
    markers = one.marker_outlet()
    one.connect()
    for stamp in (float("nan"), float("inf"), clock()):
        markers.push("R128", stamp)
    one.until(lambda: one.of("event", event="volume"))
    assert one.error is None
    strays = one.of("event", event="stray")
    assert strays
    assert {(m["onset"], m["off"]) for m in strays} == {(None, None)}


@pytest.mark.parametrize("spacing", [1.0, 1.5])
def test_a_model_that_is_bound_to_its_tr_says_nothing_at_another(
    tmp_path: Path,
    predictor: Predictor,
    recording: Recording,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    spacing: float,
) -> None:
    kind = type(predictor.spec.model)
    monkeypatch.setattr(kind, "bound_to_tr", property(lambda _: TR))
    seconds = len(recording.samples) / recording.info.sfreq
    onsets = np.arange(0.4, seconds, spacing * TR).tolist()
    marked = Recording(
        recording.info, recording.samples, tuple(Marker(onset, "R128") for onset in onsets)
    )
    messages = run(
        tmp_path, predictor, free_port, source_of(marked), markers="markers", hop=0.5
    )
    events = [m for m in messages if m.get("event") == "refused"]
    reasons = {m["reason"] for m in feedback(messages)}
    if spacing == 1.0:
        assert not events
        assert "refused" not in reasons
        assert "ok" in reasons
        return
    (event,) = events
    assert "bound to a TR of 1 s, and this run has 1.5 s" in event["reason"]
    after = feedback(messages[messages.index(event) :])
    assert {m["reason"] for m in after} <= {"refused", "warming_up"}
    assert {m["value"] for m in after} == {None}
    assert "refused" in reasons


def test_a_stated_tr_that_the_model_is_not_bound_to_is_refused_at_once(
    tmp_path: Path,
    predictor: Predictor,
    recording: Recording,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(type(predictor.spec.model), "bound_to_tr", property(lambda _: TR))
    with pytest.raises(CheckpointError, match=r"bound to a TR of 1 s, and this run has 2 s"):
        run(tmp_path, predictor, free_port, source_of(recording), tr=2.0)
    assert list(tmp_path.iterdir()) == []
