"""Models that keep what they have seen, so that an update costs the same for any window."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

State = tuple[Tensor, ...]
"""What of the past the next outputs need; its shapes never change. A step gives a new one
and leaves the old one as it was, so that one may be gone back to."""


@runtime_checkable
class Streaming(Protocol):
    """A model that answers piece by piece what it answers to a whole window.

    Once `reach` samples have gone in, the outcome of a step is that of the window that ends
    with its piece. Before, what was not there yet counts as masked or as nothing, and the
    outcome is not to be used; nor is it after a gap, where to `start` again.

    A sample is left out for an artefact that is known only `hold` samples later (see
    `FeatureScaler`). So the newest `hold` samples are kept as they came, and are gone
    through again at each step: what is remembered for good is what nothing can change.

    Attributes
    ----------
    stride : int
        Samples, or tokens, of a step.
    reach : int
        Samples, or tokens, that the newest outcome sees.
    """

    stride: int
    reach: int

    def start(self, n: int = 1) -> State:
        """Return the state of n streams of which nothing was seen."""

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what `forward` returns for the window that ends here, and the next state.

        Parameters
        ----------
        x : Tensor, shape (n, n_features, stride)
            What came next, not scaled.
        state : State
            Of the step before, or of `start`.
        """
