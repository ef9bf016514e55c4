"""What a model that is fitted by gradient descent owes to the loop that fits it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from rtfeedback.models.layers.scaler import FeatureScaler

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of what is predicted and what was measured, both of shape (n, n_outputs)."""


class Network(nn.Module):
    """A model whose scaler is fitted first, and whose weights then follow a gradient.

    Attributes
    ----------
    scaler : FeatureScaler
        Of its input; fitted on the training part.
    gaussian : bool
        Whether its outcome, of shape (n, 2 * n_targets), is the means of the targets' z and
        then their log-variances.
    """

    scaler: FeatureScaler
    gaussian: bool = False

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
        return self.loss_of(self.outcome(x), y, measure)

    def outcome(self, x: Tensor) -> Tensor:
        """Return what is compared with what was measured: of most, what they predict."""
        predicted: Tensor = self(x)
        return predicted

    def loss_of(self, outcome: Tensor, y: Tensor, measure: Loss) -> Tensor:
        """Return the loss of an outcome; validation runs are judged by it, too."""
        return measure(outcome, y)

    def z_of(self, outcome: Tensor) -> Tensor:
        """Return the z, of the shape of what was measured, that an outcome stands for."""
        return outcome.chunk(2, dim=1)[0] if self.gaussian else outcome

    def constrain(self) -> None:
        """Bring the weights back to where they have to be, after each step; most are free."""

    def after_epoch(self) -> None:
        """Do what is done to the weights after each epoch; to most, nothing."""
