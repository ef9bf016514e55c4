"""Amplitude spectra of the EEG, one of each of the last repetition times."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

LEAST_VARIANCE = 1e-6  # of amplitudes over the channels: silence is divided by something


class Spectra(nn.Module):
    """|FFT| of non-overlapping windows of one TR, without DC, then z.

    No taper, as in the source. The columns end at the window's newest sample, and each has
    as many samples as fit into a TR; where a TR is no whole number of samples, at most one
    is left out between two columns. Bin i is i / TR hertz.

    Parameters
    ----------
    n_channels, n_times : int
        Of a window of samples.
    rate, tr : float
        In hertz and seconds.
    columns, bins : int
        TRs, and bins from the first above DC on.
    over : str
        What z is taken over: the `channels` of a column at each frequency, or the windows
        of the `training` part at each channel and frequency (running statistics).

    References
    ----------
    Calhas & Henriques 2022, arXiv:2203.03481.
    """

    def __init__(
        self,
        n_channels: int,
        n_times: int,
        *,
        rate: float,
        tr: float,
        columns: int,
        bins: int,
        over: Literal["channels", "training"],
    ) -> None:
        super().__init__()
        self.bins = bins
        self.samples = samples_of(tr, rate)
        self.ends = [n_times - round(i * tr * rate) for i in range(columns)][::-1]
        self.norm = None
        if over == "training":
            # Without a momentum, statistics are means over all windows so far.
            self.norm = nn.BatchNorm1d(n_channels * bins, affine=False, momentum=None)

    def forward(self, x: Tensor) -> Tensor:
        """Return spectra (n, n_channels, bins, columns) of windows (n, n_channels, n_times)."""
        columns = torch.stack([x[..., end - self.samples : end] for end in self.ends], dim=-2)
        amplitude = torch.fft.rfft(columns)[..., 1 : self.bins + 1].abs().mT
        if self.norm is not None:
            scaled: Tensor = self.norm(amplitude.flatten(1, 2))
            return scaled.reshape(amplitude.shape)
        centred = amplitude - amplitude.mean(dim=1, keepdim=True)
        variance = centred.square().mean(dim=1, keepdim=True)
        z: Tensor = centred * (variance + LEAST_VARIANCE).rsqrt()
        return z


def samples_of(tr: float, rate: float) -> int:
    """Return how many whole samples a TR holds, in spite of what floats make of 2.16 * 250."""
    return int(tr * rate + 1e-6)
