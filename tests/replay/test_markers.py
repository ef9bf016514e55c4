"""Markers are recorded as they were on the wire, and become the same labels in a replay."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pylsl
import pytest

from rtfeedback.online.inlets import LSLMarkers
from rtfeedback.online.lsl import clock, find_markers
from rtfeedback.online.recorder import Recorder
from rtfeedback.predictor import Predictor
from rtfeedback.replay.archive import Archive
from rtfeedback.replay.replay import replay
from rtfeedback.replay.report import is_same
from rtfeedback.signals import Marker, label_of
from rtfeedback.xdf import Samples, StreamHeader, read_chunks
from tests.lab import Lab, noise, save_model, settled
from tests.replay.conftest import masking_spec

PATIENCE = 20.0  # s after which a test has failed
# What was sent in each format, by channel.
WIRES: dict[str, list[tuple[Any, ...]]] = {
    "string": [("R128", "x"), ("", "größer 😀"), ("1234567", "a\nb")],
    "int8": [(-128, 1), (127, 2)],
    "int16": [(5, 1), (32767, 0)],
    "int32": [(1234567, 1), (1234568, -2)],
    "int64": [(2**53, 0), (2**53 + 1, 0), (-(2**63), 1)],
    "float32": [(0.1, 1.5), (float(np.nextafter(np.float32(0.1), np.float32(1))), math.inf)],
    "double64": [(5.0, 0.0), (1234567.25, 0.0), (1234567.25000001, 0.0), (math.inf, 1e300)],
}
LABELS = {
    "int32": ["1234567", "1234568"],
    "int64": ["9007199254740992", "9007199254740993", "-9223372036854775808"],
    "float32": ["0.1", "0.10000001"],
    "double64": ["5", "1234567.25", "1234567.25000001", "inf"],
}


def outlet_of(name: str, channel_format: str, n_channels: int = 2) -> pylsl.StreamOutlet:
    stated = pylsl.StreamInfo(name, "Markers", n_channels, 0, channel_format, uuid.uuid4().hex)
    stated.desc().append_child_value("codes", "volume & <response>")
    return pylsl.StreamOutlet(stated)


def receive(markers: LSLMarkers, n: int) -> list[Marker]:
    got: list[Marker] = []
    deadline = clock() + PATIENCE
    while len(got) < n:
        assert clock() < deadline
        got += markers.pull()
    return got


@pytest.mark.parametrize("channel_format", WIRES)
def test_markers_are_recorded_as_they_were_on_the_wire_and_read_as_the_same_labels(
    tmp_path: Path, channel_format: str
) -> None:
    rows = WIRES[channel_format]
    name = f"markers-{uuid.uuid4().hex}"
    outlet = outlet_of(name, channel_format)
    inlet = find_markers(name, timeout=PATIENCE)
    for k, row in enumerate(rows):
        outlet.push_sample(list(row), 5.0 + k)
    heard = receive(inlet, len(rows))
    record = Recorder(tmp_path, "run")
    stream = record.stream(inlet.description)
    record.markers(stream, [m.stamp for m in heard], [m.wire or () for m in heard])
    record.close()
    assert record.lost == ""
    chunks = list(read_chunks(tmp_path / "run.xdf"))
    (header,) = (c for c in chunks if isinstance(c, StreamHeader))
    assert (header.xml, header.channel_format) == (inlet.description, channel_format)
    (samples,) = (c for c in chunks if isinstance(c, Samples))
    expected = np.array(rows, samples.values.dtype)
    assert samples.values.tolist() == expected.tolist()
    assert list(received(tmp_path)) == heard
    labels = [marker.label for marker in heard]
    assert labels == LABELS.get(channel_format, [str(first) for first, _ in rows])


def received(folder: Path) -> Iterator[Any]:
    """Yield what a folder's recording holds, which is all of a session that is there."""
    archive = object.__new__(Archive)
    archive.path = folder
    return archive.received()


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64])
def test_no_two_numbers_become_one_label(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(-(2**31), 2**31, 2000)
    numbers = bits.astype(dtype) if dtype is not np.float32 else bits.astype("i4").view("f4")
    numbers = numbers[np.isfinite(numbers)]
    near = np.nextafter(numbers, np.inf) if dtype is not np.int64 else numbers + 1
    both = np.unique(np.concatenate([numbers, near]))
    both = both[np.isfinite(both)]
    assert len({label_of(number) for number in both}) == len(both) > 2000
    assert all(dtype(label_of(number)) == number for number in both)


def test_a_number_is_the_same_label_in_every_format() -> None:
    formats = (int, float, np.int8, np.int16, np.int32, np.int64, np.float32, np.float64)
    assert {label_of(kind(5)) for kind in formats} == {"5"}
    assert [label_of(x) for x in (math.nan, -math.inf, -0.0, "5.0", "")] == [
        *("nan", "-inf", "0", "5.0", ""),
    ]


def test_a_stream_whose_description_had_to_be_mended_keeps_its_labels(tmp_path: Path) -> None:
    record = Recorder(tmp_path, "run")
    stream = record.stream("<info><name>half")
    heard = [Marker.of(1.0, (np.int32(1234567), np.int32(2))), Marker.of(2.0, ("R128", "x"))]
    record.markers(stream, [m.stamp for m in heard], [m.wire or () for m in heard])
    record.close()
    assert record.lost == ""
    assert list(received(tmp_path)) == heard


@pytest.mark.parametrize("channel_format", ["int32", "double64", "string"])
def test_a_run_whose_markers_have_channels_is_computed_again(
    tmp_path: Path, free_port: int, channel_format: str
) -> None:
    predictor: Predictor = save_model(tmp_path / "ridge", masking_spec())
    kind = str if channel_format == "string" else float if channel_format[0] == "d" else int
    codes = [(kind(code), kind(9)) for code in (1234567, 1234568)]  # of no volume, but told
    volume = (kind(5), kind(0))
    with Lab(tmp_path, predictor, free_port, markers=True) as one:
        markers, outlet = outlet_of(one.name + "-markers", channel_format), one.connect()
        start, seconds = clock(), round(settled(predictor)) + 4
        for k in range(seconds):
            markers.push_sample(list(volume), start + k)
            markers.push_sample(list(codes[k % 2]), start + k + 0.3)
        one.until(lambda: len(one.of("event", event="volume")) == seconds)
        one.feed(outlet, noise(seconds), start)
        one.received(round(seconds * 250))
        one.stop()
        archive = Archive(one.folder)
    comparison = replay(archive, predictor)
    assert comparison.differences == []
    assert is_same(archive, comparison)
    heard = [x for x in archive.received() if isinstance(x, Marker)]
    assert [m.label for m in heard if m.label != "5"] == [
        ("1234567", "1234568")[k % 2] for k in range(seconds)
    ]
    assert [tuple(m.wire or ()) for m in heard[::2]] == [volume] * seconds
    assert all(a.stamp < b.stamp for a, b in pairwise(heard))
