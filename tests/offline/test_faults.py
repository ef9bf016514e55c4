"""What each fault does to a plan: without a stream, by law."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offline.eeg.recordings import Recording
from offline.faults import FAULTS, Plan, fault_table, harm, parse_fault
from offline.faults.plan import Close, EEGLife, Open, PlannedMarker, Say, SendEEG, SendMarker
from offline.injection import KINDS
from rtfeedback.cli import app
from rtfeedback.errors import ConfigError, RtfeedbackError
from tests.lab import CHANNELS, RATE, make_recording, stream_info

pytest.importorskip("mne")

SECONDS = 30
DOCS = Path(__file__).parents[2] / "docs" / "faults.md"


@pytest.fixture(scope="module")
def good() -> Plan:
    return Plan.of(make_recording(SECONDS))


def harmed(plan: Plan, *faults: str, seed: int = 0) -> Plan:
    return harm(plan, [parse_fault(fault) for fault in faults], seed)


def gone(plan: Plan) -> list[int]:
    """Return which samples of the recording are not in a plan."""
    return sorted(set(range(round(SECONDS * RATE))) - set(plan.index.tolist()))


def touched(good: Plan, bad: Plan) -> tuple[list[str], float, float]:
    """Return which channels' samples changed, and the first and last second of that."""
    changed = ~np.isclose(good.samples, bad.samples)
    rows = np.flatnonzero(changed.any(axis=1))
    names = [CHANNELS[i] for i in np.flatnonzero(changed.any(axis=0))]
    return names, float(good.times[rows[0]]), float(good.times[rows[-1]])


def assert_same(one: Plan, other: Plan, *names: str) -> None:
    """Assert that these parts of two plans are the same bits."""
    for name in names:
        a, b = getattr(one, name), getattr(other, name)
        assert np.array_equal(a, b, equal_nan=True) if name == "samples" else np.all(a == b)


# ------------------------------------------------------------------ of all of them


@pytest.mark.parametrize("name", FAULTS)
def test_the_same_seed_gives_the_same_day(good: Plan, name: str) -> None:
    one, two = harmed(good, name, seed=4), harmed(good, name, seed=4)
    assert_same(one, two, "samples", "index", "stamps", "sent")
    assert (one.markers, one.lives, one.notes) == (two.markers, two.lives, two.notes)


@pytest.mark.parametrize("name", ["jitter", "pop", "permute", "nan"])
def test_another_seed_gives_another_day(good: Plan, name: str) -> None:
    plans = [harmed(good, name, seed=seed) for seed in range(5)]
    days = {(p.samples.tobytes(), p.stamps.tobytes(), p.lives[0].info.channels) for p in plans}
    assert len(days) > 1


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_does_something_and_says_when(good: Plan, name: str) -> None:
    bad = harmed(good, name)
    if name == "restart":
        assert len(bad.lives) == 2
    else:
        parts = ("samples", "index", "stamps", "sent")
        same = all(np.array_equal(getattr(good, p), getattr(bad, p)) for p in parts)
        assert not same or (good.markers, good.lives) != (bad.markers, bad.lives)
    assert bad.notes
    assert all(note.text.startswith(name) for note in bad.notes)
    said = [step for step in bad.steps() if isinstance(step, Say)]
    assert [step.text for step in said] == [note.text for note in bad.notes]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_leaves_the_plan_that_it_was_given(good: Plan, name: str) -> None:
    fresh = Plan.of(make_recording(SECONDS))
    harmed(good, name)
    assert_same(good, fresh, "samples", "index", "stamps", "sent")
    assert (good.markers, good.lives) == (fresh.markers, fresh.lives)


def test_a_further_fault_changes_nothing_that_the_others_draw(good: Plan) -> None:
    assert_same(harmed(good, "jitter"), harmed(good, "jitter", "pop"), "stamps")


def test_faults_combine(good: Plan) -> None:
    bad = harmed(good, "drop:at=5,n=10", "clock:at=8,by=2", "nan:at=12,channel=Cz", "bursts")
    assert len(bad.index) == len(good.index) - 10
    assert bad.stamps[-1] == pytest.approx(good.stamps[-1] + 2)
    assert np.isnan(bad.samples[:, CHANNELS.index("Cz")]).sum() == RATE
    assert len(bad.notes) == 4


# ------------------------------------------------------------------ the steps of a good day


def test_a_good_day_sends_every_sample_once_in_order(good: Plan) -> None:
    steps = good.steps()
    rows = [r for s in steps if isinstance(s, SendEEG) for r in range(*s.rows.indices(10**6))]
    assert rows == list(range(len(good.index)))
    markers = [s.marker.label for s in steps if isinstance(s, SendMarker)]
    assert markers == [m.label for m in good.recording.markers]
    assert [s.at for s in steps] == sorted(s.at for s in steps)


def test_a_chunk_is_sent_when_its_last_sample_is_there(good: Plan) -> None:
    for step in good.steps():
        if isinstance(step, SendEEG):
            assert step.at == pytest.approx(good.times[step.rows][-1] + 1 / RATE)


def test_a_marker_is_sent_just_before_the_chunk_with_its_sample(good: Plan) -> None:
    steps = good.steps()
    for i, step in enumerate(steps):
        if isinstance(step, SendMarker):
            chunk = next(s for s in steps[i:] if isinstance(s, SendEEG))
            first, last = good.times[chunk.rows][[0, -1]]
            assert first - 1e-9 <= step.marker.time < last + 1 / RATE


# ------------------------------------------------------------------ time


def test_drop_leaves_the_stamps_of_what_is_sent_as_they_were(good: Plan) -> None:
    bad = harmed(good, "drop:at=10,n=7,every=5")
    assert gone(bad) == [round(at * RATE) + i for at in (10, 15, 20, 25) for i in range(7)]
    assert np.array_equal(bad.stamps, good.stamps[bad.index])
    assert np.array_equal(bad.samples, good.samples[bad.index])
    assert bad.markers == good.markers


def test_freeze_loses_what_came_meanwhile(good: Plan) -> None:
    bad = harmed(good, "freeze:at=10,duration=2")
    assert gone(bad) == list(range(2500, 3000))
    assert np.array_equal(bad.stamps, good.stamps[bad.index])


def test_freeze_may_send_afterwards_what_it_held(good: Plan) -> None:
    bad = harmed(good, "freeze:at=10,duration=2,then=held")
    assert_same(good, bad, "samples", "stamps", "index")
    inside = (good.times >= 10) & (good.times < 12)
    assert (bad.sent[inside] == 12).all()
    assert np.array_equal(bad.sent[~inside], np.maximum(good.sent[~inside], bad.sent[~inside]))
    sends = [s for s in bad.steps() if isinstance(s, SendEEG)]
    assert not [s for s in sends if 10.1 < s.at < 12]
    rows = [row for s in sends for row in range(s.rows.start, s.rows.stop)]
    assert rows == list(range(len(good.index)))


def test_bursts_hold_chunks_back_with_their_stamps(good: Plan) -> None:
    bad = harmed(good, "bursts:interval=0.5")
    assert_same(good, bad, "samples", "stamps", "index")
    assert np.unique(bad.sent) == pytest.approx(np.arange(0.5, SECONDS + 0.5, 0.5))
    assert (bad.sent >= good.sent).all()


def test_jitter_scatters_stamps_about_the_true_ones(good: Plan) -> None:
    off = harmed(good, "jitter:sd=0.003").stamps - good.stamps
    assert off.std() == pytest.approx(0.003, rel=0.05)
    assert abs(off.mean()) < 1e-4


def test_jitter_may_be_that_of_whole_chunks(good: Plan) -> None:
    off = harmed(good, "jitter:sd=0.003,per=chunk").stamps - good.stamps
    chunks = off.reshape(-1, round(good.chunk * RATE))
    assert np.ptp(chunks, axis=1).max() < 1e-9
    assert chunks[:, 0].std() == pytest.approx(0.003, rel=0.2)


@pytest.mark.parametrize("ppm", [50, -200])
def test_drift_runs_with_the_stamps(good: Plan, ppm: int) -> None:
    bad = harmed(good, f"drift:ppm={ppm}")
    assert bad.stamps - good.stamps == pytest.approx(good.stamps * ppm * 1e-6)
    assert bad.markers[-1].stamp == pytest.approx(good.markers[-1].stamp * (1 + ppm * 1e-6))
    assert bad.period == pytest.approx(SECONDS * (1 + ppm * 1e-6))
    apart = harmed(good, f"drift:ppm={ppm},markers=no")
    assert apart.markers == good.markers


def test_a_real_rate_shows_in_the_stamps_and_not_in_what_is_stated(good: Plan) -> None:
    bad = harmed(good, "rate:factor=1.01")
    assert 1 / np.diff(bad.stamps) == pytest.approx(1.01 * RATE)
    assert bad.lives[0].info.sfreq == RATE
    assert bad.pace == 1.01


def test_a_stated_rate_shows_only_in_what_is_stated(good: Plan) -> None:
    bad = harmed(good, "rate:factor=2,what=stated")
    assert_same(good, bad, "samples", "stamps", "sent")
    assert bad.lives[0].info.sfreq == 2 * RATE


@pytest.mark.parametrize("by", [3.0, -3.0])
def test_a_clock_that_is_set_moves_the_stamps_from_then_on(good: Plan, by: float) -> None:
    bad = harmed(good, f"clock:at=10,by={by}")
    later = good.times >= 10
    assert bad.stamps[later] == pytest.approx(good.stamps[later] + by)
    assert np.array_equal(bad.stamps[~later], good.stamps[~later])
    moved = [b.stamp - g.stamp for b, g in zip(bad.markers, good.markers, strict=True)]
    assert moved == pytest.approx([by * (m.time >= 10) for m in good.markers])
    assert_same(good, bad, "samples", "index", "sent")


# ------------------------------------------------------------------ outlets


@pytest.mark.parametrize("source", ["same", "new"])
def test_a_restart_closes_the_outlet_for_a_while(good: Plan, source: str) -> None:
    bad = harmed(good, f"restart:at=10.01,pause=1.5,source={source}")
    assert gone(bad) == list(range(2503, 2878))
    before, after = bad.lives
    assert (before.closes, after.opens) == (10.01, 11.51)
    assert (before.source == after.source) == (source == "same")
    assert before.info == after.info
    log = [s for s in bad.steps() if not isinstance(s, SendMarker | Say)]
    at = next(i for i, s in enumerate(log) if isinstance(s, Close))
    assert isinstance(log[at + 1], Open)
    assert [s.at for s in log[at : at + 2]] == [10.01, 11.51]
    ahead, behind = log[at - 1], log[at + 2]
    assert isinstance(ahead, SendEEG)
    assert isinstance(behind, SendEEG)
    assert ahead.rows.stop == 2503  # up to the last sample before it, and from the first after
    assert behind.rows.start == 2503
    assert ahead.at <= 10.01
    assert behind.at >= 11.51


def test_markers_are_lost_while_their_outlet_is_closed(good: Plan) -> None:
    bad = harmed(good, "restart:at=10.2,pause=2.5,outlet=markers")
    assert not gone(bad)
    sent = [s.marker.time for s in bad.steps() if isinstance(s, SendMarker)]
    assert [t for t in sent if 10 < t < 13] == []
    assert len(sent) == len(good.markers) - 3


def test_both_outlets_may_restart(good: Plan) -> None:
    bad = harmed(good, "restart:at=10,outlet=both")
    turned = [type(s.life) is EEGLife for s in bad.steps() if isinstance(s, Close | Open)]
    assert sorted(turned) == [False, False, True, True]


def test_restarts_may_follow_each_other(good: Plan) -> None:
    bad = harmed(good, "restart:at=20,source=new", "restart:at=10")
    assert [life.source for life in bad.lives] == [0, 0, 1]
    assert [life.opens for life in bad.lives[1:]] == [12, 22]


def test_overlapping_restarts_are_refused(good: Plan) -> None:
    with pytest.raises(RtfeedbackError, match="overlap"):
        harmed(good, "restart:at=10,pause=3", "restart:at=11")


def test_permuted_channels_come_with_their_labels(good: Plan) -> None:
    life = harmed(good, "permute").lives[0]
    assert sorted(life.info.channels) == sorted(CHANNELS)
    assert life.info.channels != CHANNELS
    sent = life.wire(good.samples)
    for i, label in enumerate(life.info.channels):
        assert np.array_equal(sent[:, i], good.samples[:, CHANNELS.index(label)])


def test_a_missing_channel_is_not_offered(good: Plan) -> None:
    life = harmed(good, "missing:channel=c3").lives[0]
    assert life.info.channels == ("Fp1", "Cz", "C4", "Pz")
    assert len(life.info.units) == len(life.info.kinds) == 4
    assert np.array_equal(life.wire(good.samples), good.samples[:, [0, 2, 3, 4]])


def test_what_is_offered_may_change_with_a_restart_and_back(good: Plan) -> None:
    faults = ["missing:since=restart,until=restart", "restart:at=10", "restart:at=20"]
    first, second, third = harmed(good, *faults).lives
    assert first.info == third.info
    assert len(second.info.channels) == len(CHANNELS) - 1


def test_channels_may_be_missing_and_permuted(good: Plan) -> None:
    life = harmed(good, "missing:channel=Cz", "permute").lives[0]
    assert sorted(life.info.channels) == ["C3", "C4", "Fp1", "Pz"]
    sent = life.wire(good.samples)
    assert np.array_equal(sent[:, 0], good.samples[:, CHANNELS.index(life.info.channels[0])])


@pytest.mark.parametrize("name", ["permute", "missing", "unit"])
def test_a_change_with_a_restart_needs_one(good: Plan, name: str) -> None:
    with pytest.raises(RtfeedbackError, match="--fault restart"):
        harmed(good, f"{name}:since=restart")


@pytest.mark.parametrize("stated", ["yes", "no"])
def test_another_unit_may_be_stated_or_not(good: Plan, stated: str) -> None:
    life = harmed(good, f"unit:to=volts,stated={stated}").lives[0]
    assert life.wire(good.samples) == pytest.approx(good.samples * 1e-6)
    assert life.info.units[0] == ("volts" if stated == "yes" else "microvolts")


def test_a_unit_may_be_stated_that_is_not_sent(good: Plan) -> None:
    life = harmed(good, "unit:to=mV,stated=yes,factor=1").lives[0]
    assert np.array_equal(life.wire(good.samples), good.samples)
    assert life.info.units == ("mV",) * len(CHANNELS)


# ------------------------------------------------------------------ the signal


def test_nan_strikes_one_channel_or_all(good: Plan) -> None:
    one = np.isnan(harmed(good, "nan:at=10,duration=2,channel=Pz").samples)
    assert one[:, CHANNELS.index("Pz")].sum() == one.sum() == 2 * RATE
    every = np.isnan(harmed(good, "nan:at=10,duration=2,channel=all").samples)
    assert every[2500:3000].all()
    assert every.sum() == 2 * RATE * len(CHANNELS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_artefact_begins_at_its_time_and_leaves_the_rest(good: Plan, kind: str) -> None:
    bad = harmed(good, f"{kind}:at=10", seed=2)
    assert_same(good, bad, "stamps", "sent", "index")
    _, first, last = touched(good, bad)
    assert 10 <= first < 11
    assert last < 20


def test_an_artefact_may_be_put_into_one_channel(good: Plan) -> None:
    for kind in ("pop", "flat"):
        names, first, last = touched(good, harmed(good, f"{kind}:at=5,channel=C4,duration=1"))
        assert names == ["C4"]
        assert first == pytest.approx(5, abs=0.01)
        assert last < 14


def test_an_artefact_may_come_again_and_again(good: Plan) -> None:
    bad = harmed(good, "blink:at=1,every=4")
    assert [note.at for note in bad.notes] == [1, 5, 9, 13, 17, 21, 25, 29]
    assert [note.text for note in bad.notes if "Fp1" not in note.text] == []
    changed = (np.abs(bad.samples - good.samples)[:, 0] > 40).reshape(SECONDS, -1).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [1, 5, 9, 13, 17, 21, 25, 29]


# ------------------------------------------------------------------ the scanner's markers


def times(plan: Plan) -> list[float]:
    return [round(marker.time, 6) for marker in plan.markers]


def test_missing_markers_do_not_come(good: Plan) -> None:
    bad = harmed(good, "marker-missing:at=10,n=2")
    assert times(bad) == [t for t in times(good) if t not in (10.4, 11.4)]
    assert set(bad.markers) <= set(good.markers)


def test_doubled_markers_come_twice(good: Plan) -> None:
    bad = harmed(good, "marker-doubled:at=10,delay=0.03")
    more = set(bad.markers) - set(good.markers)
    assert len(bad.markers) == len(good.markers) + 1
    assert [m.stamp for m in more] == pytest.approx([10.43])
    assert set(good.markers) <= set(bad.markers)


def test_late_markers_keep_their_stamps(good: Plan) -> None:
    bad = harmed(good, "marker-late:at=10,delay=0.7")
    late = [(g, b) for g, b in zip(good.markers, bad.markers, strict=True) if g != b]
    [(on_time, too_late)] = late
    assert too_late == PlannedMarker(on_time.time, "R128", on_time.stamp, on_time.sent + 0.7)


def test_an_astray_marker_comes_beside_the_true_one(good: Plan) -> None:
    bad = harmed(good, "marker-astray:at=10,by=50")
    [more] = set(bad.markers) - set(good.markers)
    assert (more.time, more.stamp) == pytest.approx((10.4, 60.4))
    assert set(good.markers) <= set(bad.markers)


def test_a_longer_tr_marks_every_second_volume(good: Plan) -> None:
    assert harmed(good, "marker-thin:keep=2").markers == good.markers[::2]


def test_a_buffer_is_sent_again_bit_for_bit(good: Plan) -> None:
    bad = harmed(good, "repeat:at=10,length=0.2,duration=1")
    again = bad.samples[2500:2750].reshape(5, 50, -1)
    assert (again == good.samples[2450:2500]).all()
    assert np.array_equal(bad.samples[2750:], good.samples[2750:])


def test_every_channel_may_hold_its_last_value(good: Plan) -> None:
    bad = harmed(good, "flat:at=10,duration=1,channel=all")
    assert not np.ptp(bad.samples[2500:2750], axis=0).any()
    assert np.array_equal(bad.samples[2750:], good.samples[2750:])


def test_slices_divide_each_volume_evenly(good: Plan) -> None:
    bad = harmed(good, "marker-slices:n=4")
    assert len(bad.markers) == 4 * len(good.markers)
    assert np.diff([m.stamp for m in bad.markers]) == pytest.approx(0.25)
    assert {m.label for m in bad.markers} == {"R128"}
    for marker in bad.markers:
        assert marker.sent == pytest.approx(good.sending(marker.time))


def test_a_scanner_that_stops_marks_no_volume(good: Plan) -> None:
    bad = harmed(good, "scanner-stop:at=20")
    assert times(bad) == [t for t in times(good) if t < 20]
    assert_same(good, bad, "samples", "sent")
    pause = harmed(good, "scanner-stop:at=20,duration=5")
    assert times(pause) == [t for t in times(good) if not 20 <= t < 25]


def test_marker_faults_strike_the_most_frequent_label_or_the_one_named() -> None:
    recording = make_recording(SECONDS)
    odd = tuple(
        type(m)(m.stamp + 0.1, "S  1") for m in recording.markers if round(m.stamp) % 10 == 0
    )
    mixed = tuple(sorted((*recording.markers, *odd), key=lambda m: m.stamp))
    plan = Plan.of(Recording(recording.info, recording.samples, mixed))
    assert len(harmed(plan, "scanner-stop:at=0").markers) == len(odd)
    named = harmed(plan, "scanner-stop:at=0,label=S  1")
    assert {m.label for m in named.markers} == {"R128"}


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dorp", "There is no fault 'dorp'.*marker-slices.*Did you mean drop?"),
        ("drop:ta=3", "'ta'.*is not a key.*at, every, n"),
        ("drop:evry=3", "Did you mean 'every'"),
        ("drop:at", "'at' does not set a key once.*NAME:key=value"),
        ("drop:at=3,at=4", "does not set a key once"),
        ("drop:at=soon", "'at' is 'soon'"),
        ("drop:n=0", "'n' is '0'"),
        ("drop:at=nan", "'at' is 'nan'"),
        ("freeze:then=maybe", "'then' is 'maybe'.*'lost' or 'held'"),
        ("", "There is no fault ''"),
    ],
)
def test_a_malformed_fault_says_what_is_known(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_fault(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("drop:at=30", "after the end of 'rec'.*lasts 30 s"),
        ("clock:at=99", "after the end"),
        ("nan:channel=Oz", "no channel Oz.*Fp1, C3"),
        ("pop:channel=Oz", "no channel Oz"),
        ("marker-missing:label=S  9", "no marker for the fault.*30 x R128"),
        ("drop:at=0,n=99999", "leave nothing"),
    ],
)
def test_what_the_recording_does_not_have_is_refused(good: Plan, text: str, told: str) -> None:
    with pytest.raises(RtfeedbackError, match=told):
        harmed(good, text)


@pytest.mark.parametrize("name", [n for n, fault in FAULTS.items() if fault.of_markers])
def test_marker_faults_need_markers(name: str) -> None:
    recording = Recording(stream_info(), make_recording(SECONDS).samples, ())
    with pytest.raises(RtfeedbackError, match="no marker"):
        harmed(Plan.of(recording), name)


# ------------------------------------------------------------------ what is listed


def test_the_help_lists_every_fault() -> None:
    callbacks = {c.callback.__name__: c.callback for c in app.registered_commands if c.callback}
    play = callbacks["play"]
    listed = re.findall(r"^ +of \w+: +(.+)$", play.__doc__ or "", re.M)
    assert " ".join(listed).split() == list(FAULTS)


def test_the_documents_list_every_fault_with_every_key() -> None:
    assert fault_table() in DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_and_key_is_explained(name: str) -> None:
    fault: Any = FAULTS[name]
    assert fault.__doc__
    for key, field in fault.model_fields.items():
        assert field.description, key
