"""Whole volumes on the wire: what goes out, after what, and what is kept of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from offline.eeg.features import through_chain
from offline.rehearsal import two_free_ports
from offline.store.dataset import window_at
from rtfeedback.errors import CheckpointError
from rtfeedback.online.encoding import encode
from rtfeedback.online.publisher import UNDER_WAY, Publisher
from rtfeedback.online.session import SessionFolder
from rtfeedback.online.telling import Telling
from rtfeedback.online.whole_volume import is_due, whole_volume
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Feedback, Float32, ROIPrediction
from rtfeedback.windows import due_of_marker, reached
from tests.lab import ROOT, STALE, TR, Lab, Message, Start, bare, make_recording
from tests.volume_lab import AFFINE, GRID, save_volume_model, volume_spec

SCHEMA = json.loads((ROOT / "docs" / "volume.schema.json").read_text(encoding="utf-8"))
validator = jsonschema.Draft202012Validator(SCHEMA)
FEEDBACK = {
    "session": "sub-01_ses-01",
    "run": "01",
    "seq": 5,
    "volume": 4,
    "value": 0.1,
    "valid": True,
    "reason": "ok",
    "block": None,
    "flags": ("semi_synthetic",),
    "rois": {"motor": ROIPrediction(0.1, 0.1)},
    "target_time": 10.5,
    "lsl_time": 10.5,
    "segment": 0,
    "sample": 100,
    "due_time": 10.5,
    "publish_time": 10.6,
    "age_ms": 3.0,
    "infer_ms": 1.0,
    "checkpoint": "0" * 64,
}


def feedback(**fields: Any) -> Feedback:
    return Feedback(**{**FEEDBACK, **fields})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return save_volume_model(tmp_path_factory.mktemp("volumes") / "model", volume_spec())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, model: Predictor) -> Iterator[Lab]:
    """Yield a run with hops that warmed up, gave volumes, had a gap, and is over."""
    out, recording = tmp_path_factory.mktemp("runs"), make_recording(12)
    how: dict[str, Any] = {"publish": True, "every": 2, "record": True}
    port = two_free_ports()
    with Lab(out, model, port, markers=True, hop=0.25, stream=STALE, volume=how) as lab:
        markers = lab.marker_outlet()
        outlet = lab.connect()
        start = lab.play(recording, outlet, markers)
        lab.feed(outlet, recording.samples[:500], start + 20)
        lab.until(lambda: lab.of("feedback", reason="gap"))
        lab.until(lambda: lab.of("feedback", reason="stale"))
        lab.stop()
        yield lab


def read(message: Message) -> Float32:
    """Return the voxels of a volume message, as docs/wire.md says."""
    assert (message["dtype"], message["order"]) == ("<f4", "C")
    return np.frombuffer(message["frame"], np.float32).reshape(message["shape"])


def header(message: Message) -> Message:
    return {k: v for k, v in bare(message).items() if k != "frame"}


# ------------------------------------------------------------------ what goes out


def test_each_other_volume_goes_out_and_only_valid_ones(run: Lab) -> None:
    due = [
        m["seq"]
        for m in run.of("feedback", valid=True)
        if m["volume"] is not None and m["volume"] % 2 == 0
    ]
    assert len(due) >= 3
    assert [m["seq"] for m in run.of("volume")] == due


def test_a_volume_comes_after_its_own_feedback_and_before_the_next(run: Lab) -> None:
    told = [m for m in run.messages if m["topic"] in ("feedback", "volume")]
    for before, message in pairwise(told):
        if message["topic"] == "volume":
            assert before["topic"] == "feedback"
            same = ("session", "run", "seq", "volume", "valid", "reason", "flags")
            for name in (*same, "target_time", "checkpoint"):
                assert message[name] == before[name]
            assert message["publish_time"] >= before["publish_time"]


def test_every_header_fits_the_schema_and_describes_its_frame(run: Lab) -> None:
    for message in run.of("volume"):
        validator.validate(header(message))
        assert tuple(message["shape"]) == GRID
        assert message["affine"] == [list(row) for row in AFFINE]
        assert len(message["frame"]) == 4 * np.prod(GRID)
        assert message["sha256"] == hashlib.sha256(message["frame"]).hexdigest()


def test_the_voxels_are_the_desks_bit_for_bit(run: Lab, model: Predictor) -> None:
    recording, spec, (_, n_times) = make_recording(12), model.spec, model.shape
    features, stamps = through_chain(recording, spec.chain)
    told = run.of("volume")
    for message in told:
        onset = recording.markers[message["volume"]].stamp
        rate = spec.chain.rate
        due = due_of_marker(spec.window, message["volume"], onset, tr=TR, rate=rate)
        (end,), _ = reached(stamps, np.array([due.end]), rate)
        model(window_at(features, int(end), n_times))
        volume = model.volume()
        assert volume is not None
        assert read(message).tobytes() == volume.tobytes()
    assert len({m["sha256"] for m in told}) == len(told)


def test_what_is_kept_is_what_went_out(run: Lab) -> None:
    told = [m for m in run.recorded() if m["topic"] == "volume"]
    assert [bare(m) for m in told] == [header(m) for m in run.of("volume")]
    kept = np.fromfile(run.folder / "volumes.f4", "<f4").reshape(-1, *GRID)
    assert len(kept) == len(told)
    for message, voxels in zip(run.of("volume"), kept, strict=True):
        assert voxels.tobytes() == message["frame"]


def test_the_client_gives_the_newest_volume(run: Lab) -> None:
    newest = run.of("volume")[-1]
    told = run.client.volume()
    assert told is not None
    about, voxels = told
    assert about == {k: v for k, v in newest.items() if k != "frame"}
    assert voxels == newest["frame"]
    assert run.client.volume() == told


def test_nothing_goes_out_or_is_kept_unless_it_is_asked_for(
    lab: Start, model: Predictor
) -> None:
    recording = make_recording(8)
    one = lab(predictor=model, tr=TR)
    one.play(recording, one.connect())
    one.received(len(recording.samples))
    one.stop()
    assert one.of("feedback", valid=True)
    assert not one.of("volume")
    assert "volume" not in {m["topic"] for m in one.recorded()}
    assert not (one.folder / "volumes.f4").exists()


def test_a_run_whose_model_has_no_volumes_is_refused_before_it_begins(
    lab: Start, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="predicts regions only"):
        lab(volume={"publish": True})
    assert not (tmp_path / "sub-01").exists()


# ------------------------------------------------------------------ when it is due


@pytest.mark.parametrize(
    ("fields", "every", "due"),
    [
        ({}, 1, True),
        ({}, 2, True),
        ({}, 3, False),
        ({"volume": 0}, 3, True),
        ({"volume": None}, 1, False),
        ({"valid": False, "reason": "artefact", "value": None}, 1, False),
        ({"age_ms": 500.0}, 1, True),
        ({"age_ms": 501.0}, 1, False),
        ({"age_ms": None}, 1, False),
    ],
)
def test_volumes_give_way_to_feedback(fields: dict[str, Any], every: int, due: bool) -> None:
    assert is_due(feedback(**fields), every, period=1.0) is due


# ------------------------------------------------------------------ the socket


class Slow:
    """Holds what is sent until it is let go: a client that does not take anything."""

    def __init__(self) -> None:
        self.sent: list[list[bytes]] = []
        self.done = False

    def send_multipart(self, parts: list[bytes], **how: Any) -> Slow:
        assert how == {"copy": False, "track": True}
        self.sent.append(parts)
        return self


@pytest.fixture
def stalled(free_port: int) -> Iterator[tuple[Publisher, Slow]]:
    """Yield a publisher whose client takes nothing until it is let go."""
    publisher, slow = Publisher(f"tcp://127.0.0.1:{free_port}"), Slow()
    socket, publisher._pub = publisher._pub, slow
    yield publisher, slow
    publisher._pub = socket
    publisher.close()


def test_a_client_that_takes_nothing_holds_so_many_bytes_at_most(
    stalled: tuple[Publisher, Slow],
) -> None:
    publisher, slow = stalled
    frame = bytes(UNDER_WAY // 10)
    sent = [publisher.send_frame("volume", b"{}", frame) for _ in range(12)]
    assert sent == 10 * [True] + 2 * [False]
    assert len(slow.sent) == 10
    slow.done = True
    assert publisher.send_frame("volume", b"{}", b"\1" * 100)
    assert slow.sent[-1] == [b"volume", b"{}", b"\1" * 100]


def test_a_frame_larger_than_what_may_wait_is_sent_alone(
    stalled: tuple[Publisher, Slow],
) -> None:
    publisher, _ = stalled
    assert publisher.send_frame("volume", b"{}", bytes(UNDER_WAY + 1))
    assert not publisher.send_frame("volume", b"{}", b"\0")


class Taken:
    """What a run tells to a client that takes volumes at first, and later on again."""

    def __init__(self, taken: list[bool]) -> None:
        self._taken, self.told = iter(taken), list[Message]()

    def send(self, topic: str, encoded: bytes) -> None:
        self.told.append({"topic": topic, **json.loads(encoded)})

    def send_frame(self, topic: str, encoded: bytes, frame: bytes) -> bool:
        return next(self._taken)


def test_volumes_that_nobody_is_sent_are_told_once(tmp_path: Path) -> None:
    spec = volume_spec().volume
    assert spec is not None
    publisher = Taken([True, False, False, True, True])
    folder = SessionFolder(tmp_path, subject="01", session="01", run="01", frames=True)
    telling = Telling(publisher, folder, ["motor"])  # type: ignore[arg-type]
    for seq in range(5):
        voxels = np.zeros(GRID, np.float32)
        telling.volume(whole_volume(feedback(seq=seq), voxels, spec))
    folder.close()
    events = [(m["event"], m["seq"]) for m in publisher.told]
    assert events == [("volumes_held", 1), ("volumes_resumed", 3)]
    messages = (folder.path / "messages.jsonl").read_text(encoding="utf-8").splitlines()
    topics = [json.loads(line)["topic"] for line in messages]
    assert topics == ["volume", "volume", "event", "volume", "volume", "event", "volume"]
    assert (folder.path / "volumes.f4").stat().st_size == 5 * 4 * np.prod(GRID)


@pytest.mark.parametrize("n_bytes", [100, 10**6])
def test_frames_that_nobody_wants_are_let_go(free_port: int, n_bytes: int) -> None:
    publisher = Publisher(f"tcp://127.0.0.1:{free_port}")
    try:
        for _ in range(100):
            publisher.send_frame("volume", b"{}", bytes(n_bytes))
            publisher._under_way[-1][0].wait(10)  # raises when it is over
        assert len(publisher._under_way) <= 2
    finally:
        publisher.close()


# ------------------------------------------------------------------ the schema and the page


@pytest.fixture
def one() -> Message:
    spec = volume_spec().volume
    assert spec is not None
    volume = whole_volume(feedback(), np.zeros(GRID, np.float32), spec)
    return {**volume.header, "publish_time": 1.0}


def test_the_schema_is_one_and_wants_every_field_that_is_sent(one: Message) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator.validate(one)
    assert list(SCHEMA["properties"]) == SCHEMA["required"] == list(one)
    encode(one)  # no NaN
    for name, field in SCHEMA["properties"].items():
        assert len(field["description"]) > 10, name
        assert not validator.is_valid({k: v for k, v in one.items() if k != name}), name
    assert not validator.is_valid({**one, "extra": 1})


@pytest.mark.parametrize(
    "change",
    [{"valid": False}, {"reason": "artefact"}, {"volume": None}, {"dtype": "<f8"}],
    ids=lambda change: str(*change),
)
def test_the_schema_refuses_a_false_header(one: Message, change: dict[str, Any]) -> None:
    assert not validator.is_valid({**one, **change})


def test_flags_and_reasons_are_those_of_feedback() -> None:
    path = ROOT / "docs" / "feedback.schema.json"
    feedback = json.loads(path.read_text(encoding="utf-8"))["properties"]
    for name in ("type", "items", "uniqueItems"):
        assert SCHEMA["properties"]["flags"][name] == feedback["flags"][name]
    reasons = SCHEMA["properties"]["reason"]["enum"]
    assert set(reasons) < set(feedback["reason"]["enum"])


def page() -> str:
    return (ROOT / "docs" / "wire.md").read_text(encoding="utf-8").split("\n## `volume`\n")[1]


def test_the_page_names_every_field_of_a_volume() -> None:
    section = page().split("\n## ")[0]
    for name in set(SCHEMA["properties"]) - {"schema", "session", "run", "publish_time"}:
        assert f"`{name}`" in section, name


def test_the_example_on_the_page_makes_an_image(
    run: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = page().split("```python\n")[1].split("```")[0]
    newest = run.of("volume")[-1]

    class Client:
        def volume(self) -> tuple[Message, bytes]:
            return header(newest), newest["frame"]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rtfeedback.client.FeedbackClient", Client)
    known: dict[str, Any] = {}
    exec(code.replace("from client", "from rtfeedback.client"), known)
    nibabel: Callable[[str], Any] = __import__("nibabel").load
    image = nibabel("volume.nii.gz")
    assert np.array_equal(image.affine, AFFINE)
    assert np.array_equal(image.get_fdata(), read(newest), equal_nan=True)
