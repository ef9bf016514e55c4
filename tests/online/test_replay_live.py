"""A run over LSL: what it recorded is what was sent, and is computed again."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pylsl
import pytest
import pyxdf
from numpy.typing import NDArray

from rtfeedback.online.lsl import clock
from rtfeedback.predictor import Predictor
from rtfeedback.replay.archive import Archive
from rtfeedback.replay.replay import replay
from rtfeedback.replay.report import is_same
from tests.lab import CHANNELS, RATE, STALE, TR, Lab, Start, noise, settled

Array = NDArray[Any]
Stream = dict[str, Any]
AUX = ("EOG1", "ECG")
CLOCKS = 1e-3  # s by which LSL's estimate of a clock on the same machine may be off


class RawOutlet:
    """An outlet of any format whose channels are the model's and two that are no EEG."""

    def __init__(self, name: str, channel_format: str, unit: str = "microvolts") -> None:
        labels = (*CHANNELS[:2], AUX[0], *CHANNELS[2:], AUX[1])
        stated = pylsl.StreamInfo(
            name, "EEG", len(labels), RATE, channel_format, uuid.uuid4().hex
        )
        stated.desc().append_child("cap").append_child_value("name", "éasycap & <co>")
        channels = stated.desc().append_child("channels")
        for label in labels:
            channel = channels.append_child("channel")
            channel.append_child_value("label", label)
            channel.append_child_value("type", label[:3] if label in AUX else "EEG")
            channel.append_child_value("unit", unit)
        self._outlet: Any = pylsl.StreamOutlet(stated)

    @property
    def consumed(self) -> bool:
        return bool(self._outlet.have_consumers())

    def push(self, samples: Array, stamps: NDArray[np.float64]) -> None:
        self._outlet.push_chunk(samples, stamps.tolist())

    def close(self) -> None:
        self._outlet = None


def wire_outlet(lab: Lab, channel_format: str) -> Any:
    outlet: Any = RawOutlet(lab.name, channel_format)
    lab.outlets.append(outlet)
    lab.until(lambda: outlet.consumed)
    return outlet


def assert_computed_again(lab: Lab, predictor: Predictor) -> None:
    archive = Archive(lab.folder)
    for chunk in (None, 17):
        comparison = replay(archive, predictor, chunk)
        assert comparison.identical == len(comparison.published) == len(comparison.apart)
        assert chunk or comparison.differences == []
        assert chunk or is_same(archive, comparison)
    assert [m for m in archive.messages if m.get("valid")]


def recorded(lab: Lab) -> tuple[list[Stream], list[Stream]]:
    """Return the EEG and the marker streams as pyxdf reads them."""
    (xdf,) = lab.folder.glob("*.xdf")
    streams, _ = pyxdf.load_xdf(xdf, synchronize_clocks=False, dejitter_timestamps=False)
    streams.sort(key=lambda stream: stream["info"]["stream_id"])
    eeg = [s for s in streams if s["info"]["type"] == ["EEG"]]
    return eeg, [s for s in streams if s not in eeg]


def assert_stamped(stream: Stream, start: float) -> None:
    """Check that samples are stamped as they were sent, but for LSL's clock estimate."""
    stamps = stream["time_stamps"]
    sent = start + np.arange(len(stamps)) / RATE
    np.testing.assert_allclose(stamps, sent, rtol=0, atol=CLOCKS)


# --- what happens to streams ----------------------------------------------------------


def test_a_run_whose_stream_ended_and_came_back_is_computed_again(
    lab: Start, predictor: Predictor
) -> None:
    one = lab(hop=0.25, markers=True, stream=STALE)
    markers = one.marker_outlet()
    seconds = settled(predictor) + 3
    first, then = noise(seconds), noise(seconds, seed=9)
    outlet = one.connect()
    start = clock()
    for k in range(round(seconds)):
        markers.push("R128", start + k * TR)
    after = one.feed(outlet, first, start)
    one.received(len(first))
    outlet.close()
    one.until(lambda: one.of("event", event="lost"))
    one.until(lambda: one.of("feedback", reason="stale"))
    outlet = one.connect()
    one.feed(outlet, then, after + 5)
    one.received(len(first) + len(then))
    one.stop()
    assert_computed_again(one, predictor)
    (eeg, again), (marked,) = recorded(one)
    np.testing.assert_array_equal(eeg["time_series"], first)
    np.testing.assert_array_equal(again["time_series"], then)
    assert_stamped(eeg, start)
    assert_stamped(again, after + 5)
    assert [label for (label,) in marked["time_series"]] == ["R128"] * round(seconds)


def test_a_run_that_heard_nothing_for_a_while_is_computed_again(
    lab: Start, predictor: Predictor
) -> None:
    one = lab(hop=0.25, tr=TR, stream=STALE)
    outlet = one.connect()
    then = one.feed(outlet, noise(settled(predictor) + 2), clock())
    one.until(lambda: len(one.of("feedback", reason="stale")) > 2)
    one.feed(outlet, noise(settled(predictor) + 2, seed=4), then + 3)
    one.until(lambda: one.of("feedback", reason="gap"))
    one.until(lambda: one.of("feedback")[-1]["reason"] == "stale")
    one.stop()
    reasons = [m["reason"] for m in one.of("feedback")]
    assert "stale" in reasons[: reasons.index("gap")]
    assert_computed_again(one, predictor)


def test_a_run_whose_markers_came_late_is_computed_again(
    lab: Start, predictor: Predictor
) -> None:
    one = lab(markers=True)
    markers, outlet = one.marker_outlet(), one.connect()
    start = then = clock()
    seconds = round(settled(predictor)) + 8
    for k in range(seconds):
        late = k % 3 == 2
        if not late:
            markers.push("R128", start + k * TR)
        then = one.feed(outlet, noise(TR, seed=k), then)
        one.received(round((k + 1) * TR * RATE))
        if late:
            markers.push("R128", start + k * TR)
        one.until(partial(has_told_of, one, k + 1))
    one.received(round(seconds * TR * RATE))
    one.stop()
    assert one.of("event", event="late_marker")
    assert_computed_again(one, predictor)


def test_a_run_whose_markers_are_numbers_is_computed_again(
    lab: Start, predictor: Predictor
) -> None:
    one = lab(markers=True)
    stated = pylsl.StreamInfo(one.name + "-markers", "Markers", 1, 0, "int32", uuid.uuid4().hex)
    markers, outlet = pylsl.StreamOutlet(stated), one.connect()
    start, seconds = clock(), round(settled(predictor)) + 4
    for k in range(seconds):
        markers.push_sample([5], start + k * TR)
        markers.push_sample([7], start + k * TR + 0.3)
    one.until(lambda: has_told_of(one, seconds))
    one.feed(outlet, noise(seconds), start)
    one.received(round(seconds * RATE))
    one.stop()
    assert_computed_again(one, predictor)
    _, (marked,) = recorded(one)
    assert marked["info"]["channel_format"] == ["int32"]
    assert marked["time_series"].ravel().tolist() == [5, 7] * seconds


def has_told_of(lab: Lab, n: int) -> bool:
    """Tell whether so many volumes' markers were told of."""
    return len(lab.of("event", event="volume") + lab.of("event", event="late_marker")) >= n


# --- what is on the wire --------------------------------------------------------------

WIRES: dict[str, Callable[[Array], Array]] = {
    "int16": lambda x: np.rint(x).astype(np.int16),
    "int32": lambda x: np.rint(x * 7).astype(np.int32),
    "double64": lambda x: x + 1e-9,  # beyond what float32 can hold
}


@pytest.mark.parametrize("channel_format", WIRES)
def test_eeg_is_recorded_as_it_was_on_the_wire_with_all_its_channels(
    lab: Start, predictor: Predictor, channel_format: str
) -> None:
    one = lab(hop=0.25)
    n_times = len(noise(settled(predictor) + 4))
    rng = np.random.default_rng(2)
    sent = WIRES[channel_format](rng.normal(0, 20, (n_times, len(CHANNELS) + len(AUX))))
    if channel_format == "double64":
        sent[::50, [2, -1]] = [1e300, -np.inf]  # nor float32's range; no EEG is in it
    outlet = wire_outlet(one, channel_format)
    start = clock()
    one.feed(outlet, sent, start)
    one.received(n_times)
    one.stop()
    assert_computed_again(one, predictor)
    (eeg,), _ = recorded(one)
    assert eeg["info"]["channel_format"] == [channel_format]
    assert eeg["time_series"].dtype == sent.dtype
    np.testing.assert_array_equal(eeg["time_series"], sent)
    assert_stamped(eeg, start)


def test_what_a_stream_says_of_itself_is_recorded(lab: Start, predictor: Predictor) -> None:
    one = lab(hop=0.25)
    outlet = wire_outlet(one, "float32")
    one.feed(outlet, np.zeros((50, len(CHANNELS) + len(AUX)), np.float32), clock())
    one.received(50)
    one.stop()
    (eeg,), _ = recorded(one)
    (desc,) = eeg["info"]["desc"]
    assert desc["cap"][0]["name"] == ["éasycap & <co>"]
    labels = [channel["label"][0] for channel in desc["channels"][0]["channel"]]
    assert labels == ["Fp1", "C3", "EOG1", "Cz", "C4", "Pz", "ECG"]
    assert eeg["info"]["name"] == [one.name]
    assert eeg["info"]["source_id"][0]
    assert eeg["info"]["hostname"][0]


def test_a_float64_that_no_float32_can_hold_is_recorded_and_is_no_eeg(
    lab: Start, predictor: Predictor
) -> None:
    one = lab(hop=0.25)
    n_times = len(noise(settled(predictor) + 6))
    sent: Array = np.random.default_rng(2).normal(0, 20, (n_times, len(CHANNELS) + len(AUX)))
    sent[-600, 0] = 1e39
    outlet = wire_outlet(one, "double64")
    one.feed(outlet, sent, clock())
    one.received(n_times)
    one.stop()
    assert one.of("event", event="gap")[0]["lost"] == 1
    assert_computed_again(one, predictor)
    (eeg,), _ = recorded(one)
    np.testing.assert_array_equal(eeg["time_series"], sent)


def test_the_command_says_that_a_run_over_lsl_is_identical(
    lab: Start, rtfeedback: Callable[..., tuple[int, str, list[str]]]
) -> None:
    one = lab(hop=0.25)
    outlet = one.connect()
    one.feed(outlet, noise(4), clock())
    one.received(round(4 * RATE))
    one.stop()
    code, out, _ = rtfeedback("replay", one.folder, "--device", "cpu")
    n = len(one.of("feedback"))
    assert code == 0
    assert out.startswith(f"{n} of {n} identical\n")
