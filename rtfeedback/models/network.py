"""What a model that is fitted by gradient descent owes to the loop that fits it."""

from __future__ import annotations

from torch import nn

from rtfeedback.models.scaler import FeatureScaler


class Network(nn.Module):
    """A model whose scaler is fitted first, and whose weights then follow a gradient.

    Attributes
    ----------
    scaler : FeatureScaler
        Of its input; fitted on the training part.
    """

    scaler: FeatureScaler

    def constrain(self) -> None:
        """Bring the weights back to where they have to be, after each step; most are free."""
