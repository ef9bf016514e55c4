"""Keep every n-th sample of a segment, beginning with its first."""

from __future__ import annotations

import numpy as np

from rtfeedback.chain.filters import anti_alias_filter
from rtfeedback.chain.spec import ChainSpec
from rtfeedback.signals import Float64, Int64


class Decimate:
    """Low-pass, then keep the samples whose index in the segment `factor` divides.

    The factor is whole, so a kept sample is a received one and has its stamp. A rate
    that the recipe's does not divide goes to the next lower one that a whole factor
    reaches (`ChainConfig.max_rate`); nothing is interpolated.
    """

    def __init__(self, spec: ChainSpec) -> None:
        self.factor = spec.factor
        self.filter = anti_alias_filter(spec) if self.factor > 1 else None

    def reset(self) -> None:
        """Forget the past; the next sample begins a segment."""
        if self.filter:
            self.filter.reset()

    def __call__(self, x: Float64, index: Int64) -> tuple[Float64, Int64]:
        """Return the kept samples and their indices in the segment."""
        if self.filter is None:
            return x, index
        x = self.filter(x)
        kept = np.flatnonzero(index % self.factor == 0)
        return x.take(kept, axis=0), index.take(kept)
