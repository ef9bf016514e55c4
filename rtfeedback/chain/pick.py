"""Pick channels by name and bring them to volts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rtfeedback.chain.spec import ChainSpec
from rtfeedback.channels import SYNONYMS, canonical, scale_to_volts, states_unit
from rtfeedback.errors import ChannelError
from rtfeedback.naming import names_reference, same_reference
from rtfeedback.signals import Float32, Float64, Int64, StreamInfo

_PAIRED = (
    "The model was trained on differences of electrodes, each with a reference of its own,"
    " which a cap with one reference does not send; send such, or train on another dataset"
)


class Pick:
    """Columns of a stream in the chain's order, as float64 volts.

    They are the chain's channels, then a reference that it lends from beside them, then
    its EOG channels.

    Attributes
    ----------
    columns : int64, shape (n_picked,)
        Where they stand in the stream.
    scales : float64, shape (n_picked,)
        What turns each into volts.
    notes : tuple of str
        What was taken for what, and in which unit, each a sentence to be logged.

    Raises
    ------
    ChannelError
        If the stream lacks a channel, has another rate, holds a wanted name twice or
        as something other than EEG (or, for an EOG channel, EOG), states a unit that is
        no voltage, or a reference that the chain keeps and that the model was not trained
        with.
    """

    def __init__(self, spec: ChainSpec, info: StreamInfo) -> None:
        _check_rate(spec, info)
        wanted = [*spec.channels]
        if spec.config.reference not in ("average", "recorded", *spec.channels):
            wanted.append(spec.config.reference)
        matches = _match(wanted, info, kinds=("eeg",))
        matches += _match(spec.eog.channels if spec.eog else (), info, kinds=("eeg", "eog"))
        self.columns: Int64 = np.array([match.column for match in matches], dtype=np.int64)
        self.scales = np.array([_scale(i, info) for i in self.columns])
        self._all = np.array_equal(self.columns, np.arange(len(info.channels)))
        self.notes = (
            *(match.note for match in matches if match.note),
            *_units(self.columns, info),
            *_reference(spec, info),
        )

    def __call__(self, samples: Float32) -> Float64:
        """Return the wanted columns in volts, C-contiguous, shape (n_times, n_picked)."""
        # Indexing as samples[:, columns] returns Fortran order, in which later sums
        # round by chunk; take keeps C order. Where all are wanted as they stand, it
        # would be most of what a chain without filters costs.
        wanted = samples if self._all else samples.take(self.columns, axis=1)
        picked: Float64 = wanted.astype(np.float64, order="C")
        picked *= self.scales
        return picked


def _check_rate(spec: ChainSpec, info: StreamInfo) -> None:
    if abs(info.sfreq - spec.sfreq) > 1e-3 * spec.sfreq:
        raise ChannelError(
            f"'{info.name}' runs at {info.sfreq:g} Hz, not at the chain's {spec.sfreq:g} Hz",
            do=f"Set the amplifier to {spec.sfreq:g} Hz, or prepare and train at its rate",
        )


def _reference(spec: ChainSpec, info: StreamInfo) -> list[str]:
    """Refuse another reference than the model's, and say where it is taken on trust."""
    # An average or named reference cancels whatever the recording was referenced to.
    if spec.config.reference != "recorded":
        return []
    stated, expected = canonical(info.reference), canonical(spec.recorded_reference)
    if not same_reference(stated, expected):
        raise ChannelError(
            f"'{info.name}' is referenced to {stated}, the model was trained on"
            f" EEG referenced to {expected}, and its chain keeps the recorded reference",
            do="Change the amplifier's reference, or train with reference = 'average'",
        )
    if names_reference(expected) and not names_reference(stated):
        return [
            f"'{info.name}' names no reference: that of the training, {expected}, is assumed"
        ]
    return []


@dataclass(frozen=True, slots=True)
class _Match:
    """The column that a wanted channel was found in, and what is to be told of it."""

    column: int
    note: str = ""


def _match(wanted: Sequence[str], info: StreamInfo, *, kinds: tuple[str, ...]) -> list[_Match]:
    offered: dict[str, list[int]] = {}
    for index, label in enumerate(info.channels):
        offered.setdefault(canonical(label), []).append(index)
    names = [canonical(label) for label in wanted]
    # A site's other name does where the stream has not the one, and is not wanted itself.
    found = {
        name: name if name in offered else SYNONYMS.get(name, name)
        for name in names
        if name in offered or SYNONYMS.get(name, name) not in names
    }
    missing = [name for name in names if found.get(name) not in offered]
    if missing:
        raise ChannelError(
            f"'{info.name}' has no channel {', '.join(missing)}",
            found=f"It offers {len(info.channels)} channels: {', '.join(info.channels)}",
            do=_PAIRED
            if any("-" in name for name in missing)
            else "Check the montage and the labels, or train for the channels there are",
        )
    return [_matched(name, found[name], offered[found[name]], info, kinds) for name in names]


def _matched(
    name: str, label: str, columns: list[int], info: StreamInfo, kinds: tuple[str, ...]
) -> _Match:
    if len(columns) > 1:
        raise ChannelError(
            f"'{info.name}' has channel {label} {len(columns)} times",
            do="Rename or drop all but one in the amplifier's program",
        )
    kind = info.kinds[columns[0]]
    if kind not in kinds:
        raise ChannelError(
            f"Channel {label} of '{info.name}' is {kind.upper()},"
            f" not {' or '.join(map(str.upper, kinds))}",
            do="Correct the channel type, or train without it",
        )
    other = f"{label} of '{info.name}' is taken as {name}: two names of one site"
    return _Match(columns[0], other if label != name else "")


def _scale(column: int, info: StreamInfo) -> float:
    try:
        return scale_to_volts(info.units[column])
    except ChannelError as error:
        raise ChannelError(
            f"Channel {info.channels[column]} of '{info.name}' is not in volts:"
            f" its unit is stated as '{info.units[column]}'",
            found=error.found,
            do="Have the amplifier's program state its unit, or train without the channel",
        ) from error


def _units(columns: Int64, info: StreamInfo) -> list[str]:
    """Return what unit each group of the columns is read in."""
    groups: dict[str, int] = {}
    for column in columns:
        unit = info.units[column].strip() if states_unit(info.units[column]) else ""
        groups[unit] = groups.get(unit, 0) + 1
    return [
        f"'{info.name}' states {unit} for {n} of the channels that are used"
        if unit
        else f"'{info.name}' states no unit for {n} of the channels that are used:"
        " microvolts are assumed"
        for unit, n in groups.items()
    ]
