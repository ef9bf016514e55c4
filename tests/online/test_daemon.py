from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from offline.recordings import Recording
from rtfeedback.chain import Chain
from rtfeedback.errors import ChannelError, PublishError, StreamError
from rtfeedback.online import lsl, publisher
from rtfeedback.online.lsl import EEGOutlet, clock
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32, Prediction
from tests.lab import (
    CHANNELS,
    RATE,
    TR,
    WAIT,
    Lab,
    Message,
    bare,
    checkpoint_spec,
    desk_values,
    make_recording,
    save_model,
    stream_info,
)

STALE = {"stale": 0.2}  # s, so that a test need not wait for half a second


class Start(Protocol):
    def __call__(self, **how: Any) -> Lab: ...


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return save_model(tmp_path_factory.mktemp("model") / "ridge", checkpoint_spec())


@pytest.fixture(scope="module")
def recording() -> Recording:
    return make_recording(12)


@pytest.fixture
def lab(tmp_path: Path, predictor: Predictor, free_port: int) -> Iterator[Start]:
    """Return what starts a daemon; it ends with the test."""
    with ExitStack() as stack:

        def start(**how: Any) -> Lab:
            one = Lab(tmp_path, how.pop("predictor", predictor), free_port, **how)
            return stack.enter_context(one)

        yield start


def settled(predictor: Predictor, seconds: float = 0.0) -> float:
    """Return the seconds from a segment's first sample until windows are whole."""
    chain = Chain(predictor.spec.chain, stream_info())
    return chain.warm_up / RATE + predictor.spec.window.length + 1.0 + seconds


def noise(seconds: float, seed: int = 5) -> Float32:
    n_times = round(seconds * RATE)
    samples = np.random.default_rng(seed).normal(0, 20, (n_times, len(CHANNELS)))
    return samples.astype(np.float32)


def failing(start: Callable[[], Lab]) -> BaseException:
    """Return what a run ended with."""
    one = start()
    one.join()
    assert one.error is not None
    return one.error


# ------------------------------------------------------------------ the same values


@pytest.mark.parametrize("hop", [None, 0.5])
def test_every_volume_is_the_desks_bit_for_bit(
    lab: Start, predictor: Predictor, recording: Recording, hop: float | None
) -> None:
    one = lab(markers=True, hop=hop)
    markers = one.marker_outlet()
    outlet = one.connect()
    one.play(recording, outlet, markers)
    one.received(len(recording.samples))
    one.stop()
    desk = desk_values(predictor, recording, [m.stamp for m in recording.markers])
    assert len(desk) >= 6
    assert one.values() == desk
    for message in one.of("feedback", valid=True):
        assert message["value"] == message["rois"]["motor"]["z"]


def test_counted_volumes_equal_marked_ones_on_the_same_grid(
    lab: Start, predictor: Predictor, recording: Recording
) -> None:
    one = lab(tr=TR)
    one.play(recording, one.connect())
    one.received(len(recording.samples))
    one.stop()
    grid = np.arange(0, 12, TR).tolist()
    assert one.values() == desk_values(predictor, recording, grid)
    first = one.of("feedback", volume=0)[0]
    assert (first["valid"], first["reason"]) == (False, "warming_up")


def test_channels_go_by_name_whatever_their_order_and_company(
    lab: Start, predictor: Predictor, recording: Recording
) -> None:
    order = [3, 0, 4, 2, 1]
    eog = noise(12, seed=9)[:, :1] * 50
    mixed = np.concatenate([recording.samples[:, order], eog], axis=1)
    info = stream_info([*(CHANNELS[i] for i in order), "VEOG"])
    one = lab(markers=True)
    markers = one.marker_outlet()
    outlet = one.connect(info)
    one.play(Recording(info, np.ascontiguousarray(mixed), recording.markers), outlet, markers)
    one.received(len(mixed))
    one.stop()
    desk = desk_values(predictor, recording, [m.stamp for m in recording.markers])
    assert one.values() == desk


# ------------------------------------------------------------------ what is told


def test_hops_lie_between_volumes_and_are_none(lab: Start, recording: Recording) -> None:
    one = lab(hop=0.5)
    one.play(recording, one.connect())
    one.received(len(recording.samples))
    one.stop()
    got = [m for m in one.of("feedback") if m["reason"] != "stale"]
    volumes = [m["volume"] for m in got if m["volume"] is not None]
    assert volumes == list(range(len(volumes)))
    targets = [m["target_time"] for m in got]
    assert targets == sorted(targets)
    # Volumes are for the middle of their TR, so a hop of 0.5 s falls on each and between.
    assert np.diff(targets[2:]) == pytest.approx(0.5, abs=1e-3)
    hops = [m for m in got if m["volume"] is None]
    assert len(hops) >= len(volumes) - 1


def test_seq_counts_on_without_holes_from_zero(lab: Start, recording: Recording) -> None:
    one = lab(hop=0.5, stream=STALE)
    outlet = one.connect()
    one.until(lambda: one.of("feedback", reason="stale"))
    one.play(recording, outlet)
    one.received(len(recording.samples))
    one.until(lambda: one.of("feedback")[-1]["reason"] == "stale")
    one.stop()
    seqs = [m["seq"] for m in one.of("feedback")]
    assert seqs == list(range(len(seqs)))
    assert one.client.missed == 0


def test_the_heartbeat_beats_before_the_stream_is_there(lab: Start) -> None:
    one = lab(stream={"stale": 1.0})
    one.until(lambda: len(one.of("status")) >= 3)
    beats = one.of("status")
    assert {m["state"] for m in beats} == {"waiting"}
    assert {m["age_ms"] for m in beats} == {None}
    assert np.diff([m["publish_time"] for m in beats]) == pytest.approx(1.0, abs=0.4)
    assert not one.of("feedback")
    one.connect()
    connected = clock()
    one.until(lambda: one.of("feedback"))
    first = one.of("feedback")[0]  # nor is it stale before it is due
    assert first["publish_time"] > connected + 0.5
    assert (first["reason"], first["age_ms"]) == ("stale", None)


def test_what_is_on_disk_is_what_the_client_received(lab: Start, recording: Recording) -> None:
    one = lab(markers=True, hop=0.5)
    markers = one.marker_outlet()
    outlet = one.connect()
    one.play(recording, outlet, markers)
    one.received(len(recording.samples))
    assert one.ask("stop") == {"ok": True}
    one.join()
    assert one.error is None
    got = [{"topic": m["topic"], **bare(m)} for m in one.messages]
    on_disk = one.recorded()
    assert got == on_disk[on_disk.index(got[0]) :]
    assert [m for m in on_disk if m["topic"] == "feedback"] == [
        m for m in got if m["topic"] == "feedback"
    ]
    last = got[-1]
    assert (last["topic"], last["state"]) == ("status", "stopped")
    assert last["samples_received"] == len(recording.samples)
    assert last["samples_lost"] == 0


def test_a_marked_volume_and_a_mark_come_as_events(lab: Start) -> None:
    one = lab(markers=True)
    markers = one.marker_outlet()
    one.connect()
    onset = clock()
    markers.push("R128", onset)
    markers.push("S  1", onset + 0.5)
    markers.push("R128", onset + 2 * TR)
    one.until(lambda: len(one.of("event", event="volume")) == 2)
    told = one.of("event", event="volume")
    assert [m["volume"] for m in told] == [0, 2]
    assert [m["onset"] for m in told] == pytest.approx([onset, onset + 2 * TR], abs=1e-3)
    assert one.ask("mark", label="größer\n\ud800")["ok"]
    one.until(lambda: one.of("event", event="mark"))
    assert one.of("event", event="mark")[0]["label"] == "größer\n\ud800"
    one.stop()
    log = (one.folder / "run.log").read_text(encoding="utf-8")
    assert [line for line in log.splitlines() if 'event=mark label="' in line]


# ------------------------------------------------------------------ silence


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


def test_a_stream_in_long_chunks_is_not_stale_between_them(lab: Start) -> None:
    one = lab(tr=60.0, stream={"stale": 0.15})
    outlet, then, told = one.connect(), clock(), []
    for due in time.monotonic() + 0.3 * np.arange(8):
        one.until(lambda due=due: time.monotonic() > due)  # type: ignore[misc]
        then = one.feed(outlet, noise(0.3), then, chunk=75)
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
    monkeypatch.setattr("rtfeedback.online.daemon.REFUSED", 0.1)
    one = lab(hop=0.25, stream=STALE)
    outlet = one.connect()
    one.feed(outlet, noise(1), clock())
    one.received(round(RATE))
    outlet.close()
    one.until(lambda: one.of("event", event="lost"))
    wrong = one.outlet(stream_info(CHANNELS[:-1]))
    one.until(lambda: one.of("event", event="refused"))
    assert CHANNELS[-1] in one.of("event", event="refused")[0]["reason"]
    n_stale = len(one.of("feedback", reason="stale"))
    one.until(lambda: len(one.of("feedback", reason="stale")) > n_stale + 8)
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
    assert one.ask("status")["status"]["markers"] == "ok"
    one.stop()
    assert one.error is None
    assert {m["reason"] for m in one.of("feedback")} <= {"stale"}


# ------------------------------------------------------------------ false values


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
    one.feed(outlet, noise(1), then)
    one.until(lambda: one.messages[-1].get("reason") == "ok")


def test_windows_behind_a_slow_one_are_computed_in_order(
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
    assert slow.calls == len(due) >= 2
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
    one.feed(outlet, noise(2), then)
    fed.set()
    one.until(lambda: len([m for m in one.of("feedback") if m["valid"]]) >= 6)
    before = one.messages.index(one.of("feedback", valid=True)[5])
    assert "stale" not in {m.get("reason") for m in one.messages[:before]}


def test_a_prediction_that_is_no_number_is_never_published(
    lab: Start, predictor: Predictor
) -> None:
    class Broken(Slow):
        def __call__(self, window: Float32) -> Prediction:
            return super().__call__(window * np.float32(np.nan))

    one = lab(hop=0.25, predictor=Broken(predictor, lambda: None))
    one.feed(one.connect(), noise(settled(predictor)), clock())
    one.until(lambda: one.of("feedback", reason="not_finite"))
    assert not one.of("feedback", valid=True)


# ------------------------------------------------------------------ what is refused


def test_a_missing_stream_is_refused_with_those_there_are(lab: Start) -> None:
    other = EEGOutlet(stream_info(), "another")
    error = failing(lambda: lab(stream={"wait": 0.5}))
    assert isinstance(error, StreamError)
    assert "'another' (type EEG, 5 channels, 250 Hz" in str(error)
    other.close()


def test_a_missing_marker_stream_is_refused(lab: Start) -> None:
    def start() -> Lab:
        one = lab(markers=True, stream={"wait": 0.5})
        one.outlet()
        return one

    error = failing(start)
    assert isinstance(error, StreamError)
    assert "No marker stream" in str(error)


@pytest.mark.parametrize(
    ("info", "told"),
    [
        (stream_info(CHANNELS[1:]), "no channel Fp1"),
        (stream_info(rate=500), "500 Hz, not at the chain's 250 Hz"),
        (stream_info(kinds=["eog", *["eeg"] * 4]), "Channel Fp1 of .* is EOG"),
    ],
    ids=["missing", "rate", "eog"],
)
def test_a_stream_that_the_model_was_not_made_for_is_refused(
    lab: Start, info: Any, told: str
) -> None:
    def start() -> Lab:
        one = lab()
        one.outlet(info)
        return one

    error = failing(start)
    assert isinstance(error, ChannelError)
    with pytest.raises(ChannelError, match=told):
        raise error


def test_a_taken_port_is_refused_before_anything_is_written(
    lab: Start,
    tmp_path: Path,
    predictor: Predictor,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab()
    monkeypatch.setattr(publisher, "PATIENCE", 0.1)
    with pytest.raises(PublishError, match="another port with --publish"):
        Lab(tmp_path / "other", predictor, free_port)
    assert not (tmp_path / "other").exists()


# ------------------------------------------------------------------ the beginning and the end


def test_liblsl_is_hushed_before_its_first_use(
    lab: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []

    def tick() -> float:
        used.append("clock")
        return clock()

    monkeypatch.setattr(lsl, "hush", lambda: used.append("hush"))
    monkeypatch.setattr(lsl, "clock", tick)
    lab()
    assert used[0] == "hush"
    assert used.count("hush") == 1 < len(used)


def test_a_run_ends_by_itself_when_its_time_is_over(lab: Start) -> None:
    one = lab(duration=0.3)
    outlet = one.connect()
    outlet.close()  # even while a lost stream is waited for
    one.join()
    assert one.error is None
    assert one.of("status")[-1]["state"] == "stopped"


def test_sigterm_ends_a_run_with_everything_on_disk(
    tmp_path: Path,
    predictor: Predictor,
    recording: Recording,
    free_port: int,
    lsl_env: dict[str, str],
) -> None:
    outlet = EEGOutlet(stream_info(), "terminated")
    command = [
        *(sys.executable, "-P", "-m", "rtfeedback", "run", "--stream", "terminated"),
        *("--model", str(predictor.checkpoint.path), "--out", str(tmp_path)),
        *("--publish", f"tcp://127.0.0.1:{free_port}", "--hop", "0.25"),
    ]
    with subprocess.Popen(command, env=lsl_env, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert outlet.wait_for_consumers(3 * WAIT)
            outlet.push(recording.samples, clock() + np.arange(len(recording.samples)) / RATE)
            messages = tmp_path / "sub-01" / "ses-01" / "run-01" / "messages.jsonl"
            deadline = time.monotonic() + WAIT
            while '"samples_received": 3000' not in messages.read_text():
                assert time.monotonic() < deadline
            os.kill(process.pid, signal.SIGTERM)
            _, said = process.communicate(timeout=WAIT)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert "READY session=" in said
    assert "3000 samples received, 0 lost" in said
    lines: list[Message] = [json.loads(line) for line in messages.read_text().splitlines()]
    assert lines[-1]["state"] == "stopped"
    seqs = [m["seq"] for m in lines if m["topic"] == "feedback"]
    assert all(b == a + 1 for a, b in pairwise(seqs))
    outlet.close()
