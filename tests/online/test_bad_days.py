"""What the subject's program receives on a bad day, fault by fault, over LSL and ZeroMQ.

`bench.faults` does the same with a fitted model and longer days, and writes docs/faults.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bench.bad_day import Day, Verdict, ending, judge, live_through, longest_silence
from bench.cases import CASES, Case
from bench.faults import EXACT, Cell
from bench.truth import Judged, Truth
from offline.eeg.fit_artefacts import fit_artefacts
from offline.eeg.recordings import Recording
from offline.faults import FAULTS, Plan, harm, parse_fault
from rtfeedback.chain.limits import ArtefactConfig
from rtfeedback.errors import StreamError
from rtfeedback.predictor import Predictor
from tests.lab import RATE, STALE, TR, Start, checkpoint_spec, make_recording, save_model

pytest.importorskip("mne")

SECONDS = 16
SPEED = 32.0
ROUNDING = 1e-3  # z: of float32 and of the clocks, and nothing else
Live = Callable[..., tuple[Day, Verdict]]

_played: set[str] = set()


def bad_day(recording: Recording, *faults: str) -> Plan:
    """Return a plan with faults, all of which strike it, and note that they were played."""
    parsed = [parse_fault(fault) for fault in faults]
    plan = harm(Plan.of(recording), parsed)
    assert all(any(fault.name in note.text for note in plan.notes) for fault in parsed)
    _played.update(fault.name for fault in parsed)
    return plan


@pytest.fixture(scope="module")
def whole() -> Recording:
    return make_recording(SECONDS)


@pytest.fixture(scope="module")
def good_day(predictor: Predictor, whole: Recording) -> list[float]:
    """Return where in the recording a good day has valid values."""
    spec, truth = predictor.spec, Truth(predictor, whole)
    targets = [m.stamp + spec.window.slice_ref * spec.tr for m in whole.markers]
    return [t for t in targets if t < SECONDS and truth.z(t) is not None]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """Return a model that knows what its EEG is typically like."""
    spec = checkpoint_spec()
    recipe = ArtefactConfig(share=0.25, channel_share=0.5)
    config = spec.chain.config.model_copy(update={"artefacts": recipe})
    unfitted = spec.chain.model_copy(update={"config": config})
    chain = fit_artefacts(unfitted, {"fit": lambda: make_recording(60, seed=8)})
    folder = tmp_path_factory.mktemp("limited") / "ridge"
    return save_model(folder, spec.model_copy(update={"chain": chain}))


@pytest.fixture
def live(lab: Start, predictor: Predictor, whole: Recording, good_day: list[float]) -> Live:
    """Return what lives through a day with faults, and holds its values against the truth."""

    def one_day(
        *faults: str,
        model: Predictor = predictor,
        recording: Recording = whole,
        speed: float = SPEED,
    ) -> tuple[Day, Verdict]:
        plan = bad_day(recording, *faults)
        day = live_through(lab(predictor=model, markers=True, stream=STALE), plan, speed=speed)
        verdict = judge(day, Truth(model, recording), good_day)
        assert all(judged.error < ROUNDING for judged in verdict.judged)
        return day, verdict

    return one_day


def order(day: Day) -> list[str]:
    """Return the reasons in their order, without how often."""
    return [reason for reason, _ in day.reasons]


# ------------------------------------------------------------------ what changes no value


@pytest.mark.parametrize(
    "faults",
    [
        ("bursts:interval=0.4", "jitter:sd=0.002", "drift:ppm=100"),
        ("rate:factor=1.0005",),
        ("permute", "unit:to=volts,stated=yes"),
        ("marker-doubled:at=10", "marker-late:at=12,delay=0.01"),
    ],
    ids=" ".join,
)
def test_what_the_daemon_can_put_right_changes_no_value(
    live: Live, good_day: list[float], faults: tuple[str, ...]
) -> None:
    day, verdict = live(*faults)
    assert order(day) == ["warming_up", "ok"]
    assert len(verdict.judged) == len(good_day)
    assert verdict.invalid == []
    assert (verdict.counted, verdict.lost) == (0, 0)
    assert verdict.renumbered == 0


# ------------------------------------------------------------------ what is lost


@pytest.mark.parametrize(
    ("fault", "lost"),
    [
        ("drop:at=8,n=25", 25),
        ("nan:at=8,duration=0.2,channel=Cz", 50),
    ],
)
def test_what_is_lost_is_counted_and_invalid_until_windows_are_whole_again(
    live: Live, fault: str, lost: int
) -> None:
    day, verdict = live(fault)
    assert order(day)[:3] == ["warming_up", "ok", "gap"]
    assert order(day)[-1] == "ok"
    assert day.events["gap"] == 1
    assert (verdict.counted, verdict.lost) == (lost, lost)
    [(since, until)] = verdict.invalid
    assert 8 <= since < 9
    assert until < SECONDS


def test_a_loss_below_the_threshold_is_not_counted(lab: Start, whole: Recording) -> None:
    one = lab(markers=True, stream=STALE)
    plan = bad_day(whole, "drop:at=8,n=3")
    day = live_through(one, plan, speed=SPEED)
    assert order(day) == ["warming_up", "ok"]
    assert day.status["samples_lost"] == 0  # as docs/faults.md declares


def test_a_frozen_outlet_is_stale_and_what_it_lost_is_counted(live: Live) -> None:
    day, verdict = live("freeze:at=6,duration=6", speed=12)
    assert order(day)[:4] == ["warming_up", "ok", "stale", "gap"]
    assert (verdict.counted, verdict.lost) == (1500, 1500)


def test_what_was_held_back_is_late_or_true_once_it_comes(live: Live) -> None:
    day, verdict = live("freeze:at=6,duration=6,then=held", speed=12)
    assert order(day)[:3] == ["warming_up", "ok", "stale"]
    assert set(order(day)[3:]) <= {"ok", "late"}
    assert order(day)[-1] == "ok"
    assert (verdict.counted, verdict.lost) == (0, 0)


@pytest.mark.parametrize(("by", "counted"), [(3, 750), (-3, 0)])
def test_a_clock_that_is_set_begins_a_segment(live: Live, by: int, counted: int) -> None:
    day, verdict = live(f"clock:at=7,by={by}")
    assert day.events["gap"] == 1
    assert order(day)[-1] == "ok"
    assert (verdict.counted, verdict.lost) == (counted, 0)  # ahead looks like a loss


# ------------------------------------------------------------------ outlets


@pytest.mark.parametrize("more", ["source=same", "source=new,outlet=both"])
def test_a_restarted_outlet_is_found_again_and_what_was_lost_is_counted(
    live: Live, more: str
) -> None:
    day, verdict = live(f"restart:at=6,pause=1,wait=yes,{more}")
    assert order(day)[:3] == ["warming_up", "ok", "stale"]
    assert order(day)[-1] == "ok"
    lost = 2 if "both" in more else 1
    assert (day.events["lost"], day.events["reconnect"]) == (lost, lost)
    assert day.events["gap"] == 1
    assert verdict.counted == verdict.lost
    assert verdict.lost is not None
    assert verdict.lost >= 250


def test_channels_that_come_back_in_another_order_go_by_name(live: Live) -> None:
    day, verdict = live("restart:at=6,pause=1,wait=yes", "permute:since=restart")
    assert order(day)[-1] == "ok"
    assert len(verdict.judged) > 0


def test_a_stream_that_comes_back_without_a_channel_is_refused_until_it_has_it(
    live: Live,
) -> None:
    day, _ = live(
        "restart:at=4,pause=1,wait=yes",
        "restart:at=22,pause=1,wait=yes",  # 1.5 s later at that speed, as a TR has 1 s
        "missing:channel=C3,since=restart,until=restart",
        recording=make_recording(30),
        speed=12,
    )
    told = [m for m in day.messages if m.get("event") == "refused"]
    assert len(told) == 1
    assert "no channel C3" in told[0]["reason"]
    assert "refused" in order(day)
    assert order(day)[-1] == "ok"
    refused = [m for m in day.feedback if m["reason"] == "refused"]
    assert {m["value"] for m in refused} == {None}


@pytest.mark.parametrize(
    ("fault", "told"),
    [("missing:channel=C3", "no channel C3"), ("rate:factor=2,what=stated", "500 Hz")],
)
def test_a_stream_that_is_wrong_from_the_start_is_refused(
    live: Live, fault: str, told: str
) -> None:
    day, _ = live(fault)
    assert told in day.refusal
    assert day.feedback == []


# ------------------------------------------------------------------ what cannot be right


def test_a_rate_that_is_not_the_stated_one_makes_nothing_valid(live: Live) -> None:
    day, verdict = live("rate:factor=1.01")
    assert order(day)[-1] == "rate"
    assert verdict.judged == []


@pytest.mark.parametrize("fault", ["unit:to=volts", "unit:to=mV,stated=yes,factor=1"])
def test_a_unit_that_is_not_the_stated_one_makes_nothing_valid(
    live: Live, limited: Predictor, fault: str
) -> None:
    day, verdict = live(fault, model=limited)
    assert day.valid == []
    assert verdict.judged == []
    assert set(order(day)) <= {"warming_up", "artefact", "units"}
    assert "units" in day.said


# ------------------------------------------------------------------ the scanner's markers


def test_a_missing_marker_costs_no_more_than_its_volume(
    live: Live, good_day: list[float]
) -> None:
    _, verdict = live("marker-missing:at=9")
    assert len(verdict.judged) >= len(good_day) - 1
    assert verdict.renumbered == 0


def test_a_marker_that_comes_too_late_makes_its_volume_late(live: Live) -> None:
    day, _ = live("marker-late:at=9,delay=1.5")
    assert order(day)[:2] == ["warming_up", "ok"]
    assert set(order(day)) <= {"warming_up", "ok", "late"}


def test_a_marker_per_slice_is_thinned_to_volumes(live: Live, good_day: list[float]) -> None:
    _, verdict = live("marker-slices:n=10")
    assert len(verdict.judged) >= len(good_day) - 2
    assert verdict.renumbered == 0


def test_a_scanner_that_stops_is_noticed(live: Live) -> None:
    day, _ = live("scanner-stop:at=9")
    assert order(day)[-1] == "no_volume"
    assert day.events["scanner_stopped"] == 1
    assert {m["value"] for m in day.feedback if m["reason"] == "no_volume"} == {None}


def test_a_scanner_that_goes_on_gives_volumes_again(live: Live) -> None:
    day, _ = live("scanner-stop:at=8,duration=4")
    assert "no_volume" in order(day)
    assert order(day)[-1] == "ok"


def test_a_marker_from_far_ahead_changes_nothing(live: Live, good_day: list[float]) -> None:
    day, verdict = live("marker-astray:at=9,by=100")
    assert day.events["stray"] == 1
    assert verdict.invalid == []
    assert verdict.renumbered == 0


def test_another_tr_than_the_expected_one_is_told_and_no_value_is_false(live: Live) -> None:
    day, verdict = live("marker-thin:keep=2", recording=make_recording(30))
    [tr] = [m for m in day.messages if m.get("event") == "tr"]
    assert tr["tr"] == pytest.approx(2 * tr["expected"], abs=0.01)
    assert order(day)[-1] == "ok"
    assert verdict.judged


# ------------------------------------------------------------------ artefacts


@pytest.mark.parametrize("fault", ["flat:channel=all", "repeat:length=0.25"])
def test_an_amplifier_that_says_the_same_again_and_again_is_not_believed(
    lab: Start, predictor: Predictor, fault: str
) -> None:
    one = lab(predictor=predictor, markers=True, stream=STALE)  # which states no limits
    plan = bad_day(make_recording(26), f"{fault},at=8,duration=18")
    day = live_through(one, plan, speed=SPEED)
    assert order(day)[-1] == "artefact"
    assert {m["value"] for m in day.feedback if m["reason"] == "artefact"} == {None}


@pytest.mark.parametrize(
    "fault",
    [
        "flat:at=6,duration=8,channel=C3",
        "movement:at=8,duration=3",
        "muscle:at=8,duration=3,channel=Cz",
        "pop:at=8,every=0.5,channel=Cz",
    ],
)
def test_a_window_full_of_an_artefact_is_invalid_and_holds_no_number(
    lab: Start, limited: Predictor, whole: Recording, fault: str
) -> None:
    one = lab(predictor=limited, markers=True, stream=STALE)
    day = live_through(one, bad_day(whole, fault), speed=SPEED)
    assert order(day)[:2] == ["warming_up", "ok"]
    told = [m for m in day.feedback if m["reason"] == "artefact"]
    assert told
    assert {m["value"] for m in told} == {None}
    assert {roi["z"] for m in told for roi in m["rois"].values()} == {None}
    assert set(order(day)) == {"warming_up", "ok", "artefact"}


def test_a_blink_now_and_then_leaves_what_is_valid(
    lab: Start, limited: Predictor, whole: Recording, good_day: list[float]
) -> None:
    one = lab(predictor=limited, markers=True, stream=STALE)
    plan = bad_day(whole, "blink:at=2,every=4")
    day = live_through(one, plan, speed=SPEED)
    assert len(day.valid) >= len(good_day) - 1


# ------------------------------------------------------------------ how a day is judged


@pytest.fixture(scope="module")
def heard(whole: Recording) -> Day:
    """Return a day of which a value was told each TR, as if it had been received."""
    plan = Plan.of(whole)
    said = {"topic": "feedback", "reason": "ok", "valid": True}
    told = [{**said, "sample": round(t * RATE)} for t in np.arange(1.4, SECONDS, TR)]
    status = {"topic": "status", "samples_received": len(whole.samples), "samples_lost": 0}
    return Day(plan, 0.0, [*told, status])


def cell(day: Day, case: Case, values: int = 9, silent: float = 0.0) -> Cell:
    return Cell(case, day, Verdict([Judged(1.0, 0.0, 0)] * values, [], 0, 0, silent), EXACT, TR)


def test_a_crash_is_no_refusal(lab: Start, whole: Recording) -> None:
    one = lab(markers=True, stream=STALE)
    one.error = ZeroDivisionError("a bug")
    day = live_through(one, bad_day(whole, "drop"), speed=SPEED)
    assert (day.refusal, day.crash) == ("", "ZeroDivisionError: a bug")
    wrong = cell(day, Case("a day", (), refused="a bug"), 0).wrong
    assert wrong[0] == "CRASHED: ZeroDivisionError: a bug"


def test_a_run_that_has_begun_may_not_end_by_a_refusal(heard: Day) -> None:
    error = StreamError("no more")
    begun = SimpleNamespace(name="EEG-1", of=lambda topic: heard.feedback)
    before = SimpleNamespace(name="EEG-1", of=lambda topic: [])
    assert ending(error, begun) == ("", "StreamError: no more.")  # type: ignore[arg-type]
    assert ending(error, before) == ("no more.", "")  # type: ignore[arg-type]


def test_a_day_fails_that_says_too_little_or_too_much(heard: Day) -> None:
    assert cell(heard, Case("as it should be", (), least=9)).passed
    assert cell(heard, Case("unsaid", (), "gap")).wrong == ("not said: gap",)
    late = replace(heard, messages=[{**heard.messages[0], "reason": "late"}, *heard.messages])
    assert cell(late, Case("uncalled", ())).wrong == ("said: late",)
    assert cell(late, Case("allowed", (), may="late")).passed
    [few] = cell(heard, Case("too few", (), least=10)).wrong
    assert few == "9 valid of 10 at least"
    refused = replace(heard, messages=[], refusal="EEG has no channel C3.")
    assert cell(refused, Case("refused", (), refused="no channel C3"), 0).passed
    assert not cell(refused, Case("another", (), refused="500 Hz"), 0).passed
    assert not cell(refused, Case("should begin", ()), 0).passed


def test_a_day_fails_that_falls_silent(
    heard: Day, predictor: Predictor, whole: Recording
) -> None:
    truth = Truth(predictor, whole)
    assert longest_silence(heard, truth) == pytest.approx(TR)
    quiet = replace(heard, messages=[*heard.messages[:5], *heard.messages[8:]])
    assert longest_silence(quiet, truth) == pytest.approx(4 * TR)
    mute = replace(heard, messages=heard.messages[-1:])
    assert longest_silence(mute, truth) > SECONDS - 2 * TR
    assert cell(heard, Case("all but", ()), silent=2 * TR).passed
    assert cell(heard, Case("silent", ()), silent=4 * TR).wrong == ("silent for 4.0 s",)


def test_eeg_that_is_no_number_makes_no_silence(
    heard: Day, predictor: Predictor, whole: Recording
) -> None:
    broken = harm(heard.plan, [parse_fault("nan:at=5.4,duration=3,channel=all")])
    quiet = [*heard.messages[:5], *heard.messages[8:]]
    day = replace(heard, plan=broken, messages=quiet)
    assert longest_silence(day, Truth(predictor, whole)) <= 2 * TR


# ------------------------------------------------------------------ all of them


def test_every_fault_is_a_case_of_the_matrix() -> None:
    cases = {parse_fault(fault).name for case in CASES for fault in case.faults}
    assert cases == set(FAULTS)


def test_every_fault_was_played_here(request: pytest.FixtureRequest) -> None:
    here = [item for item in request.session.items if item.path == request.path]
    everything = {name for name in globals() if name.startswith("test_")}
    if not everything <= {item.name.partition("[")[0] for item in here}:
        pytest.skip("only some of the tests were asked for")
    assert _played == set(FAULTS)
