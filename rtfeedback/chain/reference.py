"""Re-reference to the average of the EEG channels, or to one of them by name."""

from __future__ import annotations

import numpy as np

from rtfeedback.chain.spec import ChainSpec
from rtfeedback.signals import Float64


class Reference:
    """Subtract the reference from every channel; drop a reference that was only lent."""

    def __init__(self, spec: ChainSpec) -> None:
        self.n_channels = len(spec.channels)
        self.kind = spec.config.reference
        if self.kind in spec.channels:
            self.column = spec.channels.index(self.kind)
        else:
            self.column = self.n_channels

    def __call__(self, x: Float64) -> Float64:
        """Return x re-referenced, in volts, shape (n_times, n_channels)."""
        if self.kind == "recorded":
            return x
        if self.kind == "average":
            # A row's mean depends on that row alone; x @ M.T would round by chunk.
            return np.asarray(x - x.mean(axis=1, keepdims=True))
        return np.ascontiguousarray(x[:, : self.n_channels] - x[:, self.column, None])
