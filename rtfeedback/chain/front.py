"""What is done at the stream's rate, before anything is decimated or summed up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rtfeedback.chain.eog import EOG
from rtfeedback.chain.filters import high_pass, low_pass
from rtfeedback.chain.pick import Pick
from rtfeedback.chain.reference import Reference
from rtfeedback.chain.spec import ChainSpec
from rtfeedback.signals import Float32, Float64, StreamInfo


class Signals(NamedTuple):
    """The model's channels at the stream's rate, in volts, each (n_times, n_channels).

    Attributes
    ----------
    recorded : float64
        As recorded.
    broad : float64
        Re-referenced, without drift and mains as far as the chain filters them.
    filtered : float64
        Below the band's upper edge as well, and without what the EOG explains.
    """

    recorded: Float64
    broad: Float64
    filtered: Float64


class Front:
    """Pick, reference, filters and EOG regression."""

    def __init__(self, spec: ChainSpec, info: StreamInfo) -> None:
        self._n_channels = len(spec.channels)
        self._pick = Pick(spec, info)
        self._reference = Reference(spec)
        self._high_pass = high_pass(spec)
        self._low_pass = low_pass(spec)
        self._eog = EOG(spec)
        self.columns, self.notes = self._pick.columns, self._pick.notes
        self.warm_up = self._high_pass.warm_up + self._low_pass.warm_up

    def reset(self) -> None:
        """Forget the past; the next sample begins a segment."""
        self._high_pass.reset()
        self._low_pass.reset()

    def __call__(self, samples: Float32) -> Signals:
        """Return the signals of new samples, shape (n_times, n_stream_channels)."""
        recorded, broad, filtered = self.with_eog(samples)
        return Signals(self._channels(recorded), self._channels(broad), self._eog(filtered))

    def with_eog(self, samples: Float32) -> Signals:
        """Return the same before the regression, the EOG's columns after the channels'.

        As recorded, a lent reference stands between them.
        """
        recorded = self._pick(samples)
        broad = self._high_pass(self._reference(recorded))
        return Signals(recorded, broad, self._low_pass(broad))

    def _channels(self, x: Float64) -> Float64:
        """Return x without a lent reference and the EOG."""
        if x.shape[1] == self._n_channels:
            return x
        return np.ascontiguousarray(x[:, : self._n_channels])
