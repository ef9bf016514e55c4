from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np
import pylsl
import pytest

from rtfeedback.errors import StreamError
from rtfeedback.online import inlets, lsl, receipt
from rtfeedback.online.description import parse
from rtfeedback.online.lsl import (
    EEGOutlet,
    LSLMarkers,
    LSLSource,
    LSLStream,
    MarkerOutlet,
    StreamLost,
    find_markers,
    find_stream,
)
from rtfeedback.online.timeline import Timeline
from rtfeedback.signals import Chunk, Marker, StreamInfo

RATE = 250.0
WAIT = 10.0  # s that anything may take before a test fails
# Sends a sample at 100 Hz for a minute, or until killed.
SENDER = """
import sys, time, pylsl
outlet = pylsl.StreamOutlet(pylsl.StreamInfo(sys.argv[1], sys.argv[2], 1, 100, "float32", "s"))
print("up", flush=True)
for _ in range(6000):
    outlet.push_sample([1.0])
    time.sleep(0.01)
"""


def info(*labels: str, kind: str = "eeg") -> StreamInfo:
    labels = labels or ("FP1", "Cz", "ECG")
    kinds = tuple("ecg" if label == "ECG" else kind for label in labels)
    return StreamInfo("file", RATE, labels, kinds, ("microvolts",) * len(labels), "FCz")


def samples(n_times: int, n_channels: int = 3) -> Any:
    return (
        np.random.default_rng(n_times).normal(0, 20, (n_times, n_channels)).astype(np.float32)
    )


def unnamed(name: str, fmt: str = "float32", kind: str = "EEG", labels: str = "") -> Any:
    """Return a raw pylsl outlet whose channels go by the given labels, if any."""
    width = len(labels.split()) or 2
    stated = pylsl.StreamInfo(name, kind, width, RATE, fmt, uuid.uuid4().hex)
    if labels:
        channels = stated.desc().append_child("channels")
        for label in labels.split():
            channels.append_child("channel").append_child_value("name", label)
    return pylsl.StreamOutlet(stated)


def receive(stream: LSLStream, n_times: int) -> list[Chunk]:
    """Pull until `n_times` samples have come."""
    chunks: list[Chunk] = []
    deadline = time.monotonic() + WAIT
    while sum(len(chunk.stamps) for chunk in chunks) < n_times:
        assert time.monotonic() < deadline
        chunk = stream.pull(0.1)
        chunks += [chunk] if chunk else []
    return chunks


def receive_to(stream: LSLStream, stamp: float) -> list[Chunk]:
    """Pull until a sample with a stamp has come."""
    chunks = receive(stream, 1)
    deadline = time.monotonic() + WAIT
    while abs(chunks[-1].stamps[-1] - stamp) > 1e-3:
        assert time.monotonic() < deadline
        chunk = stream.pull(0.1)
        chunks += [chunk] if chunk else []
    return chunks


def receive_markers(markers: LSLMarkers, n: int) -> list[Marker]:
    got: list[Marker] = []
    deadline = time.monotonic() + WAIT
    while len(got) < n:
        assert time.monotonic() < deadline
        got += markers.pull()
        time.sleep(0.005)
    return got


def until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def sender(
    name: str, env: dict[str, str], kind: str = "EEG"
) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-c", SENDER, name, kind]
    with subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def name() -> str:
    return f"EEG-{uuid.uuid4().hex[:8]}"


# ------------------------------------------------------------------ what arrives


def test_samples_arrive_bit_for_bit_and_stamps_to_the_clock_offset(name: str) -> None:
    outlet = EEGOutlet(info(), name)
    stream = find_stream(name, timeout=WAIT)
    sent, stamps = samples(500), lsl.clock() + np.arange(500) / RATE
    for first in range(0, 500, 37):
        outlet.push(sent[first : first + 37], stamps[first : first + 37])
    chunks = receive(stream, 500)
    assert np.array_equal(np.concatenate([c.samples for c in chunks]), sent)
    got = np.concatenate([c.stamps for c in chunks])
    assert np.abs(got - stamps).max() < 1e-3
    for chunk in chunks:
        assert chunk.samples.dtype == np.float32
        assert chunk.samples.flags.c_contiguous
        assert chunk.stamps.dtype == np.float64
    assert 0 <= time.monotonic() - chunks[-1].received < WAIT
    stream.close()


def test_the_outlet_sends_the_stamps_exactly(name: str) -> None:
    outlet = EEGOutlet(info(), name)
    found = pylsl.resolve_byprop("name", name, timeout=WAIT)[0]
    plain = pylsl.StreamInlet(found, processing_flags=pylsl.proc_none)
    plain.open_stream(WAIT)
    stamps = 123.456 + np.arange(101) / 3
    outlet.push(samples(100), stamps[:100])
    outlet.push(samples(1), stamps[100:])
    got: list[float] = []
    deadline = time.monotonic() + WAIT
    while len(got) < 101 and time.monotonic() < deadline:
        got += plain.pull_chunk(0.1)[1]
    assert got == stamps.tolist()


def test_a_stream_says_what_its_outlet_said(name: str) -> None:
    outlet = EEGOutlet(info(), name)
    stream = find_stream(name, timeout=WAIT)
    assert outlet.wait_for_consumers(WAIT)
    stated = stream.info
    assert (stated.name, stated.sfreq, stated.reference) == (name, RATE, "FCz")
    assert stated.channels == ("Fp1", "Cz", "ECG")
    assert stated.kinds == ("eeg", "eeg", "ecg")
    assert stated.units == ("microvolts",) * 3
    assert stated.source_id
    assert "<label>FP1</label>" in stream.description


@pytest.mark.parametrize("fmt", ["int8", "int16", "int32", "int64", "float32", "double64"])
def test_any_number_arrives_as_float32(name: str, fmt: str) -> None:
    outlet = unnamed(name, fmt, labels="C3 C4")
    stream = find_stream(name, timeout=WAIT)
    largest = {"int8": 127, "int16": 2**15 - 1}.get(fmt, 2**24)
    outlet.push_chunk([[1, -2], [largest, -largest]], [1.0, 2.0])
    chunks = receive(stream, 2)
    got = np.concatenate([c.samples for c in chunks])
    assert got.dtype == np.float32
    assert got.tolist() == [[1, -2], [largest, -largest]]
    assert any("become float32" in note for note in stream.notes) == (fmt != "float32")


def described(name: str, desc: str, n: int) -> Any:
    """Return a raw pylsl outlet whose channels are told by `label/type/unit` in a form."""
    form, *channels = desc.split()
    stated = pylsl.StreamInfo(name, "EEG", n, RATE, "float32", uuid.uuid4().hex)
    parent = stated.desc() if form == "bare" else stated.desc().append_child("channels")
    for label, kind, unit in (channel.split("/") for channel in channels):
        channel = parent.append_child("channel")
        channel.append_child_value("name" if form == "name" else "label", label)
        for key, value in (("type", kind), ("unit", unit)):
            if value:
                channel.append_child_value(key, value)
    return pylsl.StreamOutlet(stated)


@pytest.mark.parametrize("form", ["label", "name", "bare"])
def test_channels_are_named_however_a_sender_writes_them(name: str, form: str) -> None:
    outlet = described(
        name, f"{form} FP1-REF/EEG/uV CZ-REF/EEG/microvolts VEOG/EEG/ ACC_X/ACC/g", 4
    )
    stream = find_stream(name, timeout=WAIT)
    assert stream.info.channels == ("Fp1", "Cz", "VEOG", "ACC_X")
    assert stream.info.kinds == ("eeg", "eeg", "eog", "misc")
    assert stream.info.units == ("uV", "microvolts", "", "g")
    assert stream.info.reference == "REF"
    assert any("'-REF', which was taken off" in note for note in stream.notes)
    assert "<label>FP1-REF</label>" in stream.description or form == "name"
    assert outlet


def test_every_column_comes_auxiliary_ones_too(name: str) -> None:
    outlet = described(name, "label C3/EEG/uV ECG/ECG/mV GSR/GSR/uS", 3)
    stream = find_stream(name, timeout=WAIT)
    outlet.push_chunk([[1, 2, 3]], [1.0])
    assert receive(stream, 1)[0].samples.tolist() == [[1, 2, 3]]


def test_two_outlets_never_share_a_source(name: str) -> None:
    with_one = EEGOutlet(info(), name)
    first = find_stream(name, timeout=WAIT).info.source_id
    with_one.close()
    outlet = EEGOutlet(info(), name)
    second = find_stream(name, timeout=WAIT)
    assert second.info.source_id != first
    outlet.push(samples(3), np.arange(3) / RATE + 5)
    assert len(receive(second, 3)[0].stamps) >= 1


# ------------------------------------------------------------------ loss and lag


def test_samples_that_overflow_the_inlet_are_a_counted_gap(name: str) -> None:
    outlet = EEGOutlet(info(), name)
    stream = find_stream(name, timeout=WAIT, buffer=1)
    beside = find_stream(name, timeout=WAIT)  # that sees when all has gone through
    n, stamps = 4000, lsl.clock() + np.arange(4000) / RATE
    for first in range(0, n, 100):
        outlet.push(samples(100), stamps[first : first + 100])
        receive(beside, 100)
    outlet.push(samples(1), stamps[-1:] + 1 / RATE)
    chunks = receive_to(stream, stamps[-1] + 1 / RATE)
    timeline = Timeline(RATE)
    came = sum(len(chunk.stamps) for chunk in chunks)
    first_stamp = Chunk(samples(1), stamps[:1] - 1 / RATE, 0.0)
    for chunk in [first_stamp, *chunks]:
        list(timeline.push(chunk))
    assert came < n
    assert timeline.lost == n + 1 - came
    assert timeline.segment > 0


def test_samples_that_waited_for_this_process_do_not_look_fresh(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outlet = EEGOutlet(info(), name)
    stream = find_stream(name, timeout=WAIT)
    outlet.push(samples(5), np.arange(5) / RATE + 1)
    receive(stream, 5)
    last = time.monotonic()
    monkeypatch.setattr(receipt, "STALL", -WAIT)  # any pause is now a long one
    outlet.push(samples(5), np.arange(5) / RATE + 2)
    assert receive(stream, 5)[0].received <= last


# ------------------------------------------------------------------ waiting


def test_a_pull_waits_for_the_first_sample_only(name: str) -> None:
    outlet = EEGOutlet(info(), name)
    stream = find_stream(name, timeout=WAIT)
    outlet.push(samples(5), np.arange(5) / RATE + 1)
    before = time.monotonic()
    chunk = stream.pull(WAIT)
    assert chunk is not None
    assert time.monotonic() - before < WAIT / 2


def test_a_pull_takes_a_second_of_samples_at_most(name: str) -> None:
    outlet = EEGOutlet(info(), name)
    stream = find_stream(name, timeout=WAIT)
    outlet.push(samples(1000), np.arange(1000) / RATE + 1)
    assert max(len(chunk.stamps) for chunk in receive(stream, 1000)) <= RATE


def test_a_silent_stream_gives_nothing_in_time(name: str) -> None:
    outlet = EEGOutlet(info(), name)
    stream = find_stream(name, timeout=WAIT)
    before = time.monotonic()
    assert stream.pull(0.05) is None
    assert 0.04 < time.monotonic() - before < 1
    outlet.close()


def test_a_frozen_sender_does_not_block(name: str, lsl_env: dict[str, str]) -> None:
    with sender(name, lsl_env, "Motion") as process:
        found = pylsl.resolve_byprop("name", name, timeout=WAIT)[0]
        inlet, _ = inlets._open(found, 360, lambda: None)
        os.kill(process.pid, signal.SIGSTOP)
        until(lambda: not inlet.pull_chunk(0.3)[1])
        before = time.monotonic()
        for _ in range(3):
            assert not inlet.pull_chunk(0.05, min_samples=1)[1]
        assert time.monotonic() - before < 1
        os.kill(process.pid, signal.SIGCONT)


def test_idle_runs_while_a_stream_is_awaited_and_opened(name: str) -> None:
    calls: list[float] = []
    with pytest.raises(StreamError):
        find_stream(name, timeout=0.5, idle=lambda: calls.append(time.monotonic()))
    outlet = EEGOutlet(info(), name)
    calls.append(time.monotonic())
    stream = find_stream(name, timeout=WAIT, idle=lambda: calls.append(time.monotonic()))
    # 50 ms, and what other processes on the machine may take of them.
    assert np.median(np.diff(calls)) < 0.05
    assert outlet.consumed
    stream.close()


def test_a_lost_stream_says_so(name: str) -> None:
    outlet = EEGOutlet(info(), name)
    stream = find_stream(name, timeout=WAIT)
    outlet.close()
    deadline = time.monotonic() + WAIT
    with pytest.raises(StreamLost, match=name):  # noqa: PT012 (which pull raises is open)
        while time.monotonic() < deadline:
            stream.pull(0.05)
    stream.close()


def pulling(stream: LSLStream, wanted: int) -> tuple[Thread, Queue[Chunk | None]]:
    """Pull in a thread for longer than any test takes; return it, and what comes of it."""
    came: Queue[Chunk | None] = Queue()
    thread = Thread(target=lambda: came.put(stream.pull(10 * WAIT, wanted)))
    thread.start()
    return thread, came


@pytest.mark.parametrize("fmt", ["float32", "int16"])
def test_what_a_pull_had_got_when_its_stream_ended_is_returned(name: str, fmt: str) -> None:
    outlet = unnamed(name, fmt, labels="C3 C4")
    stream = find_stream(name, timeout=WAIT)
    thread, came = pulling(stream, 100)
    samples = np.arange(60).reshape(30, 2)
    outlet.push_chunk(samples.tolist(), 5.0)
    until(lambda: np.count_nonzero(stream._inlet._stamps[:100]) == 30)  # liblsl wrote them
    del outlet
    thread.join(WAIT)
    chunk = came.get_nowait()
    assert chunk is not None
    np.testing.assert_array_equal(chunk.samples, samples)
    assert chunk.stamps[-1] == pytest.approx(5.0, abs=1e-3)
    with pytest.raises(StreamLost, match=name) as lost:
        stream.pull(WAIT)
    assert "could not be read" not in str(lost.value)
    stream.close()


def test_a_lost_stream_is_left_at_once(name: str) -> None:
    """Not when Python next collects its garbage: till then the sender would see a reader."""
    outlet = unnamed(name, labels="C3 C4")
    stream = find_stream(name, timeout=WAIT)
    inlet = weakref.ref(stream._inlet._inlet)
    del outlet
    gc.disable()
    try:
        with suppress(StreamLost):
            until(lambda: stream.pull(0.05) and False)
        stream.close()
        assert inlet() is None
    finally:
        gc.enable()


def test_what_liblsl_gives_to_nobody_is_counted(name: str) -> None:
    outlet = unnamed(name, labels="C3 C4")
    stream = find_stream(name, timeout=WAIT)
    outlet.push_chunk([[1.0, 2.0]] * 30, 5.0)
    until(lambda: stream._inlet.waiting() == 30)
    del outlet
    got = 0
    with pytest.raises(StreamLost) as lost:  # noqa: PT012 (which pull raises is open)
        while True:
            chunk = stream.pull(0.1, 100)
            got += len(chunk.stamps) if chunk else 0
    unread = re.search(r"(\d+) samples that had arrived could not", str(lost.value))
    assert got + (int(unread[1]) if unread else 0) == 30
    stream.close()


# ------------------------------------------------------------------ what is refused


def test_a_missing_stream_is_told_with_those_there_are(name: str) -> None:
    outlet = EEGOutlet(info("C3"), name)
    with pytest.raises(StreamError) as caught:
        find_stream("nowhere", timeout=1.0)
    assert f"'{name}' (type EEG, 1 channels, 250 Hz, on" in str(caught.value)
    assert "rtfeedback play FILE --stream nowhere" in str(caught.value)
    outlet.close()


def test_two_streams_of_a_name_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsl, "_RIVALRY", 0.2)
    outlets = [EEGOutlet(info(), name), EEGOutlet(info(), name)]
    with pytest.raises(StreamError, match="There are 2 EEG streams") as caught:
        find_stream(name, timeout=1.0)
    assert str(caught.value).count("source ") == len(outlets)


def test_of_streams_of_a_name_the_one_of_type_eeg_counts(name: str) -> None:
    outlets = [unnamed(name, kind=kind, labels="C3 C4") for kind in ("ACC", "EEG", "Markers")]
    stream = find_stream(name, timeout=WAIT)
    assert "<type>EEG</type>" in stream.description
    assert len(outlets) == 3


@pytest.mark.parametrize("labels", ["", "C3 c3"])
def test_a_stream_without_a_name_per_channel_is_refused(name: str, labels: str) -> None:
    outlet = unnamed(name, labels=labels)
    with pytest.raises(StreamError, match="does not name each of its channels"):
        find_stream(name, timeout=WAIT)
    assert outlet


# ------------------------------------------------------------------ markers


def test_markers_arrive_with_label_and_stamp_without_waiting(name: str) -> None:
    outlet = MarkerOutlet(name)
    markers = find_markers(name, timeout=WAIT)
    assert markers.pull() == []
    for stamp, label in ((5.0, "R128"), (5.5, "S  1"), (6.0, "größer")):
        outlet.push(label, stamp)
    got = receive_markers(markers, 3)
    assert [marker.label for marker in got] == ["R128", "S  1", "größer"]
    assert [marker.stamp for marker in got] == pytest.approx([5.0, 5.5, 6.0], abs=1e-3)
    markers.close()


def test_number_markers_become_labels(name: str) -> None:
    outlet = pylsl.StreamOutlet(pylsl.StreamInfo(name, "Markers", 1, 0, "int32", name))
    markers = find_markers(name, timeout=WAIT)
    outlet.push_sample([128], 7.0)
    assert receive_markers(markers, 1)[0].label == "128"


def test_a_lost_marker_stream_says_so(name: str) -> None:
    outlet = MarkerOutlet(name)
    markers = find_markers(name, timeout=WAIT)
    outlet.close()
    with pytest.raises(StreamLost, match=name):
        until(markers.pull)


# ------------------------------------------------------------------ the source


def test_what_is_to_come_first_comes_before_the_stream_is_opened(name: str) -> None:
    outlet, marker_outlet = EEGOutlet(info(), name), MarkerOutlet(name + "-markers")
    source = LSLSource(name, name + "-markers")
    markers: list[LSLMarkers] = []

    def first() -> None:
        assert not outlet.consumed
        markers.append(source.open_markers(timeout=WAIT, idle=lambda: None))

    stream = source.open_stream(timeout=WAIT, idle=lambda: None, first=first)
    assert outlet.wait_for_consumers(WAIT)
    marker_outlet.push("R128", 5.0)
    assert receive_markers(markers[0], 1)[0].label == "R128"
    assert (stream.info.name, markers[0].name) == (source.name, source.markers_name)
    with pytest.raises(ValueError, match="no marker stream"):
        LSLSource(name).open_markers(timeout=0.0, idle=lambda: None)


# ------------------------------------------------------------------ sessions


def test_another_session_is_out_of_sight(
    name: str, lsl_env: dict[str, str], tmp_path: Path
) -> None:
    other = tmp_path / "lsl_api.cfg"
    other.write_text(lsl.session_config("another-session"))
    elsewhere = {**lsl_env, "LSLAPICFG": str(other)}
    with sender(name, lsl_env), sender(name, elsewhere):
        until(lambda: name in [stream.name for stream in lsl.streams(0.5)])
        assert [stream.name for stream in lsl.streams(0.5)].count(name) == 1


def test_isolating_too_late_is_an_error(lsl_session: str) -> None:
    with pytest.raises(RuntimeError, match="before isolate"):
        lsl.isolate("too-late")


def test_hushing_leaves_a_configured_lsl_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(pylsl, "set_config_content", told.append)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LSLAPICFG", raising=False)
    lsl.hush()
    assert told == ["[log]\nlevel = -3\n"]
    monkeypatch.setenv("LSLAPICFG", "mine.cfg")
    lsl.hush()
    monkeypatch.delenv("LSLAPICFG")
    (tmp_path / "lsl_api.cfg").touch()
    lsl.hush()
    assert len(told) == 1


def test_a_session_name_cannot_smuggle_settings() -> None:
    with pytest.raises(ValueError, match="cannot name"):
        lsl.session_config("x\n[multicast]\nResolveScope = global")


def test_a_control_character_in_a_label_is_told() -> None:
    outlet = unnamed("EEG-control", labels="C3 C\x01z")
    with pytest.raises(
        StreamError, match=r"Its XML is broken .*<name>C&#01;z.*control characters"
    ):
        find_stream("EEG-control", timeout=WAIT)
    del outlet


@pytest.mark.parametrize("xml", ["", "<info>", "<info><name>&</name></info>", "EEG"])
def test_broken_xml_is_a_stream_error(xml: str) -> None:
    with pytest.raises(StreamError, match="cannot be read"):
        parse(xml)
