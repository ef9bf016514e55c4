"""The BOLD's volumes are those that the EEG's markers begin, and are never guessed."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.eeg.recordings import read_recording
from rtfeedback.online.trclock import TRClock
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


@pytest.mark.parametrize(
    "label", ["R128", "Response/R128", "S128", "Scanner/Scan Start", "T  1"]
)
@pytest.mark.parametrize("tr", [0.8, 1.26, 2.0, 2.16])
def test_as_many_markers_as_volumes_are_those_volumes(tr: float, label: str) -> None:
    found = aligned(train(tr=tr, label=label), tr=tr)
    assert found.onsets.dtype == np.float64
    assert_onsets(found, grid(tr=tr))
    assert (found.source, found.tr) == ("markers in the EEG", tr)
    assert found.drift == pytest.approx(0.0, abs=1e-3)
    assert len(found.notes) == 1
    assert "40 volumes are marked for the BOLD's 40, from 5.000 s" in said(found)


@LAW
@given(
    tr=st.sampled_from([0.8, 1.26, 2.0]),
    shown=st.sampled_from([1.0, 0.9995, 1.002, 0.99]),
    late=st.lists(st.integers(0, 4), min_size=N, max_size=N),
)
def test_numbers_onsets_and_tr_are_those_of_the_daemon(
    tr: float, shown: float, late: list[int]
) -> None:
    markers = [
        Marker(marker.stamp + each / 1000, marker.label)
        for marker, each in zip(train(tr=tr * shown), late, strict=True)
    ]
    clock = TRClock(tr)
    volumes = [volume for marker in markers if (volume := clock.push(marker))]
    found = aligned(markers, tr=tr)
    assert found.tr == clock.tr
    assert [(n, t) for n, t in enumerate(found.onsets.tolist())] == volumes


def test_other_markers_and_doubled_ones_change_nothing() -> None:
    doubled = [*train(), *train([3, 17], start=BEGAN + 0.01), *train(label="S  8", tr=1.37)]
    found = aligned(doubled)
    assert_onsets(found, grid())
    assert "2 markers are doubled" in said(found)


def test_what_the_table_beside_the_eeg_names_counts_where_the_eeg_names_nothing() -> None:
    named = tuple(train())
    found = aligned(train(label="S  1"), named)
    assert_onsets(found, grid())
    assert found.source == "the events.tsv beside the EEG"
    later = aligned(train(start=9.0), named)
    assert (later.source, later.onsets[0]) == ("markers in the EEG", 9.0)
    asked = aligned(train(start=9.0), named, source="events")
    assert (asked.source, asked.onsets[0]) == ("the events.tsv beside the EEG", BEGAN)


# ---------------------------------------------------------------------------- those missing


@LAW
@given(
    missing=st.sets(st.integers(1, N - 2), max_size=12),
    drift=st.sampled_from([-300.0, 0.0, 80]),
)
def test_markers_that_are_missing_within_the_run_are_filled_in_and_told(
    missing: set[int], drift: float
) -> None:
    tr = TR * (1 + drift * 1e-6)
    found = aligned(train(set(range(N)) - missing, tr=tr))
    np.testing.assert_allclose(found.onsets, grid(tr=tr), rtol=0, atol=2e-3)
    assert ("no marker" in said(found)) == bool(missing)


def test_what_is_filled_in_follows_the_drift() -> None:
    """Twelve volumes without a marker: by the header's TR the middle would be 5 ms off."""
    tr = TR * (1 + 400e-6)
    found = aligned(train([n for n in range(N) if not 10 <= n < 22], tr=tr))
    missed = found.onsets[12:22] - grid(tr=tr)[12:22]
    assert np.abs(missed).max() < 1e-6
    assert found.drift == pytest.approx(400, abs=0.01)
    assert "no marker for volumes 10 to 21: filled in" in said(found)


def test_the_first_two_of_a_row_are_where_the_daemon_inserts_them() -> None:
    markers = train([n for n in range(N) if n not in (7, 8)], tr=TR * (1 + 400e-6))
    clock = TRClock(TR)
    for marker in markers[:7]:
        clock.push(marker)
    inserted = [clock.insert(), clock.insert()]
    assert aligned(markers).onsets[7:9].tolist() == [each.onset for each in inserted if each]


def test_the_first_markers_that_are_missing_are_filled_in_where_that_is_said() -> None:
    short = train(range(2, N))
    message = refused(short)
    assert "38 volume markers in the EEG" in message
    assert "volumes 0 to 37, and 40 volumes in the BOLD" in message
    assert "begins 9.000 s before the first of them and ends 32.000 s after the last" in message
    assert "first_marker = 2 if the first 2" in message
    assert "first_marker = 0 if the last 2" in message
    for values in ({"first_marker": 2}, {"onset": BEGAN}, {"onset": BEGAN + 0.2}):
        found = aligned(short, **values)
        assert_onsets(found, grid())
        assert "the first marker begins volume 2, as counted from 0, by" in said(found)
        assert "no marker for volumes 0 to 1: filled in" in said(found)


def test_volumes_after_the_last_marker_are_filled_in_only_while_the_eeg_lasts() -> None:
    found = aligned(train(range(30)), duration=BEGAN + 33 * TR, first_marker=0)
    assert_onsets(found, np.where(np.arange(N) < 33, grid(), np.nan))
    assert "no marker for volumes 30 to 32: filled in" in said(found)
    assert "no EEG was recorded in volumes 33 to 39: not used" in said(found)


def test_a_lone_marker_at_the_scans_begin_is_enough_where_that_is_said() -> None:
    assert "first_marker = 0 if the last 39" in refused(train([0]))
    found = aligned(train([0]), first_marker=0)
    assert_onsets(found, grid())
    assert (found.drift, found.jitter) == (None, None)


# ---------------------------------------------------------------------- more than volumes


def test_more_markers_than_volumes_are_refused_until_it_is_said_which_end_is_more() -> None:
    """A guess would shift every label by three TRs."""
    message = refused(train(range(N + 3)))
    assert "first_marker = -3 if the scanner ran 3 dummy volumes first" in message
    assert "first_marker = 0 if the BOLD ends before the markers do" in message
    dummies = aligned(train(range(N + 3)), first_marker=-3)
    assert_onsets(dummies, grid(BEGAN + 3 * TR))
    assert (
        "the first 3 marked volumes are not in the BOLD: dummies, by first_marker = -3"
        in said(dummies)
    )
    after = aligned(train(range(N + 3)), first_marker=0)
    assert_onsets(after, grid())
    assert "the last 3 marked volumes are not used: the BOLD ends before" in said(after)
    assert dummies.scanned.tolist() == after.scanned.tolist() == grid(n=N + 3).tolist()


@pytest.mark.parametrize(
    "values", [{"onset": BEGAN + 3 * TR}, {"anchor": {"label": "S 99", "at": 2.0}}]
)
def test_an_anchor_or_a_stated_onset_says_which_markers_are_the_bolds(
    values: dict[str, Any],
) -> None:
    markers = [*train(range(N + 4)), Marker(BEGAN + 3 * TR + 2.1, "Stimulus/S 99")]
    found = aligned(markers, **values)
    assert_onsets(found, grid(BEGAN + 3 * TR))  # of the markers, not 0.1 s later
    assert "the first 3 marked volumes are not in the BOLD: dummies, by" in said(found)
    assert "the last 1 marked volume is not used" in said(found)


@pytest.mark.parametrize("first", [-N, -99, N, 99])
def test_a_first_marker_that_leaves_none_to_the_bold_is_refused(first: int) -> None:
    assert "do not overlap volume by volume" in refused(train(), first_marker=first)


# ---------------------------------------------------------------------------------- slices


@pytest.mark.parametrize(
    ("tr", "slices"), [(2.0, 8), (2.0, 32), (2.16, 30), (1.0, 16), (0.8, 12)]
)
@pytest.mark.parametrize("stated", [False, True])
def test_markers_of_slices_give_the_volumes(tr: float, slices: int, stated: bool) -> None:
    of_slices = train(range(N * slices), tr=tr / slices)
    values: dict[str, Any] = {"slices_per_volume": slices} if stated else {}
    found = aligned(of_slices, tr=tr, **values)
    assert_onsets(found, grid(tr=tr))
    assert found.tr == tr
    assert f"slices are marked: {N * slices} markers" in said(found)


def test_few_slow_slices_are_volumes_only_where_their_number_is_stated() -> None:
    """Three markers a TR may as well be volumes of another scan."""
    of_slices = train(range(N * 3), tr=TR / 3)
    message = refused(of_slices)
    assert "differ in their TR" in message
    assert "slices_per_volume" in message
    assert_onsets(aligned(of_slices, slices_per_volume=3), grid())


@pytest.mark.parametrize("stated", [None, 16])
def test_a_volume_whose_first_slice_has_no_marker_is_filled_in(stated: int | None) -> None:
    drifting = train(
        [k for k in range(N * 16) if k not in (7 * 16, 9 * 16 + 3)], tr=TR * 1.0002 / 16
    )
    values: dict[str, Any] = {"slices_per_volume": stated} if stated else {}
    found = aligned(drifting, **values)
    np.testing.assert_allclose(found.onsets, grid(tr=TR * 1.0002), rtol=0, atol=1e-3)
    assert "no marker for volume 7: filled in" in said(found)


# ---------------------------------------------------------------------------------- real data


def test_a_real_train_of_volume_markers_keeps_to_its_tr(shared: Path) -> None:
    with (shared / "bcgnet_header" / "sub34_r01_events.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    named = tuple(Marker(float(row["onset"]), row["trial_type"]) for row in rows)
    found = aligned([], named, tr=2.1, n=150, duration=315.5)
    assert found.source == "the events.tsv beside the EEG"
    np.testing.assert_allclose(found.onsets, 0.2008 + np.arange(150) * 2.1, rtol=0, atol=1e-9)
    assert found.tr == 2.1
    assert found.drift == pytest.approx(0, abs=0.01)
    assert found.jitter == pytest.approx(0, abs=1e-9)
    volumes = [marker for marker in named if marker.label == "S128"]
    gone = aligned([*volumes[:40], *volumes[49:]], tr=2.1, n=150, duration=315.5)
    np.testing.assert_allclose(gone.onsets, found.onsets, rtol=0, atol=1e-9)
    assert "149 volume markers" in refused(volumes[1:], tr=2.1, n=150, duration=315.5)


@pytest.mark.parametrize("subject", ["32", "35", "36"])
def test_real_brainvision_markers_of_volumes_and_of_slices_say_the_same(
    shared: Path, tmp_path: Path, subject: str
) -> None:
    """True headers and markers of NODDI; the samples, which are not there, are zeros."""
    pytest.importorskip("mne")
    name = f"sub-{subject}_task-rest_eeg"
    source = shared / "noddi_bids_example" / "derivatives" / f"sub-{subject}" / "eeg"
    for suffix in (".vhdr", ".vmrk"):
        shutil.copy(source / f"{name}{suffix}", tmp_path)
    header = (tmp_path / f"{name}.vhdr").read_text(encoding="utf-8")
    n_times = int(header.split("DataPoints=")[1].split()[0])
    with (tmp_path / f"{name}.dat").open("wb") as file:
        file.truncate(n_times * 64 * 4)
    recording = read_recording(tmp_path / f"{name}.vhdr")
    facts: dict[str, Any] = {"tr": 2.16, "n": 300, "duration": n_times / 250.0}
    markers = list(recording.markers)
    by_volumes = aligned(markers, **facts)
    by_slices = aligned(markers, volume_labels=["s"], **facts)
    assert by_volumes.onsets.tolist() == by_slices.onsets.tolist()
    assert np.diff(by_volumes.onsets) == pytest.approx(2.16)
    assert "slices are marked: 9000 markers" in said(by_slices)
    assert by_volumes.tr == by_slices.tr == 2.16
