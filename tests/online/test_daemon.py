from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offline.eeg.recordings import Recording
from rtfeedback.errors import ChannelError, PublishError, StreamError
from rtfeedback.online import lsl, publisher
from rtfeedback.online.lsl import EEGOutlet, clock
from rtfeedback.predictor import Predictor
from tests.lab import (
    CHANNELS,
    RATE,
    STALE,
    TR,
    WAIT,
    Lab,
    Message,
    Start,
    bare,
    desk_values,
    noise,
    stream_info,
)


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
            while '"samples_received":3000' not in messages.read_text():
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
