"""What a model that is fitted by gradient descent owes to the loop that fits it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from rtfeedback.models.scaler import FeatureScaler

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of what is predicted and what was measured, both of shape (n, n_outputs)."""


class Network(nn.Module):
    """A model whose scaler is fitted first, and whose weights then follow a gradient.

    Attributes
    ----------
    scaler : FeatureScaler
        Of its input; fitted on the training part.
    """

    scaler: FeatureScaler

    def loss(self, x: Tensor, y: Tensor, measure: Loss) -> Tensor:
        """Return what a training step makes smaller, a scalar.

        A model that learns by more than its outcome adds to it.

        Parameters
        ----------
        x : Tensor, shape (n, n_features, n_times)
        y : Tensor, shape (n, n_outputs)
            What was measured: the targets' z, or the voxels' of a model of volumes.
        measure : callable
            The recipe's loss.
        """
        return measure(self(x), y)

    def constrain(self) -> None:
        """Bring the weights back to where they have to be, after each step; most are free."""
