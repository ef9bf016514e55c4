"""Several answers to one question, told as one Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor


def mixture(told: Tensor, *, gaussian: bool) -> Tensor:
    """Return mean and log-variance of a uniform mixture.

    Parameters
    ----------
    told : Tensor, shape (k, ..., n_targets) or (k, ..., 2 * n_targets)
        The targets' z, k times; or means and then log-variances.
    gaussian : bool
        Whether the latter.

    Returns
    -------
    Tensor, shape (..., 2 * n_targets)
        Means and then log-variances: the variance of the means, and the mean of what
        variances are stated. Its log is -inf where all agree and state none.

    References
    ----------
    Lakshminarayanan, Pritzel & Blundell 2017, arXiv:1612.01474, section 2.4.
    """
    stated = torch.zeros((), device=told.device)
    if gaussian:
        told, log_variances = told.chunk(2, dim=-1)
        stated = log_variances.exp().mean(dim=0)
    # By the distance to the first: of answers that agree it is 0 to the last bit.
    away = told - told[0]
    shift = away.mean(dim=0)
    variance = ((away - shift) ** 2).mean(dim=0) + stated
    # What agrees has no log, and its gradient would make NaN of the others' as well.
    agree = variance == 0
    log = torch.where(agree, 1.0, variance).log().masked_fill(agree, -torch.inf)
    return torch.cat([told[0] + shift, log], dim=-1)
