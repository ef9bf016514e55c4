"""Pick channels by name and bring them to volts."""

from __future__ import annotations

import numpy as np

from rtfeedback.chain.spec import ChainSpec
from rtfeedback.channels import canonical, scale_to_volts
from rtfeedback.errors import ChannelError
from rtfeedback.signals import Float32, Float64, Int64, StreamInfo


class Pick:
    """Columns of a stream in the chain's order, as float64 volts.

    Raises
    ------
    ChannelError
        If the stream lacks a channel, has another rate, holds a wanted name twice or
        as something other than EEG, or states a reference that the chain keeps and
        that the model was not trained with.
    """

    def __init__(self, spec: ChainSpec, info: StreamInfo) -> None:
        _check_rate(spec, info)
        _check_reference(spec, info)
        wanted = [*spec.channels]
        if spec.config.reference not in ("average", "recorded", *spec.channels):
            wanted.append(spec.config.reference)
        self.columns: Int64 = np.array(_columns(wanted, info), dtype=np.int64)
        self.scales = np.array([scale_to_volts(info.units[i]) for i in self.columns])

    def __call__(self, samples: Float32) -> Float64:
        """Return the wanted columns in volts, C-contiguous, shape (n_times, n_picked)."""
        # Indexing as samples[:, columns] returns Fortran order, in which later sums
        # round by chunk; take keeps C order.
        picked: Float64 = samples.take(self.columns, axis=1).astype(np.float64)
        picked *= self.scales
        return picked


def _check_rate(spec: ChainSpec, info: StreamInfo) -> None:
    if abs(info.sfreq - spec.sfreq) > 1e-3 * spec.sfreq:
        raise ChannelError(
            f"'{info.name}' runs at {info.sfreq:g} Hz, not at the chain's {spec.sfreq:g} Hz",
            do=f"Set the amplifier to {spec.sfreq:g} Hz, or prepare and train at its rate",
        )


def _check_reference(spec: ChainSpec, info: StreamInfo) -> None:
    # An average or named reference cancels whatever the recording was referenced to.
    if spec.config.reference != "recorded":
        return
    stated, expected = canonical(info.reference), canonical(spec.recorded_reference)
    if stated and expected and stated != expected:
        raise ChannelError(
            f"'{info.name}' is referenced to {stated}, the model was trained on"
            f" EEG referenced to {expected}, and its chain keeps the recorded reference",
            do="Change the amplifier's reference, or train with reference = 'average'",
        )


def _columns(wanted: list[str], info: StreamInfo) -> list[int]:
    offered: dict[str, list[int]] = {}
    for index, label in enumerate(info.channels):
        offered.setdefault(canonical(label), []).append(index)
    names = [canonical(label) for label in wanted]
    missing = [name for name in names if name not in offered]
    if missing:
        raise ChannelError(
            f"'{info.name}' has no channel {', '.join(missing)}",
            found=f"It offers {len(info.channels)} channels: {', '.join(info.channels)}",
            do="Check the montage and the labels, or train for the channels there are",
        )
    for name in names:
        if len(offered[name]) > 1:
            raise ChannelError(f"'{info.name}' has channel {name} {len(offered[name])} times")
        kind = info.kinds[offered[name][0]]
        if kind != "eeg":
            raise ChannelError(
                f"Channel {name} of '{info.name}' is {kind.upper()}, not EEG",
                do="Correct the channel type, or train without it",
            )
    return [offered[name][0] for name in names]
