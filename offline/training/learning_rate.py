"""The learning rate over a training: up in a line, down as a cosine."""

from __future__ import annotations

from math import cos, pi


def learning_rate(step: int, n_steps: int, *, largest: float, warm_up: float) -> float:
    """Return the rate of a step, counted from 0.

    Parameters
    ----------
    step, n_steps : int
    largest : float
        Reached at the end of the warm-up.
    warm_up : float
        Share of the steps over which it rises.

    References
    ----------
    Loshchilov & Hutter 2017, arXiv:1608.03983; the warm-up: Goyal et al. 2017,
    arXiv:1706.02677.
    """
    rising = warm_up * n_steps
    if step < rising:
        return largest * (step + 1) / (rising + 1)
    left = (step - rising) / max(1.0, n_steps - rising)
    return largest * 0.5 * (1 + cos(pi * min(1.0, left)))
