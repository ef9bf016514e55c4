"""What a channel's label, stated type and unit mean: one canonical name, kind and scale.

Knows no recording and no stream; needs no MNE, so that the runtime does not either. What
the labels of one stream share is `naming.py`'s.
"""

from __future__ import annotations

import re
from typing import Final

from rtfeedback.errors import ChannelError

# The 10-05 system (Oostenveld & Praamstra 2001), as a grammar: a row, then `z` or a number,
# then `h` for half-way sites. A1, A2, M1, M2 (ears, mastoids) and T3-T6 (10-20) as well.
_ROWS = (
    *("N", "FP", "AFP", "AF", "AFF", "F", "FFT", "FT", "FTT", "FFC", "FC", "FCC", "T", "C"),
    *(
        "TTP",
        "TP",
        "TPP",
        "CCP",
        "CP",
        "CPP",
        "P",
        "PPO",
        "PO",
        "POO",
        "O",
        "OI",
        "I",
        "A",
        "M",
    ),
)
_SITE: Final = re.compile(rf"({'|'.join(_ROWS)})(Z|(?:[1-9]|10)H?)")
# Numbered channels of caps without 10-05 names: EGI's E1-E256, BioSemi's A1-H32, "EEG 001".
_NUMBERED: Final = re.compile(r"(?:E\d{1,3}|[A-H]\d{1,2}|EEG[ _-]?.+)")

# Words for what a channel measures, as LSL, MNE and BIDS state it; anything else is `misc`.
_STATED: Final = {
    "eeg": "eeg",
    "eog": "eog",
    "heog": "eog",
    "veog": "eog",
    "ecg": "ecg",
    "ekg": "ecg",
    "emg": "emg",
}
# The same, found in a label; the later rows keep auxiliary channels from passing as EEG.
_LABELLED: Final = (
    (re.compile(r"EOG|^[LR]OC\b"), "eog"),
    (re.compile(r"ECG|EKG"), "ecg"),
    (re.compile(r"EMG"), "emg"),
    (re.compile(r"AUX|GSR|EDA|RESP|PULSE|PLETH|PPG|SPO2|ACC[_ ]?[XYZ]|GYRO"), "misc"),
    (re.compile(r"TRIG|STATUS|STIM|MARKER|EVENT|COUNTER|PHOT[IO]|TEMP"), "misc"),
)

# Sites of the 10-20 system (Jasper 1958) that the 10-10 system names anew.
_RENAMED: Final = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
SYNONYMS: Final = _RENAMED | {new: old for old, new in _RENAMED.items()}
"""The other name of a site that has two."""

# Silence is microvolts because that is what BrainVision's header defines and what LSL
# amplifiers that state no unit send.
_SILENT: Final = ("", "n/a", "na", "none", "unknown")
# The micro sign U+00B5 and the Greek mu U+03BC both occur.
_UNITS: Final = {
    **dict.fromkeys((*_SILENT, "uv", "\u00b5v", "\u03bcv", "microv"), 1e-6),
    **dict.fromkeys(("microvolt", "microvolts"), 1e-6),
    **dict.fromkeys(("v", "volt", "volts"), 1.0),
    **dict.fromkeys(("millivolt", "millivolts"), 1e-3),
    **dict.fromkeys(("nv", "nanovolt", "nanovolts"), 1e-9),
}


def canonical(label: str) -> str:
    """Return a label's one spelling.

    Whitespace and EDF's trailing dots go; a name of the 10-05 system in any case gets its
    capitals (FCZ, fcz.. -> FCz); anything else keeps its case. T3 stays T3, not T7.
    """
    plain = label.strip().rstrip(".").strip()
    site = _SITE.fullmatch(plain.upper())
    if site is None:
        return plain
    row, place = site.groups()
    return row.replace("FP", "Fp") + place.lower()


def kind_of(label: str, stated: str = "") -> str:
    """Return `eeg`, `eog`, `ecg`, `emg` or `misc`.

    What is stated counts, except that an `ECG`, `EOG`, `EMG` or auxiliary label is never
    EEG: BrainVision's reader and most LSL amplifiers call every channel EEG.

    Parameters
    ----------
    label : str
        The channel's label.
    stated : str
        Its type in the words of LSL, MNE or BIDS, in any case; empty where silent.
    """
    word = stated.strip().lower()
    if word not in ("eeg", *_SILENT):
        return _STATED.get(word, "misc")
    for pattern, kind in _LABELLED:
        if pattern.search(label.upper()):
            return kind
    return "eeg" if word == "eeg" or _plausible(label) else "misc"


def is_site(label: str) -> bool:
    """Tell whether a label is the name of one site on the head, in any case."""
    return _SITE.fullmatch(canonical(label).upper()) is not None


def states_unit(unit: str) -> bool:
    """Tell whether a unit says anything: silence is taken as microvolts, and to be told."""
    return unit.strip().lower() not in _SILENT


def scale_to_volts(unit: str) -> float:
    """Return what turns a value in `unit` into volts.

    An empty unit is microvolts, as in BrainVision and with LSL amplifiers that state none.

    Raises
    ------
    ChannelError
        The unit is not a voltage.
    """
    plain = unit.strip()
    if plain == "mV":  # and never MV
        return 1e-3
    if plain.lower() not in _UNITS:
        raise ChannelError(
            f"The unit '{unit}' is not one of voltage",
            found="Known are V, mV, uV, µV, nV, and volts, millivolts, microvolts, nanovolts",
            do="State the channel's unit as one of these",
        )
    return _UNITS[plain.lower()]


def _plausible(label: str) -> bool:
    """Tell whether a label without a type can be EEG: a site or two, or a number."""
    plain = canonical(label).upper()
    if all(_SITE.fullmatch(part.strip()) for part in plain.split("-")):
        return True
    return _NUMBERED.fullmatch(plain) is not None
