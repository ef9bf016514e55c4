"""What says when the scanner began, beside the markers of its volumes, and what is refused."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from offline.alignment.align import AlignmentConfig, Anchor
from rtfeedback.config import parse_config
from rtfeedback.signals import Marker
from tests.offline.volume_trains import (
    BEGAN,
    TR,
    N,
    aligned,
    assert_onsets,
    grid,
    refused,
    said,
    train,
)

LAW = settings(deadline=None, derandomize=True, max_examples=50)


def test_an_anchor_says_when_the_scanner_began_where_no_volume_is_marked() -> None:
    """As in EEG that was cut at the protocol's start, 2 s after the scanner's."""
    protocol = [Marker(n * 20.0, ("S 99", "S  2")[n % 2]) for n in range(4)]
    found = aligned(protocol, anchor={"label": "S 99", "at": 2.0})
    assert_onsets(found, np.where(np.arange(N) < 1, np.nan, grid(-2.0)))
    assert found.source == "the anchor S 99 at 0.000 s"
    assert (found.tr, found.drift, found.jitter) == (TR, None, None)
    assert "no EEG was recorded in volume 0: not used" in said(found)
    table = aligned([], tuple(protocol), anchor={"label": "S99", "at": 2.0}, onset=-2.0)
    assert table.source == "the stated onset of -2 s"


def test_an_anchor_whose_first_marker_is_missing_is_found_by_another() -> None:
    """The first S 99 may be missing: the next comes 40 s later, and the first S 2 tells."""
    protocol = [Marker(3.0 + n * 20.0, ("S 99", "S  2")[n % 2]) for n in range(1, 5)]
    both = [{"label": "S 99", "at": 2.0}, {"label": "S  2", "at": 22.0}]
    found = aligned(protocol, anchor=both)
    assert_onsets(found, grid(1.0))
    assert "S 99 at 43.000 s would put the first volume 40.000 s later" in said(found)
    whole = aligned([Marker(3.0, "S 99"), *protocol], anchor=both)
    assert_onsets(whole, grid(1.0))
    assert "later" not in said(whole)


def test_a_stated_onset_and_the_tr_are_taken_where_nothing_is_marked() -> None:
    found = aligned([], onset=7.5, duration=7.5 + 20 * TR)
    assert_onsets(found, np.where(np.arange(N) < 20, grid(7.5), np.nan))
    assert "the stated onset of 7.5 s" in said(found)
    assert "the drift is not known" in said(found)


def test_where_nothing_tells_the_run_is_refused_with_the_ways_out() -> None:
    message = refused(
        [Marker(1.0, "S  1"), Marker(2.0, "R129")], anchor={"label": "S 99", "at": 0}
    )
    assert "no volume markers" in message
    assert "Its markers are: R129, S  1; the anchors: S 99" in message
    assert "volume_labels (now R128, S128," in message
    assert "an anchor in [alignment], or the run's onset" in message
    assert "Its markers are: none" in refused([])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("markers", "has no volume markers of its own"),
        ("events", "names no volume markers"),
        ("anchor", "has no anchor"),
        ("stated", "No onset is stated"),
    ],
)
def test_a_source_that_is_asked_for_is_the_only_one(source: str, words: str) -> None:
    everything = {
        "markers": train(),
        "events": tuple(train()),
        "anchor": {"label": "S 99", "at": 0.0},
        "stated": BEGAN,
    }
    left = {name: each for name, each in everything.items() if name != source}
    given = {
        "named": left.get("events", ()),
        "onset": left.get("stated"),
        "anchor": left.get("anchor", []),
    }
    others = [Marker(BEGAN, "S 99")] if source != "anchor" else []
    markers = [*left.get("markers", []), *others]  # type: ignore[misc]
    assert words in refused(markers, source=source, **given)


def test_volumes_that_were_scanned_without_eeg_alone_are_refused() -> None:
    message = refused([], onset=200.0)
    assert "No volume of run-01 was scanned while its EEG was recorded" in message
    assert "115.000 s of EEG, 40 volumes" in message


# ------------------------------------------------------------------- what does not go together


@pytest.mark.parametrize("tr", [1.8, 4.0, 1.0, 0.7])
def test_markers_of_another_tr_are_refused(tr: float) -> None:
    message = refused(train(tr=tr), first_marker=0)
    assert "differ in their TR" in message
    assert f"every {tr:g} s, and the BOLD states 2 s" in message


def test_a_tr_that_is_a_little_off_is_told_and_gone_by() -> None:
    found = aligned(train(tr=1.984))
    assert found.tr == pytest.approx(1.984)
    assert "the markers show a TR of 1.984 s, the BOLD states 2" in said(found)


def test_an_anchor_and_a_stated_onset_that_differ_are_refused_until_one_is_chosen() -> None:
    values: dict[str, Any] = {"anchor": {"label": "S 99", "at": 2.0}, "onset": 12.0}
    message = refused([Marker(8.0, "S 99")], **values)
    assert "the first volume began at 6.000 s, and the stated onset of 12 s" in message
    for source, start in (("anchor", 6.0), ("stated", 12.0)):
        assert_onsets(aligned([Marker(8.0, "S 99")], source=source, **values), grid(start))


@pytest.mark.parametrize("onset", [BEGAN + 0.5 * TR, BEGAN + TR, BEGAN - TR, -200.0, 300.0])
def test_markers_are_not_believed_against_an_onset_that_they_do_not_go_with(
    onset: float,
) -> None:
    assert "say different things" in refused(train(), onset=onset)
    assert_onsets(aligned(train(), onset=onset, first_marker=0), grid())


def test_a_scan_that_was_begun_anew_off_the_grid_is_refused() -> None:
    two = [*train(range(20)), *train(range(20), start=BEGAN + 20.6 * TR)]
    assert "keep to no even grid" in refused(two)


def test_of_several_scans_in_one_recording_the_one_that_fits_is_taken() -> None:
    scout, scan = train(range(6), start=1.0), train(start=1.0 + 13.37 * TR)
    found = aligned([*scout, *scan])
    assert_onsets(found, grid(1.0 + 13.37 * TR))
    assert "of 2 scans that are marked, that of 40 volumes is taken" in said(found)
    other = train(start=200.13)
    message = refused([*scan, *other], duration=400.0)
    assert "2 scans of that length are in the EEG: give an anchor or the run's onset" in message
    assert_onsets(aligned([*scan, *other], duration=400.0, onset=200.0), grid(200.13))
    assert_onsets(aligned([*scan, *other], duration=400.0, onset=28.0), grid(1 + 13.37 * TR))


def test_a_localizer_of_another_tr_in_the_same_recording_does_no_harm() -> None:
    found = aligned([*train(range(30), tr=0.9, start=0.5), *train(start=60.0)], duration=200.0)
    assert_onsets(found, grid(60.0))


# ------------------------------------------------------------------------ discard and offset


def test_discarded_volumes_have_no_onset_and_were_scanned_all_the_same() -> None:
    found = aligned(train(), discard=2)
    assert_onsets(found, np.where(np.arange(N) < 2, np.nan, grid()))
    assert found.scanned.tolist() == grid().tolist()
    assert "the BOLD's first 2 volumes are discarded" in said(found)
    assert "No volume of run-01" in refused(train(), discard=N)


@pytest.mark.parametrize("offset", [-0.25, 0.125])
def test_an_offset_moves_every_onset_and_is_told(offset: float) -> None:
    found = aligned(train([n for n in range(N) if n != 9]), offset=offset)
    assert_onsets(found, grid(BEGAN + offset))
    assert f"moved by {offset:g} s" in said(found)


def test_the_settings_are_read_from_toml_and_defaults_change_nothing() -> None:
    text = """
    volume_labels = ["R128"]
    anchor = {label = "S 99", at = 2.0}
    discard = 1
    """
    config = parse_config(tomllib.loads(text), AlignmentConfig, source="test")
    assert config.anchor == (Anchor(label="S 99", at=2.0),)
    assert AlignmentConfig().model_dump(exclude_defaults=True) == {}
