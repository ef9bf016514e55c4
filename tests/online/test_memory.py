from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtfeedback.errors import RecordingError
from rtfeedback.online.memory import MemorySource
from rtfeedback.online.source import Source, StreamLost, StreamOver
from rtfeedback.online.timeline import Timeline
from rtfeedback.signals import Chunk, Marker, StreamInfo

RATE = 250.0
INFO = StreamInfo("file", RATE, ("Fp1", "Cz", "ECG"), ("eeg", "eeg", "ecg"), ("uV",) * 3)
NOTHING: Callable[[], object] = lambda: None  # noqa: E731


def samples(n_times: int = 1000) -> Any:
    return np.random.default_rng(0).normal(0, 20, (n_times, 3)).astype(np.float32)


def stream_of(source: Source) -> Any:
    return source.open_stream(timeout=0.0, idle=NOTHING)


def drain(source: Source) -> list[Chunk]:
    stream, chunks = stream_of(source), []
    with pytest.raises(StreamOver):  # noqa: PT012 (the pull after the last one raises)
        while True:
            chunks.append(stream.pull(0.0))
    return chunks


@pytest.mark.parametrize("chunk", [1, 7, 32, 1000, 5000])
def test_every_sample_comes_once_bit_for_bit_and_then_it_is_over(chunk: int) -> None:
    chunks = drain(MemorySource(INFO, samples(), chunk=chunk))
    assert np.array_equal(np.concatenate([each.samples for each in chunks]), samples())
    stamps = np.concatenate([each.stamps for each in chunks])
    np.testing.assert_array_equal(stamps, np.arange(1000) / RATE)
    assert {len(each.stamps) for each in chunks[:-1]} <= {chunk}
    assert all(each.samples.flags.c_contiguous for each in chunks)


def test_it_goes_on_where_it_was_left_and_is_not_opened_once_over() -> None:
    source = MemorySource(INFO, samples(30), chunk=20)
    opened: list[str] = []
    stream = source.open_stream(
        timeout=0.0, idle=NOTHING, first=lambda: opened.append("markers")
    )
    assert opened == ["markers"]
    chunk = stream.pull(0.0)
    assert chunk is not None
    assert len(chunk.stamps) == 20
    stream.close()
    assert len(stream_of(source).pull(0.0).stamps) == 10
    with pytest.raises(StreamOver, match="All of its 30 samples were read"):
        stream_of(source)
    assert issubclass(StreamOver, StreamLost)


@pytest.mark.parametrize("chunk", [1, 7, 100, 1000])
def test_a_marker_comes_before_the_chunk_that_holds_its_sample(chunk: int) -> None:
    sent = [Marker(k / 10 + 0.013, f"S{k:3}") for k in range(40)] + [Marker(99.0, "late")]
    source = MemorySource(INFO, samples(), markers=sent[::-1], chunk=chunk)
    markers = source.open_markers(timeout=0.0, idle=NOTHING)
    stream, came = stream_of(source), []
    for _ in range(0, 1000, chunk):
        came += markers.pull()
        end = stream.pull(0.0).stamps[-1]
        assert came[: sum(each.stamp <= end for each in sent)] == [
            each for each in sent if each.stamp <= end
        ]
    assert came == sent
    assert markers.pull() == []


@pytest.mark.parametrize("stamp", [np.nan, np.inf, -np.inf])
def test_a_marker_without_a_time_is_noted_and_holds_back_no_other(stamp: float) -> None:
    sent = [Marker(0.1, "a"), Marker(stamp, "lost"), Marker(0.2, "b"), Marker(0.15, "c")]
    source = MemorySource(INFO, samples(), markers=sent)
    markers = source.open_markers(timeout=0.0, idle=NOTHING)
    drain(source)
    assert [marker.label for marker in markers.pull()] == ["a", "c", "b"]
    assert source.notes == ("markers without a time are left out: 1",)


def test_a_jump_of_given_stamps_is_a_gap() -> None:
    stamps = 70.0 + np.arange(100) / RATE
    stamps[50:] += 1.0
    timeline = Timeline(RATE)
    for chunk in drain(MemorySource(INFO, samples(100), stamps=stamps, chunk=13)):
        list(timeline.push(chunk))
    assert (timeline.segment, timeline.lost) == (1, 250)


def test_without_markers_there_is_no_marker_stream() -> None:
    source = MemorySource(INFO, samples())
    assert source.markers_name is None
    with pytest.raises(ValueError, match="no markers"):
        source.open_markers(timeout=0.0, idle=NOTHING)
    silent = MemorySource(INFO, samples(), markers_name="M")
    assert silent.open_markers(timeout=0.0, idle=NOTHING).pull() == []


@pytest.mark.parametrize(
    "settings", [{"samples": samples(5)[:, :2]}, {"stamps": np.arange(9)}, {"chunk": -1}]
)
def test_what_does_not_go_together_is_an_error(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="do not go with"):
        MemorySource(INFO, **{"samples": samples(5), **settings})


# ------------------------------------------------------------------ a recording


def test_a_recording_streams_what_is_read_of_it(tmp_path: Path) -> None:
    pybv = pytest.importorskip("pybv")
    from offline.eeg.recordings import read_recording
    from offline.recording_stream import recording_source

    pybv.write_brainvision(
        data=samples().T * 1e-6,
        sfreq=RATE,
        ch_names=["FP1-REF", "CZ-REF", "ECG"],
        fname_base="rec",
        folder_out=tmp_path,
        events=[{"onset": 100, "duration": 1, "description": 128, "type": "Response"}],
        fmt="binary_float32",
    )
    recording = read_recording(tmp_path / "rec.vhdr")
    source = recording_source(tmp_path / "rec.vhdr", chunk=64)
    assert source.info.channels == ("Fp1", "Cz", "ECG")
    assert source.info.reference == "REF"
    assert any("'-REF', which was taken off" in note for note in source.notes)
    markers = source.open_markers(timeout=0.0, idle=NOTHING)
    got = np.concatenate([chunk.samples for chunk in drain(source)])
    assert np.array_equal(got, recording.samples)
    assert markers.pull() == [Marker(100 / RATE, "R128")]


def test_a_recording_that_cannot_be_read_is_refused_at_once(tmp_path: Path) -> None:
    pytest.importorskip("mne")
    from offline.recording_stream import recording_source

    with pytest.raises(RecordingError, match="does not exist"):
        recording_source(tmp_path / "none.edf")
