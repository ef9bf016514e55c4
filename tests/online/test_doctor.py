"""The pre-flight's checks of the machine, its report, and its command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from offline.eeg.recordings import Recording
from rtfeedback.doctor.finding import Finding, fail, found_by, ok, refusal, warn
from rtfeedback.doctor.inference import TRIALS, check_inference, check_volume
from rtfeedback.doctor.machine import BLOCKS, check_disk, check_ports
from rtfeedback.doctor.report import conclusion, line, print_report
from rtfeedback.doctor.visible import choose, describe_visible, look_around
from rtfeedback.errors import OutputError, PublishError, StreamError
from rtfeedback.online import publisher
from rtfeedback.online.lsl import VisibleStream
from rtfeedback.online.settings import RunConfig
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32
from tests.lab import RATE
from tests.volume_lab import save_volume_model, volume_spec

Run = Callable[..., tuple[int, str, list[str]]]


def clock_of(*times: float) -> Callable[[], float]:
    """Return a clock by which what is timed takes these times, one after the other."""
    readings = iter([reading for time in times for reading in (0.0, time)])
    return lambda: next(readings)


# ----------------------------------------------------------------------------- inference


class Slow:
    """A predictor that counts its predictions."""

    shape = (3, 10)

    def __init__(self) -> None:
        self.warm, self.made = False, 0

    def warm_up(self) -> None:
        self.warm = True

    def __call__(self, window: Float32, /) -> None:
        assert self.warm
        assert window.shape == self.shape
        self.made += 1


@pytest.mark.parametrize(
    ("typical", "worst", "verdict"),
    [(0.1, 0.3, "ok"), (0.1, 0.4, "warn"), (0.4, 0.5, "warn"), (1.1, 1.2, "fail")],
)
def test_an_inference_takes_a_third_of_the_hop_at_most(
    typical: float, worst: float, verdict: str
) -> None:
    model, times = Slow(), [typical] * (TRIALS - 1) + [worst]
    finding = check_inference(model, 1.0, "cpu", now=clock_of(*times))
    assert (finding.verdict, model.made) == (verdict, TRIALS)
    assert f"{1000 * worst:.2f} ms at worst" in finding.found


@pytest.mark.parametrize(("worst", "verdict"), [(0.6, "ok"), (0.7, "warn")])
def test_a_volume_takes_a_third_of_the_time_to_the_next_at_most(
    tmp_path: Path, worst: float, verdict: str
) -> None:
    predictor = save_volume_model(tmp_path / "model", volume_spec())
    times = [0.1] * (TRIALS - 1) + [worst]
    finding = check_volume(predictor, 2.0, now=clock_of(*times))
    assert finding.verdict == verdict
    assert "100.00 ms for a whole volume" in finding.found
    assert "MiB go out each 2 s" in finding.found


# --------------------------------------------------------------------------------- ports


def test_free_ports_are_free_afterwards(free_port: int) -> None:
    for _ in range(2):
        assert check_ports(f"tcp://127.0.0.1:{free_port}").verdict == "ok"


@pytest.mark.parametrize("beside", [0, 1])
def test_a_taken_port_is_refused_as_by_a_run(
    free_port: int, beside: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "PATIENCE", 0.0)
    with zmq.Context() as context, context.socket(zmq.REP) as taken:
        taken.bind(f"tcp://127.0.0.1:{free_port + beside}")
        with pytest.raises(PublishError, match=f"{free_port + beside} cannot be bound"):
            check_ports(f"tcp://127.0.0.1:{free_port}")


def test_another_interface_is_refused_as_by_a_run() -> None:
    with pytest.raises(PublishError, match="Only the loopback interface"):
        check_ports("tcp://0.0.0.0:5556")


# ---------------------------------------------------------------------------------- disk


def disk(out: Path, **how: object) -> Finding:
    given = {"checkpoint": None, "bytes_per_s": None, **how}
    return check_disk(out, RunConfig(), **given)  # type: ignore[arg-type]


def test_the_disk_is_left_as_it_was(tmp_path: Path, predictor: Predictor) -> None:
    (tmp_path / "there").mkdir()
    for out in (tmp_path / "there", tmp_path / "new" / "deep"):
        finding = disk(out, checkpoint=predictor.checkpoint.path, bytes_per_s=1.0)
        assert finding.verdict == "ok"
        assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_other_sessions_are_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "sub-01" / "ses-01" / "run-01"
    kept.mkdir(parents=True)
    disk(tmp_path)
    assert [*tmp_path.rglob("run-*")] == [kept]


def test_a_full_disk_fails_and_is_left_as_it_was(tiny_disk: Path) -> None:
    finding = disk(tiny_disk)
    assert (finding.verdict, [*tiny_disk.iterdir()]) == ("fail", [])
    assert "No space left" in finding.found


def test_a_disk_without_room_for_the_checkpoint_refuses_as_a_run_does(
    tiny_disk: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    large.mkdir()
    (large / "weights").write_bytes(bytes(2**20))
    with pytest.raises(OutputError):
        disk(tiny_disk, checkpoint=large)
    assert [*tiny_disk.iterdir()] == []


def test_room_for_less_than_an_hour_is_told(tmp_path: Path) -> None:
    assert disk(tmp_path, bytes_per_s=1e15).verdict == "warn"


def test_a_disk_hardly_faster_than_the_stream_is_told(tmp_path: Path) -> None:
    slow = clock_of(*[0.1] * BLOCKS)
    finding = disk(tmp_path, bytes_per_s=5e5, now=slow)
    assert finding.verdict == "warn"
    assert "takes 1 MB/s; 128 KiB are safe within 100 ms" in finding.found


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("data")
    with pytest.raises(OutputError):
        disk(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "data"


# ------------------------------------------------------------------------ which streams


def visible(name: str, kind: str = "EEG", source: str = "") -> VisibleStream:
    return VisibleStream(name, kind, 8, 250.0 if kind == "EEG" else 0.0, "lab", source)


def test_what_any_pass_shows_is_seen_and_nothing_twice() -> None:
    passes = iter([[visible("b")], [], [visible("a"), visible("a")]])
    seen = look_around(lambda wait: next(passes), passes=3)
    assert [each.name for each in seen] == ["a", "a", "b"]


def test_each_stream_is_listed_with_what_it_says_of_itself() -> None:
    [finding] = describe_visible([visible("EEG", source="amp-7")])
    for fact in ("'EEG'", "8 channels", "250 Hz", "on lab", "amp-7"):
        assert fact in finding.found


def test_without_a_stream_it_is_said_how_to_start_one() -> None:
    [finding] = describe_visible([])
    assert finding.verdict == "fail"
    for hint in ("rtfeedback play FILE --stream EEG", "firewall", "KnownPeers", "SessionID"):
        assert hint in finding.do


def test_a_stream_that_is_named_may_still_come() -> None:
    [finding] = describe_visible([], named=True)
    assert finding.verdict == "warn"


def test_the_only_eeg_is_taken_where_none_is_named() -> None:
    name, [finding] = choose([visible("one"), visible("cues", "Markers")])
    assert (name, finding.verdict) == ("one", "ok")


def test_of_two_none_is_guessed() -> None:
    name, [finding] = choose([visible("one"), visible("two")])
    assert (name, finding.verdict) == ("", "warn")
    assert "--stream" in finding.do


# -------------------------------------------------------------------------------- report

GOOD, ODD, BAD = ok("disk", "Room"), warn("lag", "Old", "Mend"), fail("rate", "Off", "Mend")


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ([GOOD], "ok: a run would start"),
        ([GOOD, ODD], "warn: nothing here would refuse a run, but look at lag"),
        (
            [BAD, ODD, BAD],
            "fail: a run would be refused, or give no valid value, because of rate",
        ),
    ],
)
def test_the_last_line_says_what_follows(
    findings: list[Finding], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = print_report(findings)
    assert conclusion(findings) == said
    assert capsys.readouterr().out.splitlines()[-1] == said
    assert said.startswith(f"{verdict}:")


def test_a_finding_is_one_line_however_long_or_odd(capsys: pytest.CaptureFixture[str]) -> None:
    print_report([warn("streams", "[bold]\nname " + "x" * 300, "Do it")])
    first, _ = capsys.readouterr().out.splitlines()
    assert first == str(line(warn("streams", "[bold] name " + "x" * 300, "Do it")))
    assert first.startswith("warn streams")
    assert first.endswith("x. Do it.")


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_report([GOOD, ODD], json=True)
    lines = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    assert lines[1] == {"subject": "lag", "verdict": "warn", "found": "Old", "do": "Mend"}
    assert lines[2] == {"verdict": "warn"}


def test_a_refused_check_is_a_finding_after_those_it_had_made() -> None:
    error = StreamError("No stream", found="None came", do="Start it")

    def check() -> Iterator[Finding]:
        yield GOOD
        raise error

    assert [*found_by("stream", check)] == [GOOD, refusal("stream", error)]
    assert refusal("stream", error) == fail("stream", "No stream. None came", "Start it")


# ------------------------------------------------------------------------------- command


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let LSL show nothing, without the time that it takes to look."""
    monkeypatch.setattr("rtfeedback.doctor.examination.look_around", list)


@pytest.mark.usefixtures("blind")
def test_without_any_stream_it_exits_1_and_leaves_nothing(
    rtfeedback: Run, tmp_path: Path, free_port: int
) -> None:
    code, out, said = rtfeedback("doctor", "--publish", f"tcp://127.0.0.1:{free_port}")
    assert (code, said, [*tmp_path.iterdir()]) == (1, [], [])
    lines = out.splitlines()
    assert lines[0].startswith("ok   versions")
    assert [each for each in lines if each.startswith("fail model") and "--model" in each]
    assert lines[-1].startswith("fail: ")
    assert lines[-1].endswith("because of model, streams")


@pytest.mark.usefixtures("blind")
def test_what_is_refused_hides_nothing_else(
    rtfeedback: Run, tmp_path: Path, predictor: Predictor
) -> None:
    (tmp_path / "out").write_text("data")
    code, out, _ = rtfeedback(
        "doctor", "--json", "--model", predictor.checkpoint.path, "--device", "cpu",
        "--publish", "tcp://0.0.0.0:5556", "--out", "out",
    )  # fmt: skip
    *findings, last = [json.loads(each) for each in out.splitlines()]
    failed = [each["subject"] for each in findings if each["verdict"] == "fail"]
    assert (code, failed, last) == (1, ["ports", "streams", "disk"], {"verdict": "fail"})
    assert "inference" in [each["subject"] for each in findings]


@pytest.mark.usefixtures("blind")
def test_volumes_are_timed_where_they_are_to_be_published(
    rtfeedback: Run, tmp_path: Path, predictor: Predictor, free_port: int
) -> None:
    of_volumes = save_volume_model(tmp_path / "model", volume_spec())
    (tmp_path / "run.toml").write_text("[volume]\npublish = true\n")

    def examined(model: Predictor, *options: str) -> dict[str, str]:
        _, out, _ = rtfeedback(
            "doctor", "--json", "--model", model.checkpoint.path, "--device", "cpu",
            "--publish", f"tcp://127.0.0.1:{free_port}", *options,
        )  # fmt: skip
        findings = [json.loads(each) for each in out.splitlines()[:-1]]
        return {each["subject"]: each["verdict"] for each in findings}

    asked = ("--config", "run.toml")
    assert "volume" in examined(of_volumes, *asked)
    assert "volume" not in examined(of_volumes)
    of_regions = examined(predictor, *asked)
    assert (of_regions["flags"], "volume" in of_regions) == ("fail", False)


@pytest.mark.usefixtures("blind")
def test_a_checkpoint_that_is_none_is_a_finding(rtfeedback: Run, free_port: int) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port}"
    code, out, said = rtfeedback("doctor", "--model", "none", "--publish", endpoint)
    assert (code, said) == (1, [])
    assert "fail model" in out
    assert "none is no checkpoint" in out


def test_a_recording_is_examined_as_a_stream(
    rtfeedback: Run, predictor: Predictor, recording: Recording, free_port: int, tmp_path: Path
) -> None:
    pybv = pytest.importorskip("pybv")
    onsets = [round(marker.stamp * RATE) for marker in recording.markers]
    pybv.write_brainvision(
        data=recording.samples.T * 1e-6,
        sfreq=RATE,
        ch_names=[*recording.info.channels],
        fname_base="rec",
        folder_out=tmp_path,
        events=[
            {"onset": onset, "duration": 1, "description": 128, "type": "Response"}
            for onset in onsets
        ],
        fmt="binary_float32",
    )
    code, out, said = rtfeedback(
        "doctor", "--source", "rec.vhdr", "--model", predictor.checkpoint.path,
        "--markers", "Triggers", "--publish", f"tcp://127.0.0.1:{free_port}",
    )  # fmt: skip
    assert (code, said) == (0, [])
    [note] = [each for each in out.splitlines() if "'Triggers'" in each]
    assert note.startswith("ok   markers")
    assert "its own, 'rec-markers', are read" in note
    said_by = {each.split()[1]: each for each in out.splitlines()}
    assert said_by["rate"].startswith("ok   rate           250.000 Hz measured")
    assert said_by["TR"].startswith("ok   TR             1 s")


def test_a_source_that_is_none_is_a_finding(rtfeedback: Run, free_port: int) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port}"
    code, out, said = rtfeedback("doctor", "--source", "ftp://x", "--publish", endpoint)
    assert (code, said) == (1, [])
    assert "fail streams        'ftp://x' names no source of EEG" in out


@pytest.mark.parametrize(
    "line",
    [
        "--tr 2 --markers m",
        "--tr 0",
        "--hop nan",
        "--duration 0",
        "--duration 1000",
        "--device tpu",
    ],
)
def test_a_malformed_line_exits_2(rtfeedback: Run, line: str) -> None:
    assert rtfeedback("doctor", *line.split())[0] == 2
