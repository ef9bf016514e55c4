"""What a training makes smaller. Targets that are not known, NaN, count in none of it."""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor

from rtfeedback.models.network import Loss

LossName = Literal["mse", "mae", "correlation", "nll"]
EPS = 1e-6  # variance of a course that does not vary


def mse(predicted: Tensor, measured: Tensor) -> Tensor:
    """Return the mean squared error; of volumes, over the mask's voxels alone."""
    return _mean(_error(predicted, measured).square(), measured)


def mae(predicted: Tensor, measured: Tensor) -> Tensor:
    """Return the mean absolute error."""
    return _mean(_error(predicted, measured).abs(), measured)


def correlation(predicted: Tensor, measured: Tensor) -> Tensor:
    """Return 1 less the mean over outputs of their correlation across a batch's windows.

    A correlation knows neither scale nor offset, and what is published has a unit. So the
    squared distances of mean and sd from a regression's are added: from the measured mean, and
    from r times the measured sd. Both are 0 where the unit is right, and change no r. It takes
    batches that are large.
    """
    known = measured.isfinite()
    n = known.sum(dim=0).clamp(min=1)
    x, y = (torch.where(known, each, 0.0) for each in (predicted, measured))
    means = [each.sum(dim=0) / n for each in (x, y)]
    x, y = (torch.where(known, e - m, 0.0) for e, m in zip((x, y), means, strict=True))
    sd_x, sd_y = ((each.square().sum(dim=0) / n + EPS).sqrt() for each in (x, y))
    r = (x * y).sum(dim=0) / n / (sd_x * sd_y)
    off = (means[0] - means[1]).square() + (sd_x - sd_y * r.detach().clamp(min=0)).square()
    return 1.0 - r.mean() + torch.where(known.any(dim=0), off, 0.0).mean()


def nll(predicted: Tensor, measured: Tensor) -> Tensor:
    """Return the negative log-likelihood under a normal distribution, less its constant.

    Parameters
    ----------
    predicted : Tensor, shape (n, 2 * n_outputs)
        Means, then logarithms of variances.
    measured : Tensor, shape (n, n_outputs)

    References
    ----------
    Nix & Weigend 1994, doi:10.1109/ICNN.1994.374138.
    """
    mean, log_variance = predicted.chunk(2, dim=1)
    error = _error(mean, measured).square() * torch.exp(-log_variance)
    return 0.5 * _mean(log_variance + error, measured)


def _error(predicted: Tensor, measured: Tensor) -> Tensor:
    # NaN would come back as a gradient, through whatever is done with it later.
    return torch.where(measured.isfinite(), predicted - measured, 0.0)


def _mean(values: Tensor, measured: Tensor) -> Tensor:
    known = measured.isfinite()
    return torch.where(known, values, 0.0).sum() / known.sum().clamp(min=1)


LOSSES: Final[dict[LossName, Loss]] = {
    "mse": mse,
    "mae": mae,
    "correlation": correlation,
    "nll": nll,
}
