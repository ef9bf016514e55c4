from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.eeg.recordings import read_recording
from rtfeedback.errors import RecordingError, StreamError
from rtfeedback.online.description import parse
from rtfeedback.online.offsets import uid_of
from rtfeedback.xdf import (
    Boundary,
    ClockOffset,
    FileHeader,
    Samples,
    StreamFooter,
    StreamHeader,
    XDFChunk,
    count_streams,
    read_chunks,
    whole_length,
)
from rtfeedback.xdf.chunks import DTYPES, parse_info
from rtfeedback.xdf.writing import (
    boundary,
    described,
    file_header,
    numbers,
    stream_footer,
    stream_header,
    texts,
)

pyxdf = pytest.importorskip("pyxdf")

LABELS = ["R128", "", "Größe µV", "脳波 😀", "x" * 300, "a\0b\n"]


def info(channel_format: str, n_channels: int, rate: float = 0.0, kind: str = "EEG") -> str:
    labels = "".join(f"<channel><label>E{100 + i}</label></channel>" for i in range(n_channels))
    return (
        f"<info><name>{channel_format}</name><type>{kind}</type><channel_count>{n_channels}"
        f"</channel_count><nominal_srate>{rate}</nominal_srate><channel_format>"
        f"{channel_format}</channel_format><desc><channels>{labels}</channels></desc></info>"
    )


def header(stream: int, xml: str) -> bytes:
    return stream_header(StreamHeader(stream, xml, 0, "", 0.0))


def write(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


def load(path: Path) -> list[dict[str, Any]]:
    """Read a file by pyxdf, with what is in it left as it is."""
    streams, _ = pyxdf.load_xdf(path, synchronize_clocks=False, dejitter_timestamps=False)
    return list(streams)


def chunks(path: Path, of: type = Samples) -> list[Any]:
    return [chunk for chunk in read_chunks(path) if isinstance(chunk, of)]


def random_bits(channel_format: str, n_times: int, n_channels: int) -> Any:
    """Return values of any bits: huge, tiny, negative zeros, infinities and NaN."""
    dtype = DTYPES[channel_format]
    raw = np.random.default_rng(n_times).bytes(n_times * n_channels * dtype.itemsize)
    return np.frombuffer(raw, dtype).reshape(n_times, n_channels)


def stamps(n_times: int, start: float = 50.0) -> Any:
    return start + np.random.default_rng(n_times).uniform(0, 1, n_times).cumsum()


def small_file(cuts: tuple[int, ...] = (0, 3, 4, 9, 9, 21, 40)) -> bytes:
    """Return EEG of 100 Hz in chunks, with a marker after each and boundaries between."""
    eeg = np.arange(40 * 2, dtype=np.float32).reshape(40, 2)
    times = 7 + np.arange(40) / 100
    parts = [file_header(), header(1, info("float32", 2, 100.0))]
    parts.append(header(2, info("string", 1, kind="Markers")))
    for i, (a, b) in enumerate(pairwise(cuts)):
        parts.append(numbers(1, times[a:b], eeg[a:b]))
        parts.append(texts(2, [7 + i / 10], [[f"S{i}"]]))
        parts += [boundary()] if i % 3 == 2 else []
    parts += [stream_footer(1, 7.0, float(times[-1]), 40), stream_footer(2, 7.0, 7.5, 6)]
    return b"".join(parts)


# ------------------------------------------------------------------ there and back


def test_what_is_written_pyxdf_gives_back_bit_for_bit(tmp_path: Path) -> None:
    parts = [file_header()]
    expected: dict[str, tuple[Any, Any]] = {}
    for stream, name in enumerate(DTYPES, 1):
        values, times = random_bits(name, 50, 3), stamps(50)
        expected[name] = values, times
        parts.append(header(stream, info(name, 3, 250.0)))
        for a, b in pairwise((0, 1, 8, 8, 50)):
            parts.append(numbers(stream, times[a:b], values[a:b]))
    parts += [header(9, info("string", 2)), texts(9, [], [])]
    rows = [(label, label[::-1]) for label in LABELS]
    parts += [texts(9, [1.5 * i for i in range(6)], rows), stream_footer(9, 0.0, 7.5, 6)]
    streams = {s["info"]["name"][0]: s for s in load(write(tmp_path / "a.xdf", *parts))}
    assert set(streams) == {*DTYPES, "string"}
    for name, (values, times) in expected.items():
        assert streams[name]["time_series"].tobytes() == values.tobytes()
        assert np.array_equal(streams[name]["time_stamps"], times)
    assert [tuple(row) for row in streams["string"]["time_series"]] == rows
    assert streams["string"]["footer"]["info"]["sample_count"] == ["6"]


def test_chunks_come_back_as_they_were_written_and_in_their_order(tmp_path: Path) -> None:
    cuts = (0, 3, 4, 9, 9, 21, 40)
    path = write(tmp_path / "a.xdf", small_file(cuts))
    kinds = [type(chunk) for chunk in read_chunks(path)]
    pair = [Samples, Samples]
    assert kinds == [
        *(FileHeader, StreamHeader, StreamHeader),
        *(3 * pair),
        Boundary,
        *(3 * pair),
        *(Boundary, StreamFooter, StreamFooter),
    ]
    eeg = [chunk for chunk in chunks(path) if chunk.stream == 1]
    assert [len(chunk.stamps) for chunk in eeg] == np.diff(cuts).tolist()
    assert all(chunk.values.flags.c_contiguous for chunk in eeg)
    assert all(chunk.values.dtype == np.float32 for chunk in eeg)
    assert np.array_equal(np.concatenate([c.values for c in eeg]).ravel(), np.arange(80.0))
    assert [c.values[0, 0] for c in chunks(path) if c.stream == 2] == [
        f"S{i}" for i in range(6)
    ]


@pytest.mark.parametrize("channel_format", DTYPES)
def test_every_format_comes_back_bit_for_bit(tmp_path: Path, channel_format: str) -> None:
    values, times = random_bits(channel_format, 33, 5), stamps(33)
    parts = [header(7, info(channel_format, 5, 10.0)), numbers(7, times, values)]
    path = write(tmp_path / "a.xdf", file_header(), *parts)
    (chunk,) = chunks(path)
    assert chunk.values.dtype == DTYPES[channel_format]
    assert chunk.values.tobytes() == values.tobytes()
    assert chunk.stamps.tobytes() == times.tobytes()


@given(labels=st.lists(st.text(), max_size=5))
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str]
) -> None:
    parts = [file_header(), header(1, info("string", 1))]
    parts.append(texts(1, [0.0] * len(labels), [[label] for label in labels]))
    path = write(tmp_path_factory.mktemp("xdf") / "a.xdf", *parts)
    (chunk,) = chunks(path)
    assert [row[0] for row in chunk.values] == labels
    (stream,) = load(path)
    assert [row[0] for row in stream["time_series"]] == labels


def test_text_that_is_no_unicode_is_written_visibly(tmp_path: Path) -> None:
    parts = [header(1, info("string", 1)), texts(1, [0.0], [["S\udc80 1"]])]
    (chunk,) = chunks(write(tmp_path / "a.xdf", file_header(), *parts))
    assert chunk.values[0, 0] == "S\\udc80 1"


@pytest.mark.parametrize("name", ["minimal", "clock_resets", "empty_streams", "muselsl2_P001"])
def test_files_of_others_are_read_as_pyxdf_reads_them(shared: Path, name: str) -> None:
    path = shared / "xdf" / f"{name}.xdf"
    assert whole_length(path) == path.stat().st_size
    streams = {stream["info"]["stream_id"]: stream for stream in load(path)}
    assert {said.stream for said in chunks(path, StreamHeader)} == set(streams)
    for number, stream in streams.items():
        mine = [chunk for chunk in chunks(path) if chunk.stream == number]
        times = np.concatenate([[], *(chunk.stamps for chunk in mine)])
        assert np.array_equal(times, stream["time_stamps"])
        rows = [row for chunk in mine for row in chunk.values.tolist()]
        assert rows == [list(row) for row in stream["time_series"]]
        offsets = [offset for offset in chunks(path, ClockOffset) if offset.stream == number]
        assert [offset.value for offset in offsets] == stream["clock_values"]


def test_stamps_that_are_left_out_follow_from_the_rate(tmp_path: Path) -> None:
    rows = [struct.pack("<Bdh", 8, 5.0, 1), struct.pack("<Bh", 0, 2), struct.pack("<Bh", 0, 3)]
    parts = [file_header(), header(1, info("int16", 1, 4.0))]
    for row in rows:
        parts.append(raw_chunk(3, struct.pack("<IBB", 1, 1, 1) + row))
    path = write(tmp_path / "a.xdf", *parts)
    assert [(c.stamps[0], c.values[0, 0]) for c in chunks(path)] == [
        (5.0, 1),
        (5.25, 2),
        (5.5, 3),
    ]
    assert load(path)[0]["time_stamps"].tolist() == [5.0, 5.25, 5.5]


def test_values_without_their_stamps_are_not_written() -> None:
    with pytest.raises(ValueError, match="do not go with"):
        numbers(1, np.zeros(3), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="no format for"):
        numbers(1, np.zeros(3), np.zeros((3, 2), np.uint16))


# ------------------------------------------------------------------ what a stream says


def test_a_description_that_a_file_can_hold_is_kept_to_the_letter() -> None:
    for stated in (("float32", 2, 250.0), ("int32", 3, 0.0), ("string", 2, 0.0)):
        xml = '<?xml version="1.0"?>\n' + info(*stated)
        assert described(3, xml) == StreamHeader(3, xml, stated[1], stated[0], stated[2])


@pytest.mark.parametrize(
    "xml",
    [
        info("string", 1),
        info("int32", 3),  # numbers as markers
        info("string", 3),
        info("float16", 3, 250.0),
        info("float32", 3, 250.0).replace("<name>float32</name>", "<name>\x01\ud800</name>"),
        info("float32", 3, 250.0).replace("<name>float32</name>", "<name/>"),
        "<info></info>",
        "<info><name>half",
        "<!DOCTYPE info><info><name>typed</name></info>",
        "",
        "<info><nominal_srate>fast</nominal_srate></info>",
        info("float32", 3, 250.0).replace("_count>3", "_count>three"),
    ],
)
def test_any_description_becomes_one_that_every_reader_takes(tmp_path: Path, xml: str) -> None:
    written = described(1, xml)
    dtype, n = DTYPES.get(written.channel_format), written.n_channels
    block = numbers(1, np.ones(1), np.ones((1, 3), dtype)) if dtype else None
    parts = [stream_header(written), block or texts(1, [1.0], [["R128"] * n])]
    path = write(tmp_path / "a.xdf", file_header(), *parts)
    (stream,) = load(path)
    assert stream["info"]["name"][0]
    assert list(stream["time_series"][0]) == ([1, 1, 1] if dtype else ["R128"] * n)
    assert chunks(path, StreamHeader) == [written]


def test_a_description_keeps_what_else_it_says() -> None:
    strange = described(1, info("float32", 2, 250.0).replace("<name>", "<name>Cap\x01"))
    assert ElementTree.fromstring(strange.xml).findtext("name") == "Cap\ufffdfloat32"
    assert strange.n_channels == 2
    unnamed = info("int32", 2, kind="Buttons").replace("<name>int32</name>", "")
    root = ElementTree.fromstring(described(1, unnamed).xml)
    assert root.findtext("channel_format") == "int32"
    assert root.findtext("type") == "Buttons"
    assert len(root.findall("desc/channels/channel")) == 2


@pytest.mark.parametrize("broken", ["<!DOCTYPE info [<!ENTITY a 'b'>]><info/>", "<info>"])
def test_what_a_stream_says_is_read_in_one_way_everywhere(broken: str) -> None:
    with pytest.raises(ValueError, match="XML"):
        parse_info(broken)
    with pytest.raises(StreamError, match="cannot be read"):
        parse(broken)
    assert uid_of(broken) is None
    assert uid_of("<info><uid>7</uid></info>") == "7"


def test_streams_that_were_begun_and_ended_are_counted(tmp_path: Path) -> None:
    path, whole = tmp_path / "a.xdf", small_file()
    assert count_streams(write(path, whole)) == (2, 2)
    assert count_streams(write(path, whole[:-1])) == (2, 1)
    assert count_streams(write(path, whole, header(3, info("string", 1)))) == (3, 2)
    assert count_streams(write(path, file_header())) == (0, 0)


# ------------------------------------------------------------------ cut files


def prefixes(path: Path, whole: bytes) -> Iterator[int]:
    """Write a file cut at every byte."""
    for n_bytes in range(len(whole) + 1):
        path.write_bytes(whole[:n_bytes])
        yield n_bytes


def key(chunk: XDFChunk) -> object:
    """Return what can be compared of a chunk."""
    if isinstance(chunk, Samples):
        return chunk.stream, chunk.stamps.tolist(), chunk.values.tolist()
    return chunk


def test_a_file_cut_anywhere_holds_its_whole_chunks_and_no_false_one(tmp_path: Path) -> None:
    whole = small_file()
    path = tmp_path / "a.xdf"
    every = [key(chunk) for chunk in read_chunks(write(path, whole))]
    held = []
    for n_bytes in prefixes(path, whole):
        if n_bytes < 4:
            with pytest.raises(RecordingError, match="not an XDF file"):
                whole_length(path)
            continue
        found = [key(chunk) for chunk in read_chunks(path)]
        assert found == every[: len(found)]
        assert 4 <= whole_length(path) <= n_bytes
        held.append(len(found))
    assert sorted(set(held)) == list(range(len(every) + 1))  # each chunk as soon as it is whole
    assert held == sorted(held)


def test_a_recording_cut_anywhere_is_read_up_to_its_last_whole_chunk(tmp_path: Path) -> None:
    whole = small_file()
    path = tmp_path / "a.xdf"
    lengths = set()
    for n_bytes in prefixes(path, whole):
        try:
            recording = read_recording(path)
        except RecordingError:
            continue  # too short to be one
        n_times = len(recording.samples)
        expected = np.arange(2 * n_times, dtype=np.float32).reshape(-1, 2)
        assert np.array_equal(recording.samples, expected)
        assert [m.label for m in recording.markers] == [
            f"S{i}" for i in range(len(recording.markers))
        ]
        cut = n_bytes - whole_length(path)
        assert any(f"last {cut} of {n_bytes} bytes" in n for n in recording.notes) == (cut > 0)
        lengths.add(n_times)
    assert lengths == {3, 4, 9, 21, 40}


def test_zeros_that_a_lost_machine_left_at_the_end_are_left_out(tmp_path: Path) -> None:
    whole = small_file()
    path = write(tmp_path / "a.xdf", whole, bytes(5000))
    assert whole_length(path) == len(whole)
    assert len(read_recording(path).samples) == 40


# ------------------------------------------------------------------ damaged and forged files


def raw_chunk(tag: int, content: bytes, length: int | None = None) -> bytes:
    n_bytes = len(content) + 2 if length is None else length
    return struct.pack("<BQH", 8, n_bytes, tag) + content


SAMPLES_OF = struct.pack("<I", 1)
DAMAGE = {
    "samples": raw_chunk(3, SAMPLES_OF + struct.pack("<BQ", 8, 2**62) + bytes(90)),
    "some_samples": raw_chunk(3, SAMPLES_OF + struct.pack("<BI", 4, 2**31) + bytes(90)),
    "size": raw_chunk(3, bytes(90), length=2**62) + boundary(),
    "size_in_file": raw_chunk(3, bytes(90), length=50) + boundary(),
    "no_tag": raw_chunk(3, bytes(90), length=1) + boundary(),
    "no_length": b"\x07" + bytes(90),
    "stamp": raw_chunk(3, SAMPLES_OF + b"\x01\x01\x05" + bytes(16)),
    "left_over": raw_chunk(3, SAMPLES_OF + b"\x01\x01\x08" + bytes(17)),
    "number_length": raw_chunk(3, SAMPLES_OF + b"\x03" + bytes(90)),
    "text": raw_chunk(3, struct.pack("<IBBBdBQ", 2, 1, 1, 8, 1.0, 8, 2**62) + b"R128"),
    "texts": raw_chunk(3, struct.pack("<IBQ", 2, 8, 2**62) + bytes(90)),
    "unknown_stream": raw_chunk(3, struct.pack("<IBB", 77, 1, 0)),
    "no_stream": raw_chunk(3, b"\x01"),
    "offset": raw_chunk(4, SAMPLES_OF + bytes(8)),
    "header_twice": header(1, info("float32", 2)),
    "header": header(3, "<info>"),
    "no_count": header(3, "<info></info>"),
    "no_channels": header(3, info("float32", 0)),
    "format": header(3, info("float16", 2)),
    "many": header(3, info("float32", 1).replace("_count>1", f"_count>{10**18}")),
    "laughs": header(
        3,
        "<!DOCTYPE i ["
        + '<!ENTITY a0 "ha">'
        + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 20}">' for i in range(1, 12))
        + "]><info>&a11;</info>",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_forged_sizes_and_damage_are_refused_and_cost_nothing(
    tmp_path: Path, damage: str
) -> None:
    begin = [file_header(), header(1, info("float32", 2, 100.0))]
    begin += [
        header(2, info("string", 1)),
        numbers(1, stamps(5), np.ones((5, 2), "<f4")),
    ]
    path = write(tmp_path / "a.xdf", *begin, DAMAGE[damage], boundary())
    tracemalloc.start()
    with pytest.raises(RecordingError, match="damaged before its end") as caught:
        list(read_chunks(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8e6
    # Where a wrong size is within the file, what it leads to is what is found.
    whole = len(b"".join(begin)) + (59 if damage == "size_in_file" else 0)
    assert f"truncate -s {whole} " in caught.value.do
    with pytest.raises(RecordingError, match="damaged before its end"):
        read_recording(path)


def test_a_file_with_any_byte_changed_is_refused_or_read_but_never_crashes(
    tmp_path: Path,
) -> None:
    whole = small_file()
    path = tmp_path / "a.xdf"
    refused = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            list(read_chunks(path))
        except RecordingError:
            refused += 1
    assert refused > len(whole) / 10


def test_a_chunk_of_an_unknown_kind_is_passed_over(tmp_path: Path) -> None:
    whole = small_file()
    path = write(tmp_path / "a.xdf", whole, raw_chunk(99, b"of a later version"), boundary())
    assert whole_length(path) == path.stat().st_size
    assert isinstance(list(read_chunks(path))[-1], Boundary)


@pytest.mark.parametrize("content", [b"", b"XD", b"RIFF" + bytes(50)])
def test_what_is_no_xdf_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RecordingError, match=r"not an XDF file.*Give the \.xdf"):
        whole_length(write(tmp_path / "a.xdf", content))


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.xdf"):
        with pytest.raises(RecordingError, match="cannot be read"):
            list(read_chunks(path))


def test_damage_far_from_a_boundary_is_found(tmp_path: Path) -> None:
    # A boundary may lie across two of the blocks in which what follows is searched.
    lost = raw_chunk(3, bytes(2**20 - 20), length=2**40)
    for shift in range(0, 40, 3):
        path = write(tmp_path / "a.xdf", file_header(), lost, bytes(shift), boundary())
        with pytest.raises(RecordingError, match="damaged"):
            whole_length(path)
