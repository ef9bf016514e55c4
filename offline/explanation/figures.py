"""The pictures: shares by channel, frequency and lag; attention; learnt filters."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from offline.evaluation.report import GREY, MEASURED, PREDICTED, TRUTH, save_figure
from offline.explanation.attention import ChannelAttention, LagAttention
from offline.explanation.filters import LinearWeights, SpatialFilters
from offline.explanation.topography import COLOURS, Head
from offline.explanation.views import Bands
from rtfeedback.signals import Float64

DPI = 100
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
LINES = (MEASURED, PREDICTED, TRUTH, "#009E73")  # Okabe & Ito's; dashes differ as well
HIGHEST = 45.0  # hertz; the chain passes little above
ROWS = 8  # channels, those of the largest shares
AGO = "s before what is predicted"


def share_figure(
    path: Path, share: Float64, head: Head, bands: Bands, lags: Float64, title: str, note: str
) -> None:
    """Draw shares, (n_channels, n_bands, n_lags), by each axis and by two of them."""
    figure = _figure(9.6, 6.2, title, note)
    grid = figure.add_gridspec(
        2, 3, left=0.07, right=0.97, top=0.84, bottom=0.16, wspace=0.38, hspace=0.5
    )
    panels = [figure.add_subplot(grid[at]) for at in np.ndindex(2, 3)]
    by_channel, by_band, by_lag = (share.sum(axes) for axes in ((1, 2), (0, 2), (0, 1)))
    image = head.draw(panels[0], by_channel, np.abs(by_channel).max())
    if image is not None:
        figure.colorbar(image, ax=panels[0], shrink=0.7)
    panels[0].set_title("by channel", fontsize=10)
    spectrum = _Frequencies(bands)
    shown = spectrum.shown
    panels[1].stairs(by_band[shown], spectrum.edges, color=PREDICTED, lw=1.6)
    panels[1].axhline(0, color=GREY, lw=0.5)
    _name(panels[1], "by frequency", "Hz", "share")
    panels[2].plot(lags, by_lag, color=PREDICTED, lw=1.6, marker="." if len(lags) < 50 else "")
    panels[2].axhline(0, color=GREY, lw=0.5)
    _name(panels[2], "by lag", AGO, "share")
    edges, order = _around(lags[::-1]), np.argsort(-np.abs(by_channel))[:ROWS]
    _map(figure, panels[3], share.sum(0)[shown, ::-1], edges, spectrum.edges)
    _name(panels[3], "frequency and lag", AGO, "Hz")
    rows = np.arange(len(order) + 1, dtype=np.float64) - 0.5
    _map(figure, panels[4], share.sum(2)[order][:, shown], spectrum.edges, rows)
    _name(panels[4], "channel and frequency", "Hz", "")
    _map(figure, panels[5], share.sum(1)[order][:, ::-1], edges, rows)
    _name(panels[5], "channel and lag", AGO, "")
    for panel in panels[4:]:
        panel.invert_yaxis()
        panel.set_yticks(range(len(order)), [head.channels[i] for i in order])
    for axis in (panels[1].xaxis, panels[3].yaxis, panels[4].xaxis):
        spectrum.tick(axis)
    save_figure(figure, path)


def attention_figure(
    path: Path, found: ChannelAttention | LagAttention, head: Head, title: str
) -> None:
    """Draw what each layer attends to: channels on the head, or lags."""
    if isinstance(found, LagAttention):
        _draw_lags(path, found, title)
        return
    n = len(found.weights)
    figure = _figure(max(6.0, 2.4 * n), 5.2, title, "Means over windows and heads.")
    panels = figure.subplots(2, n, squeeze=False)
    figure.subplots_adjust(top=0.82, bottom=0.14, hspace=0.4, wspace=0.35)
    even = 1 / len(head.channels)
    for layer, (above, below) in enumerate(panels.T):
        excess = found.given[layer] - even
        image = head.draw(above, excess, float(np.abs(excess).max()))
        if image is not None:
            figure.colorbar(image, ax=above, shrink=0.7)
        above.set_title(f"layer {layer + 1}: above an even share", fontsize=9)
        shown = below.imshow(found.weights[layer], aspect="auto", cmap="Greys", vmin=0)
        figure.colorbar(shown, ax=below, shrink=0.8)
        _name(below, "", "", f"{found.by} that attend")
        below.set_xticks(range(len(head.channels)), head.channels, rotation=90, fontsize=6)
    save_figure(figure, path)


def filters_figure(
    path: Path, found: SpatialFilters | LinearWeights, head: Head, bands: Bands, title: str
) -> None:
    """Draw learnt filters: patterns on the head, and the spectra that go with them."""
    if isinstance(found, LinearWeights):
        _draw_linear(path, found, head, bands, title)
    else:
        _draw_spatial(path, found, head, title)


def _draw_lags(path: Path, found: LagAttention, title: str) -> None:
    note = "Means over windows, patches and heads; to the right, through all layers."
    figure = _figure(9.0, 3.6, title, note)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(top=0.78, bottom=0.25, wspace=0.25)
    for layer, weights in enumerate(found.weights.mean(1)):
        style = DASHES[layer // len(LINES) % len(DASHES)]
        colour = LINES[layer % len(LINES)]
        left.plot(found.ago, weights, color=colour, ls=style, label=f"layer {layer + 1}")
    left.legend(fontsize=8, frameon=False)
    _name(left, "each layer", "s before the patch that attends", "weight")
    right.plot(found.lags, found.rolled, color=PREDICTED)
    _name(right, "the newest output", AGO, "weight")
    save_figure(figure, path)


def _draw_spatial(path: Path, found: SpatialFilters, head: Head, title: str) -> None:
    n_kernels, n = len(found.spectra), len(found.patterns)
    depth = n // n_kernels
    note = "Patterns in µV for one sd of what the filter lets through; either sign is the same."
    figure = _figure(3.2 + 2.1 * depth, 1.2 + 1.5 * n_kernels, title, note)
    panels = figure.subplots(n_kernels, depth + 1, squeeze=False)
    height = figure.get_size_inches()[1]
    figure.subplots_adjust(
        left=0.03,
        right=0.96,
        top=1 - 0.7 / height,
        bottom=0.75 / height,
        hspace=0.45,
        wspace=0.35,
    )
    shown = found.frequencies <= HIGHEST
    for kernel, (*heads, spectrum) in enumerate(panels):
        for axes, pattern in zip(heads, found.patterns[kernel * depth :], strict=False):
            image = head.draw(axes, pattern, float(np.abs(pattern).max()))
            if image is not None:
                figure.colorbar(image, ax=axes, shrink=0.8)
        spectrum.plot(found.frequencies[shown], found.spectra[kernel][shown], color=PREDICTED)
        spectrum.set_ylim(0, 1.05)
        last = kernel == n_kernels - 1
        _name(spectrum, f"kernel {kernel + 1}", "Hz" if last else "", "gain")
    save_figure(figure, path)


def _draw_linear(
    path: Path, found: LinearWeights, head: Head, bands: Bands, title: str
) -> None:
    """Draw the pattern of each band, at the lag at which it is largest over the head."""
    note = (
        "Correlation of each band's power with the prediction, at the lag where it is largest."
    )
    n_columns = min(4, len(bands))
    n_rows = -(-len(bands) // n_columns)
    figure = _figure(2.3 * n_columns, 1.3 + 1.9 * n_rows, title, note)
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    height = figure.get_size_inches()[1]
    figure.subplots_adjust(top=1 - 0.8 / height, bottom=0.6 / height, hspace=0.3)
    largest, image = float(np.abs(found.pattern).max()), None
    for axes in panels[len(bands) :]:
        axes.set_visible(False)
    for band, ((low, high), axes) in enumerate(zip(bands, panels, strict=False)):
        pattern = found.pattern[:, band]
        at = int(np.abs(pattern).max(0).argmax())
        image = head.draw(axes, pattern[:, at], largest)
        axes.set_title(f"{low:g}-{high:g} Hz", fontsize=9)
    if image is not None:
        figure.colorbar(image, ax=panels, shrink=0.7)
    save_figure(figure, path)


def _figure(width: float, height: float, title: str, note: str) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.text(0.02, 1 - 0.12 / height, title, fontsize=12, fontweight="bold", va="top")
    figure.text(0.02, 0.1 / height, note, fontsize=8, color=GREY, va="bottom", wrap=True)
    return figure


def _name(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=8.5)
    axes.set_ylabel(y, fontsize=8.5)
    axes.tick_params(labelsize=8)


def _map(figure: Figure, axes: Axes, values: Float64, x: Float64, y: Float64) -> None:
    """Draw values, shape (n_rows, n_columns), between edges that rise."""
    limit = max(float(np.abs(values).max()), 1e-12)
    image = axes.pcolormesh(x, y, values, cmap=COLOURS, vmin=-limit, vmax=limit)
    figure.colorbar(image, ax=axes)


class _Frequencies:
    """Which bands are shown, and where on an axis.

    In hertz, where each begins at the end of the last.
    Bands of a recipe's own may leave gaps or overlap; these stand side by side.
    """

    def __init__(self, bands: Bands) -> None:
        self.shown = np.array([(low + high) / 2 <= HIGHEST for low, high in bands])
        self.shown |= not self.shown.any()
        kept = [band for band, shown in zip(bands, self.shown, strict=True) if shown]
        self.in_hertz = all(a[1] == b[0] for a, b in pairwise(kept))
        self.labels = [f"{low:g}-{high:g}" for low, high in kept]
        edges = [*(low for low, _ in kept), kept[-1][1]]
        self.edges = np.array(edges) if self.in_hertz else np.arange(len(kept) + 1.0)

    def tick(self, axis: Axis) -> None:
        """Name the bands on an axis that is not in hertz."""
        if not self.in_hertz:
            axis.set_ticks(np.arange(len(self.labels)) + 0.5, self.labels)


def _around(lags: Float64) -> Float64:
    """Return the edges around lags, which are evenly spaced and rise."""
    half = (lags[1] - lags[0]) / 2 if len(lags) > 1 else 0.5
    return np.append(lags - half, lags[-1] + half)
