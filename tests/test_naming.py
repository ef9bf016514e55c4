from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtfeedback.errors import StreamError
from rtfeedback.naming import name_channels, refuse_unnamed, same_reference

LAW = settings(deadline=None, derandomize=True, max_examples=50)
SITES = ("Fp1", "F3", "Fz", "C3", "Cz", "C4", "T7", "P3", "O1", "AFp3h")


@LAW
@given(
    sites=st.permutations(SITES),
    dress=st.sampled_from(
        ["{}", "{}-REF", "{}_ref", "{}-A1", "{}-Cz", "{} - LE", "EEG {}-Ref"]
    ),
    case=st.sampled_from([str, str.upper, str.lower]),
    dots=st.sampled_from(["", "..", " "]),
    kind=st.sampled_from(["", "EEG", "eeg"]),
)
def test_a_cap_has_the_same_names_however_it_is_written(
    sites: list[str], dress: str, case: type[str], dots: str, kind: str
) -> None:
    written = [dress.format(case(site)) + dots for site in sites]
    names = name_channels([*written, "ECG"], [kind] * (len(sites) + 1))
    assert names.channels == (*sites, "ECG")
    assert names.kinds == ("eeg",) * len(sites) + ("ecg",)


@pytest.mark.parametrize(
    ("labels", "reference"),
    [
        ("F3-A1 C3-A1", "A1"),
        ("F3-a1 C3-A1", "A1"),
        ("F3_ref C3_ref ECG", "REF"),
        ("F3-fcz C3-FCZ", "FCz"),
        ("F3 C3", ""),
    ],
)
def test_what_all_eeg_labels_end_in_is_the_reference_and_told(
    labels: str, reference: str
) -> None:
    names = name_channels(labels.split())
    assert names.channels[:2] == ("F3", "C3")
    assert names.reference == reference
    assert any("taken off" in note for note in names.notes) == bool(reference)
    assert any(f"the labels: {reference}" in n for n in names.notes) == bool(reference)


@pytest.mark.parametrize(
    ("stated", "counts", "told"),
    [("Cz", "Cz", True), ("A1", "A1", False), ("REF", "A1", True), ("", "A1", True)],
)
def test_a_stated_reference_counts_and_a_contradiction_is_told(
    stated: str, counts: str, told: bool
) -> None:
    names = name_channels(["F3-A1", "C3-A1"], reference=stated)
    assert names.reference == counts
    assert any("reference" in note for note in names.notes) == told


@pytest.mark.parametrize(
    "labels",
    [
        "F3-C3 F4-C4",  # bipolar
        "C3-A2 C4-A1",  # to the other ear: no reference in common
        "F3-A1 C3",
        "C3-A1",  # one EEG channel shares nothing with others
        "C3-A1 ECG-A1",
        "T3 T7",  # two names of one site are two labels
        "E1 E2",
        "C3_left F3_left",  # no reference
        "EEG_001 EEG_002",  # numbers are no names without their prefix
    ],
)
def test_what_only_some_share_is_left_alone(labels: str) -> None:
    names = name_channels(labels.split())
    assert names.channels == tuple(labels.split())
    assert names.notes == ()


def test_a_bipolar_channel_keeps_both_sites_under_any_ending() -> None:
    names = name_channels(["EEG F3-C3-REF", "EEG F4-C4-REF", "EEG Cz-REF"])
    assert {"F3-C3", "F4-C4"} <= {name.removeprefix("EEG ") for name in names.channels}
    assert "F3" not in names.channels


def test_labels_count_where_a_reader_calls_all_eeg() -> None:
    labels = ["EEG FP1-REF", "EEG CZ-REF", "EEG 20-REF", "EKG1-REF", "IBI", "LOC-REF"]
    names = name_channels(labels, ["eeg"] * len(labels))
    assert names.channels[:3] == ("Fp1", "Cz", "20")
    assert names.kinds == ("eeg", "eeg", "eeg", "ecg", "eeg", "eog")


@pytest.mark.parametrize("aux", ["VEOG", "ECG", "EMG-L", "GSR", "Status", "Right AUX"])
def test_an_auxiliary_channel_is_never_eeg(aux: str) -> None:
    for label, kind in product((aux, f"{aux}-REF", f"EEG {aux}"), ("", "EEG")):
        names = name_channels(["F3-REF", "C3-REF", label], ["EEG", "EEG", kind])
        assert names.kinds[2] != "eeg"
        assert names.channels[:2] == ("F3", "C3")


def test_respelling_is_told() -> None:
    assert name_channels(["FP1", "Cz"]).notes == ("spelt FP1 as Fp1",)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("FCz", "FCZ.", True),
        ("FCz", "CPz", False),
        ("FCz", "", True),
        ("REF", "FCz", True),
        ("ref", "n/a", True),
        ("A1A2", "Cz", False),
    ],
)
def test_a_reference_without_a_name_agrees_with_any(one: str, other: str, same: bool) -> None:
    assert same_reference(one, other) == same_reference(other, one) == same


@pytest.mark.parametrize("labels", ["", "C3", "C3 c3", "C3 C3-REF C4-REF"])
def test_a_stream_that_does_not_name_each_channel_is_refused(labels: str) -> None:
    with pytest.raises(StreamError, match="'Cap' does not name each of its channels"):
        refuse_unnamed("Cap", 2, name_channels(labels.split()))


def test_two_channels_that_become_one_name_are_refused_by_that_name() -> None:
    with pytest.raises(StreamError, match="Cz more than once"):
        refuse_unnamed("Cap", 2, name_channels(["CZ-REF", "Cz-Ref"]))
