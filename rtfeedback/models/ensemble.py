"""Networks of one architecture, trained from other seeds: their mean, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rtfeedback.models.layers.mixture import mixture


class Ensemble(nn.Module):
    """A uniform mixture of what its members say, as one Gaussian.

    Its sd is of the members' means, and of what each states itself where they predict a
    variance: 0 where they agree and state none. That is how unsure the weights are; the
    noise of BOLD is in it only as far as members state it. A window costs as much as all
    members together. In evaluation mode it draws nothing at random, so that the same
    window gets the same bits, at replay as well.

    Parameters
    ----------
    members : sequence of nn.Module
        Two at least, of one architecture and shape.

    References
    ----------
    Lakshminarayanan, Pritzel & Blundell 2017, arXiv:1612.01474.
    """

    gaussian = True

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._stated = bool(getattr(members[0], "gaussian", False))

    def forward(self, x: Tensor) -> Tensor:
        """Return means and then log-variances, (n, 2 * n_targets), of windows' z."""
        told = torch.stack([member(x) for member in self.members])
        return mixture(told, gaussian=self._stated)
