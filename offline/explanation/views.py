"""Windows taken apart by channel, frequency and lag, and put together again.

A view's `synthesise` undoes its `analyse`, both being linear, so that a model of windows is
as well one of what they are made of, and can be asked about that: a virtual inspection
layer. Contributions then add up to the same whole as those of samples would.

References
----------
Vielhaben et al. 2024, Pattern Recognition 150:110309, doi:10.1016/j.patcog.2024.110309.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rtfeedback.chain import ChainSpec
from rtfeedback.signals import Float64
from rtfeedback.windows import WindowSpec

SEGMENT = 1.0  # s: resolves 1 Hz, as far as a taper does

Bands = tuple[tuple[float, float], ...]


class View(Protocol):
    """One way to take windows apart.

    Attributes
    ----------
    bands : tuple of (float, float)
        Edges in hertz of each of the n_bands frequencies.
    lags : float64, shape (n_lags,)
        Seconds from the middle of what is looked at to the time that is predicted.
    """

    bands: Bands
    lags: Float64

    def analyse(self, x: Tensor) -> Tensor:
        """Return the parts (n, n_channels, n_bands, n_lags, ...) of windows."""

    def synthesise(self, parts: Tensor) -> Tensor:
        """Return windows (n, n_features, n_times) of their parts."""

    def level(self, parts: Tensor) -> Tensor:
        """Return how much there is of each part, (n, n_channels, n_bands, n_lags)."""


def view_of(chain: ChainSpec, window: WindowSpec) -> View:
    """Return the view on the windows of a chain: of tokens or of samples."""
    if chain.config.band_power is None:
        return SampleView(window.n_times(chain.rate), chain.rate, window.lead)
    return TokenView(chain, window)


class TokenView:
    """Tokens are it already: each a log power of a band of a channel, at its time."""

    def __init__(self, chain: ChainSpec, window: WindowSpec) -> None:
        power = chain.config.band_power
        assert power is not None
        self.bands: Bands = power.bands
        self._shape = (len(chain.channels), len(power.bands))
        ago = np.arange(window.n_times(chain.rate), dtype=np.float64)[::-1] / chain.rate
        self.lags: Float64 = ago + power.length / 2 + window.lead

    def analyse(self, x: Tensor) -> Tensor:
        """Return the parts (n, n_channels, n_bands, n_lags) of windows."""
        n, _, n_times = x.shape
        return x.reshape(n, *self._shape, n_times)

    def synthesise(self, parts: Tensor) -> Tensor:
        """Return windows (n, n_features, n_times) of their parts."""
        return parts.flatten(1, 2)

    def level(self, parts: Tensor) -> Tensor:
        """Return the log power itself."""
        return parts


class SampleView:
    """Samples as the short-time Fourier transform of overlapping segments.

    Segments are tapered by a Hann window and begin half of themselves apart, where such
    windows add up to 1: the sum of what the segments are transformed back to is the window
    again, each sample of it. The last segment has its middle at the window's end.

    Parameters
    ----------
    n_times : int
        Samples of a window.
    rate : float
        In hertz.
    lead : float
        Seconds from the window's end to the time that is predicted.
    """

    def __init__(self, n_times: int, rate: float, lead: float) -> None:
        self._hop = max(1, round(SEGMENT * rate / 2))
        self._size, self._n_times = 2 * self._hop, n_times
        self._before = self._hop + -n_times % self._hop
        self._taper = torch.hann_window(self._size, periodic=True)
        n_lags = (self._before + n_times) // self._hop
        ago = np.arange(n_lags, dtype=np.float64)[::-1]
        self.lags: Float64 = ago * (self._hop / rate) + lead
        step = rate / self._size
        edges = ((np.arange(self._hop + 2) - 0.5).clip(0) * step).tolist()
        self.bands: Bands = tuple(pairwise(edges))

    def analyse(self, x: Tensor) -> Tensor:
        """Return the parts (n, n_channels, n_bands, n_lags, 2), real and imaginary."""
        padded = F.pad(x, (self._before, self._hop))
        segments = padded.unfold(-1, self._size, self._hop) * self._taper
        return torch.view_as_real(torch.fft.rfft(segments).transpose(-1, -2).contiguous())

    def synthesise(self, parts: Tensor) -> Tensor:
        """Return windows (n, n_features, n_times) of their parts."""
        spectra = torch.view_as_complex(parts.contiguous()).transpose(-1, -2)
        segments = torch.fft.irfft(spectra, self._size)
        # The later half of a segment lies on the earlier half of the next.
        earlier, later = segments[..., 1:, : self._hop], segments[..., :-1, self._hop :]
        whole: Tensor = (earlier + later).flatten(-2)
        return whole[..., self._before - self._hop :][..., : self._n_times]

    def level(self, parts: Tensor) -> Tensor:
        """Return the power of each part, in V**2 times a constant."""
        return parts.square().sum(-1)
