"""Classes in place of values: what a network's logits are of, and which z they come to.

What goes over the wire stays one number for each target: its expected value under the
probabilities of the classes. It is a z like any regressor's, by the statistics of the
target over the training part, so `raw` comes of it as ever, in the target's unit, and
nothing that reads a `Prediction` need know of classes:

- of a region's levels, it is the mean activity of the levels, each weighed by how likely it
  is. The level's number would jump where two are as likely, and the probability of the
  uppermost says nothing of the others;
- of a condition, which is 0 or 1 in a volume, the expected value is its probability, and
  that is what `raw` is. Its z is (p - share) / sqrt(share (1 - share)) by its share of the
  training part: 0 where the EEG says nothing. Log-odds were the other choice: they are no
  linear map of what is measured, and have no bound that a false value could be told by.

So the usual scores hold too: the mean squared error of a condition's z is its Brier score,
but for the scale, and R2 over the training mean is the Brier skill score.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtfeedback.signals import Float64


class Classes(nn.Module):
    """What a head of classes owes to its network.

    Attributes
    ----------
    n_outputs : int
        Logits that it takes.
    """

    n_outputs: int

    def of(self, z: Tensor) -> Tensor:
        """Return the classes that measured z (n, n_targets) are, int64."""
        raise NotImplementedError

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return how likely each class is, of logits (n, n_outputs)."""
        raise NotImplementedError

    def forward(self, logits: Tensor) -> Tensor:
        """Return the targets' expected z, shape (n, n_targets), of logits."""
        raise NotImplementedError

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the mean cross-entropy of logits and measured z (n, n_targets)."""
        raise NotImplementedError


class Levels(Classes):
    """Each target's activity in levels, from low to high; targets do not know each other.

    Attributes
    ----------
    edges : float32, shape (n_targets, n_levels - 1)
        Rising z between the levels; what lies on one belongs below it.
    values : float32, shape (n_targets, n_levels)
        The z that each level stands for.
    """

    edges: Tensor
    values: Tensor

    def __init__(self, n_targets: int, n_levels: int) -> None:
        super().__init__()
        self.n_outputs = n_targets * n_levels
        self.register_buffer("edges", torch.zeros(n_targets, n_levels - 1))
        self.register_buffer("values", torch.zeros(n_targets, n_levels))

    def set(self, edges: Float64, values: Float64) -> None:
        """Take what levels are in the training part."""
        self.edges.copy_(torch.from_numpy(edges))
        self.values.copy_(torch.from_numpy(values))

    def of(self, z: Tensor) -> Tensor:
        """Return the level of each z, int64 of its shape (n, n_targets)."""
        return (z[..., None] > self.edges).sum(dim=-1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return how likely each level is, shape (n, n_targets, n_levels)."""
        return self._by_level(logits).softmax(dim=-1)

    def forward(self, logits: Tensor) -> Tensor:
        """Return the mean of the levels' z, shape (n, n_targets), weighed by probability."""
        return (self.probabilities(logits) * self.values).sum(dim=-1)

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the cross-entropy, the mean over windows and targets."""
        return F.cross_entropy(self._by_level(logits).flatten(0, 1), self.of(y).flatten())

    def _by_level(self, logits: Tensor) -> Tensor:
        return logits.reshape(-1, *self.values.shape)


class Conditions(Classes):
    """Which of the task's conditions holds, or none of them: rest is the first class.

    Targets are the conditions, 1 where one holds and 0 elsewhere. Between two volumes of
    which one has it, as jitter puts a window, it is in part each.

    Attributes
    ----------
    low, high : float32, shape (n_targets,)
        The z of 0 and of 1.
    """

    low: Tensor
    high: Tensor

    def __init__(self, n_targets: int) -> None:
        super().__init__()
        self.n_outputs = n_targets + 1
        self.register_buffer("low", torch.zeros(n_targets))
        self.register_buffer("high", torch.ones(n_targets))

    def set(self, low: Float64, high: Float64) -> None:
        """Take the z of 0 and of 1, each of shape (n_targets,)."""
        self.low.copy_(torch.from_numpy(low))
        self.high.copy_(torch.from_numpy(high))

    def of(self, z: Tensor) -> Tensor:
        """Return the class that each row of z (n, n_targets) is, int64 of shape (n,)."""
        return self._shares(z).argmax(dim=-1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return how likely rest and each condition are, shape (n, n_targets + 1)."""
        return logits.softmax(dim=-1)

    def forward(self, logits: Tensor) -> Tensor:
        """Return the z of each condition's probability, shape (n, n_targets)."""
        return self.low + self.probabilities(logits)[:, 1:] * (self.high - self.low)

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the cross-entropy, the mean over windows."""
        return F.cross_entropy(logits, self._shares(y))

    def _shares(self, z: Tensor) -> Tensor:
        held = (z - self.low) / (self.high - self.low)
        return torch.cat([1 - held.sum(dim=-1, keepdim=True), held], dim=-1)
