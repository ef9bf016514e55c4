"""Values of channels on a head seen from above, where it is known where they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import mne
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from offline.evaluation.report import PREDICTED, TRUTH
from rtfeedback.signals import Float64

RESOLUTION = 40  # points across a head: a map of some tens of channels has no more to say
FEWEST = 4  # channels: of fewer, no map can be drawn
MONTAGE = "colin27_1005"  # comes with MNE; positions of the 10-05 system
# From Okabe & Ito's palette: blue below 0, vermilion above, as any eye tells them apart.
COLOURS = LinearSegmentedColormap.from_list("below_above", (TRUTH, "#FFFFFF", PREDICTED))


class Head:
    """The channels of a checkpoint on the head.

    Attributes
    ----------
    channels : tuple of str
    known : list of int
        Which of them have a position.
    drawable : bool
        Whether enough of them have one.
    """

    def __init__(self, channels: Sequence[str]) -> None:
        self.channels = tuple(channels)
        places = _places()
        self.known = [i for i, name in enumerate(channels) if name.upper() in places]
        self.drawable = len(self.known) >= FEWEST
        if self.drawable:
            names = [places[channels[i].upper()] for i in self.known]
            self._info: Any = mne.create_info(names, 250.0, "eeg")
            self._info.set_montage(mne.channels.make_standard_montage(MONTAGE))

    @property
    def unknown(self) -> list[str]:
        """Channels without a position."""
        return [name for i, name in enumerate(self.channels) if i not in self.known]

    def draw(self, axes: Axes, values: Float64, largest: float) -> Any:
        """Draw values, shape (n_channels,), with colours from -largest to largest.

        On a head; as bars where too few channels have a position on it. Returns what a
        colour bar is of, None for bars.
        """
        if not self.drawable:
            _bars(axes, values, self.channels)
            return None
        limit = max(largest, 1e-12)  # limits that are equal are none
        image, _ = mne.viz.plot_topomap(
            values[self.known],
            self._info,
            axes=axes,
            show=False,
            cmap=COLOURS,
            vlim=(-limit, limit),
            contours=0,
            res=RESOLUTION,
            sensors="k.",
        )
        return image


def _bars(axes: Axes, values: Float64, channels: Sequence[str]) -> None:
    """Draw the largest of the values, the very largest first."""
    order = np.argsort(-np.abs(values))[:12]
    colours = [PREDICTED if values[i] >= 0 else TRUTH for i in order]
    axes.bar([channels[i] for i in order], values[order], color=colours)
    axes.tick_params(axis="x", labelrotation=90, labelsize=7)


@cache
def _places() -> dict[str, str]:
    """Return the montage's labels by themselves in capitals."""
    return {name.upper(): name for name in mne.channels.make_standard_montage(MONTAGE).ch_names}
