"""What the pre-flight says of a stream that is really there, over LSL."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pylsl
import pytest

from rtfeedback.chain import Chain
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.doctor.examination import Examination
from rtfeedback.doctor.finding import Finding
from rtfeedback.doctor.offset import check_offset
from rtfeedback.doctor.report import worst
from rtfeedback.doctor.stream import StreamExamination
from rtfeedback.errors import ChannelError
from rtfeedback.online.lsl import EEGOutlet, LSLSource, MarkerOutlet, clock, find_stream
from rtfeedback.online.offsets import measure_offset
from rtfeedback.online.settings import RunConfig, RunOptions, StreamConfig
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32, Float64, StreamInfo
from tests.lab import CHANNELS, RATE, TR, WAIT, checkpoint_spec, noise, stream_info
from tests.online.findings import found, spec_with_limits, subjects

SECONDS = 6.0  # s of EEG that are sent, as fast as they go
LISTEN = 0.6  # s

Sends = Callable[..., str]


@pytest.fixture
def sends() -> Iterator[Sends]:
    """Return what puts a stream up, which sends all once it is listened to."""
    over = threading.Event()
    with ExitStack() as stack:

        def start(
            samples: Float32 | None = None,
            info: StreamInfo | None = None,
            *,
            stamps: Float64 | None = None,
            markers: Sequence[tuple[str, float]] = (),
            name: str = "",
        ) -> str:
            name = name or f"EEG-{uuid.uuid4().hex[:8]}"
            samples = noise(SECONDS) if samples is None else samples
            if stamps is None:
                stamps = np.arange(len(samples)) / RATE
            outlet, side = (
                EEGOutlet(info or stream_info(), name),
                MarkerOutlet(f"{name}-markers"),
            )
            thread = threading.Thread(
                target=_send, args=(over, outlet, side, samples, stamps, markers)
            )
            thread.start()
            stack.callback(side.close)
            stack.callback(outlet.close)
            stack.callback(thread.join)
            return name

        yield start
        over.set()


def _send(
    over: threading.Event,
    outlet: EEGOutlet,
    side: MarkerOutlet,
    samples: Float32,
    stamps: Float64,
    markers: Sequence[tuple[str, float]],
) -> None:
    while not outlet.wait_for_consumers(0.05):
        if over.is_set():
            return
    begin = clock() - (float(stamps[-1]) if len(stamps) else 0.0)
    for label, stamp in markers:
        side.push(label, begin + stamp)
    for first in range(0, len(samples), 25):
        outlet.push(samples[first : first + 25], begin + stamps[first : first + 25])


def examine(
    name: str, *, spec: CheckpointSpec | None = None, markers: bool = False, **config: Any
) -> list[Finding]:
    source = LSLSource(name, f"{name}-markers" if markers else None)
    return list(
        StreamExamination(
            source, spec, spec.tr if spec else None, StreamConfig(**config), LISTEN
        )
    )


# ------------------------------------------------------------------------ all is well


def test_a_stream_as_the_checkpoint_needs_it_is_well_in_every_respect(sends: Sends) -> None:
    markers = [("R128", 0.2 + TR * k) for k in range(6)]
    findings = examine(sends(markers=markers), spec=spec_with_limits(), markers=True)
    assert {f.verdict for f in findings} == {"ok"}, findings
    assert subjects(findings, "ok") == {
        "stream", "channels", "clock", "rate", "losses", "numbers", "flat channels",
        "amplitude", "mains", "training", "scanner", "artefacts", "markers", "TR",
    }  # fmt: skip
    assert "250.000 Hz measured" in found(findings, "rate", "ok").found


# --------------------------------------------------------------------------- channels


def test_a_missing_channel_is_refused_in_the_words_of_the_run(sends: Sends) -> None:
    info = stream_info(("Fp1", "C3", "Cz", "C4", "Oz"))
    name = sends(info=info)
    findings = examine(name, spec=checkpoint_spec())
    refused = found(findings, "channels", "fail")
    with pytest.raises(ChannelError) as error:
        Chain(checkpoint_spec().chain, replace(info, name=name))
    assert refused.found == f"{error.value.wrong}. {error.value.found}"
    assert refused.do == error.value.do
    assert found(findings, "amplitude", "ok")  # and the rest was looked at all the same


# -------------------------------------------------------------------------------- time


def test_a_rate_other_than_the_stated_one_fails(sends: Sends) -> None:
    stamps = np.arange(len(noise(SECONDS))) / 256.0
    findings = examine(sends(stamps=stamps), spec=spec_with_limits())
    assert subjects(findings, "fail") == {"rate"}
    rate = found(findings, "rate", "fail")
    assert "256.000 Hz measured" in rate.found
    assert "250 Hz stated" in rate.found


# ----------------------------------------------------------------------------- numbers


def test_volts_that_are_called_microvolts_fail(sends: Sends) -> None:
    findings = examine(sends(noise(SECONDS) * np.float32(1e-6)), spec=spec_with_limits())
    assert subjects(findings, "fail") >= {"units"}
    assert "1e-06 times that of the training" in found(findings, "units", "fail").found
    assert found(findings, "amplitude", "warn")


def test_a_channel_that_stands_still_fails_by_name(sends: Sends) -> None:
    samples = noise(SECONDS)
    samples[:, CHANNELS.index("C4")] = 12.5
    findings = examine(sends(samples), spec=spec_with_limits())
    assert found(findings, "flat channels", "warn").found.startswith("C4: never changed")
    assert "much of it in C4" in found(findings, "artefacts", "fail").found


# ----------------------------------------------------------------------------- markers


def test_silent_markers_are_no_error(sends: Sends) -> None:
    findings = examine(sends(), spec=checkpoint_spec(), markers=True)
    assert [f.verdict for f in findings if f.subject == "markers"] == ["ok", "ok"]
    assert any("no marker yet: start the scanner" in f.found for f in findings)


def test_markers_of_another_tr_are_told(sends: Sends) -> None:
    markers = [("R128", 0.1 + 0.7 * k) for k in range(8)]
    findings = examine(sends(markers=markers), spec=checkpoint_spec(), markers=True)
    tr = found(findings, "TR", "warn")
    assert tr.found.startswith("0.7 s")
    assert "1 s is expected" in tr.found
    assert subjects(findings, "fail") == set()


# --------------------------------------------------------------------- streams that fail


def test_no_stream_of_the_name_fails_and_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rtfeedback.doctor.stream.PATIENCE", 0.3)
    [refused] = examine("EEG-absent", spec=checkpoint_spec())
    assert (refused.subject, refused.verdict) == ("stream", "fail")
    assert "rtfeedback play FILE --stream EEG-absent" in refused.do


def test_absent_markers_do_not_hide_the_eeg(
    sends: Sends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtfeedback.doctor.stream.PATIENCE", 0.3)
    source = LSLSource(sends(), "markers-absent")
    spec = checkpoint_spec()
    findings = list(StreamExamination(source, spec, spec.tr, StreamConfig(), LISTEN))
    assert subjects(findings, "fail") == {"markers"}
    assert found(findings, "rate", "ok")


def test_two_streams_of_a_name_are_refused(sends: Sends) -> None:
    name = sends()
    sends(name=name)
    [refused] = examine(name, spec=checkpoint_spec())
    assert f"2 EEG streams called '{name}'" in refused.found


def test_a_stream_that_is_announced_and_silent_fails(sends: Sends) -> None:
    silent = sends(np.empty((0, len(CHANNELS)), np.float32))
    findings = examine(silent, spec=checkpoint_spec())
    assert "no sample came" in found(findings, "stream", "fail").found
    assert "channels" in subjects(findings, "ok")


# -------------------------------------------------------------------------------- clock


def test_the_clock_of_this_machine_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    monkeypatch.setattr(pylsl.StreamInlet, "close_stream", lambda inlet: closed.append(1))
    outlet, name = EEGOutlet(stream_info(), "EEG-clock"), "EEG-clock"
    stream = find_stream(name, timeout=WAIT)
    measured = measure_offset(stream.description)
    assert measured is not None
    assert abs(measured.offset) <= measured.uncertainty + 1e-3
    assert len(closed) == 1  # and the inlet that it took is closed
    assert "(this machine)" in check_offset(stream.description).found
    stream.close()
    outlet.close()


def test_a_host_that_does_not_answer_is_told_within_its_time() -> None:
    gone = pylsl.StreamInfo("gone", "EEG", 1, RATE, "float32", "gone").as_xml()
    gone = gone.replace("<uid />", "<uid>6d2c9b6e-0000-4000-8000-000000000000</uid>")
    assert measure_offset(gone, timeout=0.2) is None


def test_a_stream_without_a_uid_has_no_clock_of_its_own() -> None:
    assert check_offset("FieldTrip buffer, 4 channels").verdict == "ok"


# ---------------------------------------------------------------------------- the whole


def test_the_whole_examination_leaves_nothing_and_refuses_nothing(
    sends: Sends, predictor: Predictor, free_port: int, tmp_path: Path
) -> None:
    name = sends(markers=[("R128", 0.2 + TR * k) for k in range(6)])
    options = RunOptions(
        stream=name, out=tmp_path / "sessions", markers=f"{name}-markers",
        endpoint=f"tcp://127.0.0.1:{free_port}",
    )  # fmt: skip
    config = RunConfig.model_validate({"session": {"environment": "scanner"}})
    findings = list(Examination(options, config, load=lambda: predictor, seconds=LISTEN))
    assert worst(findings) == "ok", findings
    assert any(name in f.found for f in findings if f.subject == "streams")
    assert not any(tmp_path.iterdir())


def test_another_environment_fails_and_hides_nothing(
    predictor: Predictor, free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtfeedback.doctor.examination.look_around", list)
    options = RunOptions(stream="", out=tmp_path, endpoint=f"tcp://127.0.0.1:{free_port}")
    config = RunConfig.model_validate({"session": {"environment": "outside"}})
    findings = list(Examination(options, config, load=lambda: predictor))
    assert subjects(findings, "fail") == {"flags", "streams"}
    assert "--accept-domain-shift" in found(findings, "flags", "fail").do
    assert {f.subject for f in findings if f.verdict == "ok"} >= {"inference", "ports", "disk"}
