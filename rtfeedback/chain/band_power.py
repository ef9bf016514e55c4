"""Log band power of the newest seconds, as tokens at a few hertz."""

from __future__ import annotations

import numpy as np
from scipy import fft, signal

from rtfeedback.chain.spec import BandPowerConfig, ChainSpec
from rtfeedback.signals import Float64, Int64

POWER_FLOOR = (
    1e-16  # V**2, (10 nV)**2: below any amplifier's noise; a dead channel stays finite
)


class BandPower:
    """One token each 1/rate seconds: log10 of the power in each band and channel, in V**2.

    Token j ends at decimated sample `n_fft - 1 + floor(j * sample_rate / rate)`, so the
    spacing alternates by one sample where the rates do not divide, and never drifts.
    Each token takes its own transform of fixed shape: the bits depend on no chunk.
    """

    def __init__(self, spec: ChainSpec, config: BandPowerConfig) -> None:
        rate = spec.sample_rate
        self.n_channels = len(spec.channels)
        self.n_fft = config.n_fft(rate)
        self._spacing = rate / type(rate)(config.rate).limit_denominator(10**6)
        self._taper = signal.get_window("hann", self.n_fft)
        self._scale = 2.0 / (self.n_fft * np.sum(self._taper**2))
        self._bins = config.bins(rate)
        self.reset()

    def reset(self) -> None:
        """Forget the past; the next sample begins a segment."""
        self._past: list[Float64] = []  # put together once a token is whole
        self._dropped = 0  # decimated samples of the segment before `_past`
        self._seen = 0  # with it
        self._next = 0  # number of the next token

    def __call__(self, x: Float64, index: Int64) -> tuple[Float64, Int64]:
        """Return the tokens that x completes, and the index each one ends at.

        Parameters
        ----------
        x : float64, shape (n_times, n_channels)
        index : int64, shape (n_times,)

        Returns
        -------
        float64, shape (n_tokens, n_channels * n_bands)
            Channel by channel, its bands in order.
        """
        if len(x):
            self._past.append(x)
        first_new, self._seen = self._seen, self._seen + len(x)
        tokens, ends = [], []
        if self._end(self._next) < self._seen:
            past = np.concatenate(self._past)
            while (end := self._end(self._next)) < self._seen:
                last = end + 1 - self._dropped
                tokens.append(self._token(past[last - self.n_fft : last]))
                ends.append(index[end - first_new])
                self._next += 1
            keep = min(len(past), self.n_fft - 1)
            self._past = [past[len(past) - keep :].copy()]
            self._dropped = self._seen - keep
        shape = (len(tokens), self.n_channels * len(self._bins))
        return np.array(tokens).reshape(shape), np.array(ends, dtype=np.int64)

    def next_end(self, sample: int) -> int:
        """Return the first decimated sample from that one on at which a token ends."""
        token = max(0, int((sample - self.n_fft + 1) / self._spacing))
        while self._end(token) < sample:
            token += 1
        return self._end(token)

    def _end(self, token: int) -> int:
        spacing = self._spacing
        return self.n_fft - 1 + token * spacing.numerator // spacing.denominator

    def _token(self, x: Float64) -> Float64:
        spectrum = fft.rfft(np.ascontiguousarray(x.T) * self._taper, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        bands = [power[:, low:high].sum(axis=1) for low, high in self._bins]
        token = np.log10(self._scale * np.stack(bands, axis=1) + POWER_FLOOR)
        return np.asarray(token.reshape(-1))
