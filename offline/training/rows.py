"""Windows as rows of numbers that a linear model weighs, a block of them at a time."""

from __future__ import annotations

import numpy as np
import torch

from offline.store.examples import Examples
from offline.training.hrf_basis import PEAKS, hrf_basis
from rtfeedback.models.ridge import Ridge, RidgeConfig
from rtfeedback.signals import Float32, Float64, Int64

BLOCK = 128 * 2**20  # bytes of scaled windows that are held at a time


class Rows:
    """The windows of the training part as their linear model sees them; fits its scaler.

    They are scaled, 0 where they are masked, and weighed by the basis if there is one.

    Parameters
    ----------
    model : Ridge
    config : RidgeConfig
    train : Examples
    block : int
        Bytes of scaled windows that are held at a time.

    Attributes
    ----------
    size : int
        Numbers in a row: channel by band by lag, or by response.
    """

    def __init__(
        self, model: Ridge, config: RidgeConfig, train: Examples, block: int = BLOCK
    ) -> None:
        self._train, self._scaler, shape = train, model.scaler, model.shape
        self._mean, self._sd = train.statistics()
        model.scaler.fit(self._mean, self._sd)
        self._basis: Float64 | None = None
        if config.basis == "hrf":
            self._basis = hrf_basis(shape.n_times, shape.rate, config.lead)
        self._n_features, width = shape.n_features, shape.n_times
        self.size = self._n_features * (width if self._basis is None else len(PEAKS))
        at_a_time = max(1, block // (8 * self._n_features * width))
        starts = range(0, len(train), at_a_time)
        self._blocks = [slice(i, min(i + at_a_time, len(train))) for i in starts]

    def __len__(self) -> int:
        return len(self._train)

    def rows(self, block: slice) -> Float64:
        """Return some of the rows, shape (n, size)."""
        windows = self._train.gather(np.arange(block.start, block.stop))
        left_out = self._scaler.left_out(torch.from_numpy(windows)).numpy()
        scaled = (windows - self._mean[:, None]) / self._sd[:, None]
        x: Float64 = np.where(left_out, 0.0, scaled)
        if self._basis is not None:
            x = x @ self._basis
        return x.reshape(len(windows), -1)

    def kernel(self) -> Float64:
        """Return every window's product with every other, shape (n, n)."""
        kernel = np.empty((len(self), len(self)))
        for i, own in enumerate(self._blocks):
            rows = self.rows(own)
            kernel[own, own] = rows @ rows.T
            for other in self._blocks[:i]:
                kernel[own, other] = rows @ self.rows(other).T
                kernel[other, own] = kernel[own, other].T
        return kernel

    def weighted(self, dual: Float64) -> Float64:
        """Return sums of the rows, shape (n_targets, size), by weights (n, n_targets)."""
        total = np.zeros((dual.shape[1], self.size))
        for block in self._blocks:
            total += dual[block].T @ self.rows(block)
        return total

    def held(self, order: Int64) -> Float32:
        """Return all of them, shape (n, size), their numbers in another order.

        For what goes through them again and again; half the size of what they come from.
        """
        held = np.empty((len(self), self.size), dtype=np.float32)
        for block in self._blocks:
            held[block] = self.rows(block)[:, order]
        return held

    def of_lags(self, weights: Float64) -> Float64:
        """Return weights (n_targets, size) as those of lags, (n_targets, n_features * n_times).

        What a basis does to features is linear in them, so nothing is lost.
        """
        if self._basis is None:
            return weights
        by_response = weights.reshape(len(weights), self._n_features, -1)
        return np.asarray((by_response @ self._basis.T).reshape(len(weights), -1))
