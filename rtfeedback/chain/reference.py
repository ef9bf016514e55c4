"""Re-reference to the average of the EEG channels, or to one of them by name."""

from __future__ import annotations

import numpy as np

from rtfeedback.chain.spec import ChainSpec
from rtfeedback.signals import Float64


class Reference:
    """Subtract the reference from every channel; drop a reference that was only lent.

    Columns after these are EOG: those that are EEG are re-referenced with the channels,
    and count in no average.
    """

    def __init__(self, spec: ChainSpec) -> None:
        self.n_channels = len(spec.channels)
        self.kind = spec.config.reference
        self._lent = spec.lends_reference
        self._column = (
            spec.channels.index(self.kind) if self.kind in spec.channels else self.n_channels
        )
        referenced = spec.eog.referenced if spec.eog else ()
        # 1 takes the reference out of a column, 0 leaves it as recorded.
        self._taken = np.array([float(taken) for taken in referenced])

    def __call__(self, x: Float64) -> Float64:
        """Return x re-referenced, in volts, shape (n_times, n_channels + n_eog)."""
        if self.kind == "recorded":
            return x
        channels, eog = x[:, : self.n_channels], x[:, self.n_channels + self._lent :]
        if self.kind == "average":
            # A row's mean depends on that row alone; x @ M.T would round by chunk.
            reference = np.ascontiguousarray(channels).mean(axis=1, keepdims=True)
        else:
            reference = x[:, self._column, None]
        if not len(self._taken):
            return np.ascontiguousarray(channels - reference)
        return np.concatenate([channels - reference, eog - reference * self._taken], axis=1)
