"""The newest samples of every feature, as one contiguous window without a copy."""

from __future__ import annotations

import numpy as np

from rtfeedback.signals import Float32


class RingBuffer:
    """A plain array in which the window slides by one float for each new sample.

    Sample j of feature c lies at `offset + c * n_times + j`. When a sample comes, the
    offset moves by one: the last place of row c is then the one that held the oldest
    sample of row c + 1, which has just left the window. So the window is always C-
    contiguous, at any length, and is copied back only when the slack is used up.

    Parameters
    ----------
    n_features, n_times : int
        Shape of the window.
    """

    def __init__(self, n_features: int, n_times: int) -> None:
        self.n_features, self.n_times = n_features, n_times
        self._size = n_features * n_times
        # A slack of the window's own size copies each float back once in n_features
        # * n_times samples. Zeros are never seen: `full` says when all is real.
        self._floats = np.zeros(2 * self._size, dtype=np.float32)
        self._offset = 0
        self.filled = 0

    @property
    def full(self) -> bool:
        """Whether every sample of the window was pushed since the last clear."""
        return self.filled >= self.n_times

    def clear(self) -> None:
        """Forget all samples."""
        self.filled = 0

    def push(self, samples: Float32) -> None:
        """Append samples, shape (n, n_features); every view of the window dies."""
        samples = samples[-self.n_times :]
        n = len(samples)
        if self._offset + n > self._size:
            self._floats[: self._size] = self.window().reshape(-1)
            self._offset = 0
        self._offset += n
        self.window()[:, self.n_times - n :] = samples.T
        self.filled = min(self.filled + n, self.n_times)

    def window(self) -> Float32:
        """Return a C-contiguous view, shape (n_features, n_times), dead at the next push."""
        floats = self._floats[self._offset : self._offset + self._size]
        return floats.reshape(self.n_features, self.n_times)
