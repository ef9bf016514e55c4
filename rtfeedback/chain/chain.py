"""The stages in their order, with one clock of samples through all of them."""

from __future__ import annotations

from math import ceil

import numpy as np

from rtfeedback.chain.band_power import BandPower
from rtfeedback.chain.decimate import Decimate
from rtfeedback.chain.filters import band_filter
from rtfeedback.chain.pick import Pick
from rtfeedback.chain.reference import Reference
from rtfeedback.chain.spec import ChainSpec
from rtfeedback.signals import Bool, Float32, Int64, StreamInfo


class Chain:
    """A stream's samples in, a model's features out.

    Parameters
    ----------
    spec : ChainSpec
        What the model was trained with.
    info : StreamInfo
        What the stream offers; its channels are matched by name.

    Raises
    ------
    ChannelError
        If the stream is not what the chain was made for.
    """

    def __init__(self, spec: ChainSpec, info: StreamInfo) -> None:
        self.spec = spec
        self._pick = Pick(spec, info)
        self._reference = Reference(spec)
        self._filter = band_filter(spec)
        self._decimate = Decimate(spec)
        power = spec.config.band_power
        self._power = BandPower(spec, power) if power else None
        self.warm_up = self._settling_time()
        self._seen = 0

    def _settling_time(self) -> int:
        samples = self._filter.warm_up
        if self._decimate.filter:
            samples += self._decimate.filter.warm_up
        if self._power:  # a token is settled once every sample in it is
            samples += self._power.n_fft * self.spec.factor
        return ceil(samples)

    def usable(self, samples: Float32) -> Bool:
        """Return which samples are numbers in every channel that is used, shape (n_times,)."""
        used = samples.take(self._pick.columns, axis=1)
        return np.atleast_1d(np.isfinite(used).all(axis=1))

    def reset(self) -> None:
        """Forget the past; the next sample begins a segment and the warm-up."""
        self._seen = 0
        self._filter.reset()
        self._decimate.reset()
        if self._power:
            self._power.reset()

    def push(self, samples: Float32) -> tuple[Float32, Int64]:
        """Pass new samples through.

        Parameters
        ----------
        samples : float32, shape (n_times, n_stream_channels)
            As received, in the stream's unit.

        Returns
        -------
        features : float32, shape (n_out, n_features)
            Volts, or log10 V**2 for tokens.
        index : int64, shape (n_out,)
            For each, the index in the segment of the newest sample in it. Below
            `warm_up` the filters have not settled.
        """
        index = np.arange(self._seen, self._seen + len(samples), dtype=np.int64)
        self._seen += len(samples)
        x = self._filter(self._reference(self._pick(samples)))
        x, index = self._decimate(x, index)
        if self._power:
            x, index = self._power(x, index)
        return x.astype(np.float32), index
