"""The names of a stream's channels, out of its labels as found in the wild.

`EEG FP1-REF` and `Fp1..` are both Fp1. What all EEG labels share is no part of a name: it
is taken off, and a shared ending is the reference. What only some share is left alone, so
that a bipolar channel keeps both of its sites.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rtfeedback.channels import canonical, is_site, kind_of
from rtfeedback.errors import StreamError, listed

_PREFIX: Final = re.compile(r"EEG[ _:.-]+(?=\S)", re.IGNORECASE)
_SUFFIX: Final = re.compile(r"(?<=\S) *[-_] *([A-Za-z0-9+]+)$")
# What an ending may say of the reference beside a site: some electrode, or a mean of some.
_REFERENCE: Final = re.compile(
    r"V?REF\d?|LE|LER|LM|LINKED|AVG|AVE|AV|AR|CAR|A1\+?A2|M1\+?M2|TP9\+?TP10", re.IGNORECASE
)
_UNNAMED: Final = ("", "REF", "REF1", "VREF", "N/A", "UNKNOWN")


@dataclass(frozen=True, slots=True)
class Names:
    """What the channels of one stream are called.

    Attributes
    ----------
    channels : tuple of str
        A name per channel; `""` where there is no label.
    kinds : tuple of str
        `eeg`, `eog`, `ecg`, `emg` or `misc`, one per channel.
    reference : str
        Of the recording, as stated, or as the EEG labels end; `""` where silent.
    notes : tuple of str
        What was done to the labels, each a sentence.
    """

    channels: tuple[str, ...]
    kinds: tuple[str, ...]
    reference: str
    notes: tuple[str, ...]

    @property
    def ambiguous(self) -> tuple[str, ...]:
        """Names that more than one EEG channel has."""
        eeg = [c for c, kind in zip(self.channels, self.kinds, strict=True) if kind == "eeg"]
        return tuple(sorted({name for name in eeg if eeg.count(name) > 1}))


def name_channels(
    labels: Sequence[str], types: Sequence[str] = (), *, reference: str = ""
) -> Names:
    """Return the names of a stream's channels.

    Parameters
    ----------
    labels : sequence of str
        As the stream states them.
    types : sequence of str
        What each measures, in the words of LSL, MNE or BIDS; `""` where silent.
    reference : str
        The recording's, where the stream states it apart from its labels.
    """
    plain = [label.strip().rstrip(".").strip() for label in labels]
    types = types or [""] * len(plain)
    eeg = _eeg(plain, types)
    notes: list[str] = []
    bare, ending = _without_suffix([plain[i] for i in eeg])
    if ending:
        notes.append(f"all {len(eeg)} EEG labels end in '{ending}', which was taken off")
    bare, beginning = _without_prefix(bare)
    if beginning:
        notes.append(f"all {len(eeg)} EEG labels begin with '{beginning}', which was taken off")
    for i, name in zip(eeg, bare, strict=True):
        plain[i] = name
    kinds = [kind_of(x, word) for x, word in zip(plain, types, strict=True)]
    if ending or beginning:  # then a label is EEG although what is left may be any word
        for i in eeg:
            kinds[i] = "eeg"
    names = tuple(canonical(name) for name in plain)
    respelled = [f"{old} as {new}" for old, new in zip(plain, names, strict=True) if old != new]
    if respelled:
        notes.append(f"spelt {listed(respelled)}")
    reference, told = _reference(reference, ending)
    return Names(names, tuple(kinds), reference, (*notes, *told))


def refuse_unnamed(stream: str, count: int, names: Names) -> None:
    """Refuse a stream of `count` channels that does not name each of them.

    Raises
    ------
    StreamError
        A channel has no name, or two EEG channels have the same.
    """
    labels = names.channels
    if len(labels) == count and all(labels) and not names.ambiguous:
        return
    twice = f", {', '.join(names.ambiguous)} more than once" if names.ambiguous else ""
    raise StreamError(
        f"The stream '{stream}' does not name each of its channels",
        found=f"{count} channels with the labels {', '.join(labels) or '(none)'}{twice}",
        do="Have the amplifier's program state one label per channel: they go by name",
    )


def same_reference(one: str, other: str) -> bool:
    """Tell whether two references agree; one that is not named agrees with any."""
    one, other = canonical(one), canonical(other)
    return not (names_reference(one) and names_reference(other)) or one == other


def names_reference(reference: str) -> bool:
    """Tell whether a reference says where it is: `REF` is some electrode, no one's name."""
    return canonical(reference).upper() not in _UNNAMED


def _eeg(labels: list[str], types: Sequence[str]) -> list[int]:
    """Return which labels are those of EEG channels, or become so without what they share.

    Where labels tell, they count alone: EDF's readers call every channel EEG.
    """
    stated = [i for i, word in enumerate(types) if kind_of(labels[i], word) == "eeg"]
    silent = [i for i, word in enumerate(types) if kind_of("Cz", word) == "eeg"]
    told = [i for i in silent if "eeg" in (kind_of(labels[i]), kind_of(_core(labels[i])))]
    return told or stated


def _core(label: str) -> str:
    return _split(_split_prefix(label))[0]


def _split(label: str) -> tuple[str, str]:
    """Return a label without its ending, and the ending with what sets it apart."""
    found = _SUFFIX.search(label)
    if not found or not (is_site(found[1]) or _REFERENCE.fullmatch(found[1])):
        return label, ""
    return label[: found.start()], label[found.start() :]


def _split_prefix(label: str) -> str:
    return _PREFIX.sub("", label, count=1) if _PREFIX.match(label) else label


def _without_suffix(labels: list[str]) -> tuple[list[str], str]:
    """Return labels without the ending that all share, and the ending; a lone one keeps it."""
    split = [_split(label) for label in labels]
    if len(labels) < 2 or len({ending.upper() for _, ending in split}) > 1:
        return labels, ""
    return [body for body, _ in split], split[0][1]


def _without_prefix(labels: list[str]) -> tuple[list[str], str]:
    """Return labels without the `EEG ` that all share, unless numbers are what is left."""
    rest = [_split_prefix(label) for label in labels]
    if any(len(a) == len(b) for a, b in zip(labels, rest, strict=True)):
        return labels, ""
    if not rest or 2 * sum(map(is_site, rest)) <= len(rest):
        return labels, ""
    return rest, labels[0][: len(labels[0]) - len(rest[0])]


def _reference(stated: str, ending: str) -> tuple[str, tuple[str, ...]]:
    """Return the recording's reference, and what is to be told of it."""
    stated, ended = canonical(stated), canonical(ending.strip(" -_"))
    if ended and not is_site(ended):
        ended = ended.upper()
    if not ended or (names_reference(stated) and not names_reference(ended)):
        return stated, ()
    if not names_reference(stated):
        return ended, (f"the reference is taken from the labels: {ended}",)
    if stated != ended:
        return stated, (
            f"the labels say that the reference is {ended}, the stream that it is {stated}:"
            " what the stream says counts",
        )
    return stated, ()
