from __future__ import annotations

import pytest

from rtfeedback.channels import (
    SYNONYMS,
    canonical,
    is_site,
    kind_of,
    scale_to_volts,
    states_unit,
)
from rtfeedback.errors import ChannelError


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("Fcz.", "FCz"),
        ("FP1..", "Fp1"),
        (" cz ", "Cz"),
        ("AFP3H", "AFp3h"),
        ("tpp10h", "TPP10h"),
        ("T3", "T3"),
        ("t7", "T7"),
        ("m1", "M1"),
        ("Right AUX", "Right AUX"),
        ("F3-C3", "F3-C3"),
        ("Fzz", "Fzz"),
        ("C11", "C11"),
        ("ecg", "ecg"),
        ("", ""),
    ],
)
def test_a_label_has_one_spelling(written: str, label: str) -> None:
    assert canonical(written) == label
    assert canonical(label) == label


def test_every_name_of_the_10_05_system_is_known_in_any_case() -> None:
    mne = pytest.importorskip("mne")
    names = mne.channels.make_standard_montage("colin27_1005").ch_names
    spellings = [(name, w) for name in names for w in (name, name.upper(), name.lower() + "..")]
    assert [name for name, written in spellings if canonical(written) != name] == []
    assert all(kind_of(name) == "eeg" for name in names)


@pytest.mark.parametrize(
    ("label", "stated", "kind"),
    [
        ("Cz", "EEG", "eeg"),
        ("whatever", "eeg", "eeg"),
        ("Cz", "", "eeg"),
        ("F3-C3", "", "eeg"),
        ("EEG 001", "", "eeg"),
        ("E12", "", "eeg"),
        ("whatever", "", "misc"),
        ("Status", "", "misc"),
        ("whatever", "EOG", "eog"),
        ("whatever", "VEOG", "eog"),
        ("whatever", "ECG", "ecg"),
        ("Cz", "stim", "misc"),
        ("Cz", "TRIG", "misc"),
        ("VEOGb", "", "eog"),
        ("EKG", "", "ecg"),
        ("emg-L", "", "emg"),
        ("Cz", "n/a", "eeg"),
        ("LOC", "", "eog"),
        ("Photic", "eeg", "misc"),
    ],
)
def test_a_kind_is_what_is_stated_or_what_the_label_says(
    label: str, stated: str, kind: str
) -> None:
    assert kind_of(label, stated) == kind


@pytest.mark.parametrize("label", ["ECG", "HEOG", "EMG1", "Right AUX", "GSR"])
def test_a_channel_named_for_another_organ_is_never_eeg(label: str) -> None:
    assert kind_of(label, "EEG") != "eeg"


@pytest.mark.parametrize(
    ("unit", "volts"),
    [
        *[(u, 1e-6) for u in ("", "uV", "\u00b5V", "\u03bcV", "microV", "microvolts", " uv ")],
        *[("mV", 1e-3), ("millivolt", 1e-3), ("V", 1.0), ("Volts", 1.0), ("nV", 1e-9)],
    ],
)
def test_a_unit_of_voltage_has_a_scale(unit: str, volts: float) -> None:
    assert scale_to_volts(unit) == volts


@pytest.mark.parametrize("unit", ["MV", "g", "T/m", "ohm", "counts"])
def test_another_unit_is_refused_by_name(unit: str) -> None:
    with pytest.raises(ChannelError, match=unit):
        scale_to_volts(unit)


def test_silence_is_microvolts_and_known_for_silence() -> None:
    assert [
        u for u in ("", " ", "n/a", "N/A", "unknown", "uV", "V", "g") if states_unit(u)
    ] == [
        "uV",
        "V",
        "g",
    ]
    assert scale_to_volts("N/A") == scale_to_volts("none") == 1e-6


def test_two_names_of_one_site_name_each_other() -> None:
    assert all(SYNONYMS[SYNONYMS[name]] == name and is_site(name) for name in SYNONYMS)
    assert SYNONYMS["T3"] == "T7"
    assert not is_site("F3-C3")
