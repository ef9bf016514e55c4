from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from rtfeedback.chain import ChainConfig, ChainSpec
from rtfeedback.chain.pick import Pick
from rtfeedback.errors import ChannelError, RtfeedbackError, StreamError
from rtfeedback.online import fieldtrip, fieldtrip_connection, fieldtrip_stream, lsl, receipt
from rtfeedback.online.address import make_source
from rtfeedback.online.fieldtrip import BufferAddress, FieldTripSource
from rtfeedback.online.fieldtrip_connection import Connection
from rtfeedback.online.fieldtrip_stream import FieldTripEvents, FieldTripStream
from rtfeedback.online.source import StreamLost
from rtfeedback.online.timeline import Timeline
from rtfeedback.signals import Chunk, Marker
from tests.fieldtrip_server import GET_DAT, GET_HDR, GET_OK, WAIT_DAT, FieldTripServer

pytest.importorskip("mne_realtime", reason="the extra 'fieldtrip' is not installed")

RATE = 250.0
WAIT = 10.0  # s that anything may take before a test fails
NOTHING: Callable[[], object] = lambda: None  # noqa: E731

Make = Callable[..., FieldTripServer]


@pytest.fixture
def serve() -> Iterator[Make]:
    """Return what starts a buffer, which ends with the test."""
    servers: list[FieldTripServer] = []

    def start(*arguments: Any, **settings: Any) -> FieldTripServer:
        servers.append(FieldTripServer(*arguments, **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(autouse=True)
def _connections_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test opened; it is not its subject."""
    made: list[Connection] = []

    def connect(*arguments: Any) -> Connection:
        made.append(Connection(*arguments))
        return made[-1]

    monkeypatch.setattr(fieldtrip, "Connection", connect)
    yield
    for connection in made:
        connection.close()


def source_of(server: FieldTripServer, query: str = "") -> FieldTripSource:
    return FieldTripSource(BufferAddress.parse(server.address + query), clock=lsl.clock)


def opened(server: FieldTripServer, query: str = "") -> FieldTripStream:
    return source_of(server, query).open_stream(timeout=WAIT, idle=NOTHING)


def ramp(n_times: int, first: int = 0, n_channels: int = 3) -> Any:
    """Return samples that say where they stand: 3 k, 3 k + 1 ... in row k."""
    size = n_times * n_channels
    return (np.arange(size) + first * n_channels).reshape(-1, n_channels)


def receive(stream: FieldTripStream, n_times: int) -> list[Chunk]:
    chunks: list[Chunk] = []
    deadline = time.monotonic() + WAIT
    while sum(len(chunk.stamps) for chunk in chunks) < n_times:
        assert time.monotonic() < deadline
        chunk = stream.pull(0.05)
        chunks += [chunk] if chunk else []
    return chunks


def receive_markers(events: FieldTripEvents, n: int) -> list[Marker]:
    got: list[Marker] = []
    deadline = time.monotonic() + WAIT
    while len(got) < n:
        assert time.monotonic() < deadline
        got += events.pull()
        time.sleep(0.002)
    return got


def lose(stream: FieldTripStream | FieldTripEvents) -> StreamLost:
    """Pull until the stream is lost."""
    deadline = time.monotonic() + WAIT
    with pytest.raises(StreamLost) as caught:  # noqa: PT012 (which pull raises is open)
        while time.monotonic() < deadline:
            stream.pull(0.02) if isinstance(stream, FieldTripStream) else stream.pull()
    return caught.value


# ------------------------------------------------------------------ what arrives


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "float32", "float64"])
def test_samples_of_any_type_arrive_bit_for_bit(serve: Make, dtype: str) -> None:
    server = serve(dtype=dtype)
    stream = opened(server)
    sent = ramp(40) - 50
    for first in range(0, 40, 7):
        server.put(sent[first : first + 7])
    chunks = receive(stream, 40)
    got = np.concatenate([chunk.samples for chunk in chunks])
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert got.tolist() == sent.tolist()
    assert any(dtype in note for note in stream.notes) == (dtype != "float32")
    recorded = [chunk.samples if chunk.wire is None else chunk.wire for chunk in chunks]
    assert np.concatenate(recorded).astype(dtype).tolist() == sent.tolist()
    wide = dtype if dtype in ("int32", "int64") else "float64"
    assert all(each.dtype in (np.float32, wide) for each in recorded)
    assert f"<channel_format>{recorded[0].dtype}".replace("float64", "double64") in (
        stream.description
    )


def test_stamps_are_the_counter_from_an_anchor_on_the_clock(serve: Make) -> None:
    server = serve()
    server.put(ramp(1000))  # before anyone listened
    stream = opened(server)
    before = lsl.clock()
    server.put(ramp(10, 1000))
    chunks = receive(stream, 10)
    server.put(ramp(300, 1010))
    chunks += receive(stream, 300)
    stamps = np.concatenate([chunk.stamps for chunk in chunks])
    np.testing.assert_allclose(np.diff(stamps), 1 / RATE, rtol=0, atol=1e-9)
    assert before <= stamps[9] <= lsl.clock()  # the newest of the first ones came just then
    assert chunks[0].samples[0].tolist() == [3000, 3001, 3002]


def test_a_pull_takes_a_second_of_samples_at_most(serve: Make) -> None:
    server = serve()
    stream = opened(server)
    server.put(ramp(1000))
    assert [len(chunk.stamps) for chunk in receive(stream, 1000)] == [250] * 4


def test_a_buffer_says_what_it_is(serve: Make) -> None:
    stream = opened(serve("EEG FP1-REF|EEG CZ-REF|ECG".replace(" ", "_").replace("|", " ")))
    assert stream.info.channels == ("Fp1", "Cz", "ECG")
    assert stream.info.kinds == ("eeg", "eeg", "ecg")
    assert (stream.info.sfreq, stream.info.reference) == (RATE, "REF")
    assert any("microvolts are assumed" in note for note in stream.notes)
    spec = ChainSpec(config=ChainConfig(), channels=("Cz", "Fp1"), sfreq=RATE)
    assert Pick(spec, stream.info).scales.tolist() == [1e-6, 1e-6]


def test_an_address_says_what_the_buffer_does_not(serve: Make) -> None:
    server = serve("")
    stream = opened(server, "?channels=C3,C4&unit=V&reference=FCz")
    assert stream.info.channels == ("C3", "C4")
    assert stream.info.units == ("V", "V")
    assert stream.info.reference == "FCz"
    with pytest.raises(StreamError, match="does not name each of its channels"):
        opened(server)
    with pytest.raises(StreamError, match="does not name each of its channels"):
        opened(server, "?channels=C3,C4,Cz")


# ------------------------------------------------------------------ loss


def test_overwritten_samples_are_a_counted_gap(serve: Make) -> None:
    server = serve(capacity=100)
    stream = opened(server)
    server.put(ramp(50))
    chunks = receive(stream, 50)
    server.put(ramp(300, 50))  # 200 of these are overwritten at once
    assert stream.pull(0.0) is None
    deadline = time.monotonic() + WAIT
    late: list[Chunk] = []
    while not late:
        assert time.monotonic() < deadline
        server.put(ramp(1, len(server.samples)))
        late += [chunk] if (chunk := stream.pull(0.05)) else []
    timeline = Timeline(RATE)
    for chunk in [*chunks, *late]:
        list(timeline.push(chunk))
    assert timeline.segment == 1
    counter = int(late[0].samples[0, 0]) // 3  # the samples say where they stand
    assert timeline.lost == counter - 50 > 0


def test_a_server_that_ends_is_a_lost_stream(serve: Make) -> None:
    server = serve()
    source = source_of(server)
    stream = source.open_stream(timeout=WAIT, idle=NOTHING)
    events = source.open_markers(timeout=WAIT, idle=NOTHING)
    server.close()
    lose(stream)
    lose(events)


def test_counters_that_go_back_are_a_lost_stream_and_it_is_found_again(serve: Make) -> None:
    server = serve()
    source = source_of(server)
    stream = source.open_stream(timeout=WAIT, idle=NOTHING)
    events = source.open_markers(timeout=WAIT, idle=NOTHING)
    server.put(ramp(50))
    server.put_event("TR", "R128", 3)
    receive(stream, 50)
    receive_markers(events, 1)
    server.restart()
    assert "counter went back" in str(lose(stream))
    assert "counter went back" in str(lose(events))
    again = source.open_stream(timeout=WAIT, idle=NOTHING)
    server.put(ramp(10))
    assert receive(again, 10)[0].samples[0].tolist() == [0, 1, 2]


def test_a_counter_that_stood_still_is_a_lost_stream(
    serve: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fieldtrip_stream, "_UNCOUNTED", 0.02)
    server = serve()
    stream = opened(server)
    server.put(ramp(1))
    receive(stream, 1)
    for _ in range(3):
        assert stream.pull(0.02) is None  # time goes on, and the counter does not
    server.put(ramp(1, 1))
    assert "stood still" in str(lose(stream))


def test_a_server_that_falls_silent_blocks_nothing_and_is_lost(
    serve: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fieldtrip_connection, "SILENT", 0.2)
    server = serve()
    source = source_of(server)
    stream = source.open_stream(timeout=WAIT, idle=NOTHING)
    events = source.open_markers(timeout=WAIT, idle=NOTHING)
    server.silent.set()
    began = time.monotonic()
    stream.pull(0.02)
    assert events.pull() == []
    assert time.monotonic() - began < WAIT / 2
    assert "has not answered" in str(lose(stream))
    assert "has not answered" in str(lose(events))


@pytest.mark.parametrize(
    "answer",
    [
        struct.pack("=HHI", 1, GET_OK, 2**32 - 1),
        struct.pack("=HHI", 7, GET_OK, 16) + bytes(16),
        struct.pack("=HHI", 1, GET_OK, 3) + bytes(3),
        struct.pack("=HHIIIII", 1, GET_OK, 16, 3, 2**31, 9, 0),
        struct.pack("=HHIIIII", 1, GET_OK, 16, 3, 4, 99, 0),
        struct.pack("=HHIIIII", 1, GET_OK, 16 + 24, 2, 3, 9, 24) + bytes(24),
    ],
    ids=["huge", "version", "short", "claims", "type", "shape"],
)
def test_an_answer_that_cannot_be_is_a_lost_stream(serve: Make, answer: bytes) -> None:
    server = serve()
    stream = opened(server)
    server.answers[GET_DAT] = answer
    server.put(ramp(4))
    lose(stream)


# ------------------------------------------------------------------ waiting


def test_an_answer_in_pieces_is_read_whole(serve: Make) -> None:
    server = serve()
    stream = opened(server)
    server.answers[WAIT_DAT] = struct.pack("=HHI", 1, 0x404, 8)[:5]
    assert stream.pull(0.02) is None
    assert stream.pull(0.02) is None
    rest = struct.pack("=HHI", 1, 0x404, 8)[5:] + struct.pack("=II", 4, 0)
    server.answers.clear()
    server.put(ramp(4))
    server._server.connections[-1].sendall(rest)
    assert receive(stream, 4)[0].samples.tolist() == ramp(4).tolist()


def test_an_absent_buffer_is_told_in_time_with_idle_meanwhile(free_port: int) -> None:
    source = make_source(f"fieldtrip://127.0.0.1:{free_port}", stream="EEG")
    calls: list[float] = []
    with pytest.raises(StreamError, match=r"No FieldTrip buffer can be read .* refused"):
        source.open_stream(timeout=0.3, idle=lambda: calls.append(time.monotonic()))
    assert np.median(np.diff(calls)) < 0.05


def test_a_buffer_without_a_header_is_waited_for(serve: Make) -> None:
    server = serve()
    server.filled = False
    with pytest.raises(StreamError, match="no program has put a header into it"):
        source_of(server).open_stream(timeout=0.1, idle=NOTHING)
    calls: list[int] = []

    def idle() -> None:
        calls.append(1)
        server.filled = len(calls) > 5

    source_of(server).open_stream(timeout=WAIT, idle=idle)


@pytest.mark.parametrize(
    ("sfreq", "labels"), [(0.0, "Cz Pz"), (float("nan"), "Cz Pz"), (-1.0, "Cz Pz")]
)
def test_a_header_without_a_rate_is_refused(serve: Make, sfreq: float, labels: str) -> None:
    with pytest.raises(StreamError, match="holds nothing that can be read"):
        opened(serve(labels, sfreq=sfreq))


def test_a_header_that_claims_too_many_channels_is_refused(serve: Make) -> None:
    server = serve()
    head = struct.pack("=IIIfII", 2**31, 0, 0, RATE, 9, 0)
    server.answers[GET_HDR] = struct.pack("=HHI", 1, GET_OK, len(head)) + head
    with pytest.raises(StreamError, match="2147483648 channels"):
        opened(server)


def test_markers_opened_first_miss_no_event_of_the_first_samples(serve: Make) -> None:
    server = serve()
    source = source_of(server)
    opened_first: list[FieldTripEvents] = []

    def first() -> None:
        opened_first.append(source.open_markers(timeout=WAIT, idle=NOTHING))
        server.put(ramp(20))
        server.put_event("TR", "early", 5)

    stream = source.open_stream(timeout=WAIT, idle=NOTHING, first=first)
    server.put(ramp(5, 20))
    server.put_event("TR", "R128", 22)
    chunk = receive(stream, 5)[0]
    got = receive_markers(opened_first[0], 2)
    assert [marker.label for marker in got] == ["early", "R128"]
    assert got[1].stamp == pytest.approx(chunk.stamps[2], abs=1e-9)


def test_what_is_lost_meanwhile_is_not_taken_for_the_buffer(serve: Make) -> None:
    server = serve()
    calls: list[int] = []

    def idle() -> None:
        calls.append(1)
        raise StreamLost("The EEG of before is lost")

    with pytest.raises(StreamLost, match="of before"):
        source_of(server).open_markers(timeout=WAIT, idle=idle)
    assert len(calls) == 1


def test_without_the_extra_it_is_told_what_to_install(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mne_realtime.externals.FieldTrip", None)
    source = make_source(f"fieldtrip://127.0.0.1:{free_port}", stream="EEG")
    with pytest.raises(RtfeedbackError, match=r"pip install 'rtfeedback\[fieldtrip\]'"):
        source.open_stream(timeout=WAIT, idle=NOTHING)


def test_samples_that_waited_for_this_process_do_not_look_fresh(
    serve: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    stream = opened(server)
    server.put(ramp(5))
    receive(stream, 5)
    last = time.monotonic()
    monkeypatch.setattr(receipt, "STALL", -WAIT)  # any pause is now a long one
    server.put(ramp(5, 5))
    assert receive(stream, 5)[0].received <= last


# ------------------------------------------------------------------ events


def test_events_lie_on_their_samples_and_wait_for_the_first_ones(serve: Make) -> None:
    server = serve()
    server.put_event("TR", "before", 0)
    source = source_of(server)
    events = source.open_markers(timeout=WAIT, idle=NOTHING)
    stream = source.open_stream(timeout=WAIT, idle=NOTHING)
    server.put_event("Stimulus", "S128", 2)
    server.put_event("trigger", 5, 4)
    server.put_event("Volume", "", 9)
    for _ in range(20):
        assert events.pull() == []  # where they lie is not known yet
        time.sleep(0.002)
    server.put(ramp(10))
    stamps = np.concatenate([chunk.stamps for chunk in receive(stream, 10)])
    got = receive_markers(events, 3)
    assert [marker.label for marker in got] == ["S128", "5", "Volume"]
    assert [marker.stamp for marker in got] == pytest.approx(stamps[[2, 4, 9]], abs=1e-9)
    assert source.markers_name == events.name == "events"


# ------------------------------------------------------------------ addresses


def test_an_address_has_a_port_even_where_it_says_none() -> None:
    assert BufferAddress.parse("fieldtrip://amp").port == 1972
    assert str(BufferAddress.parse("fieldtrip://amp:5000/")) == "fieldtrip://amp:5000"
    source = make_source("fieldtrip://amp?channels=Fp1, Cz&unit=mV", stream="EEG")
    assert isinstance(source, FieldTripSource)
    assert source.address.channels == ("Fp1", "Cz")


@pytest.mark.parametrize(
    "text",
    ["fieldtrip://", "fieldtrip://a:port", "fieldtrip://a/b", "fieldtrip://a?rate=3"],
)
def test_a_wrong_address_is_told_with_a_right_one(text: str) -> None:
    with pytest.raises(StreamError, match=r"Write fieldtrip://HOST\[:PORT\]"):
        make_source(text, stream="EEG")


def test_a_unit_that_is_no_voltage_is_refused_in_an_address() -> None:
    with pytest.raises(ChannelError, match="The unit 'T'"):
        make_source("fieldtrip://amp?unit=T", stream="EEG")


def test_another_source_is_told_with_those_there_are() -> None:
    with pytest.raises(StreamError, match="names no source of EEG"):
        make_source("rda://amp:51244", stream="EEG")
    source = make_source(None, stream="EEG", markers="M")
    assert (source.name, source.markers_name) == ("EEG", "M")
