"""How alike two volumes are to the eye: the structural similarity index in three dimensions."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from rtfeedback.signals import Bool, Float64

SIGMA = 1.5  # voxels, of the weights about each
K1, K2 = 0.01, 0.03  # of the range: what keeps a ratio of nothing by nothing from mattering


class Similarity:
    """Structural similarity inside a mask, by Gaussian weights of 1.5 voxels.

    Voxels outside the mask weigh nothing, so that a border is not taken for structure.

    Parameters
    ----------
    mask : bool, shape (x, y, z)
    span : float
        The range of what is measured, above zero, in the volumes' unit.

    References
    ----------
    Wang et al. 2004, doi:10.1109/TIP.2003.819861.
    """

    def __init__(self, mask: Bool, span: float) -> None:
        self._mask = mask
        self._weight = gaussian_filter(mask.astype(np.float64), SIGMA, mode="constant")
        self._c1, self._c2 = (K1 * span) ** 2, (K2 * span) ** 2

    def __call__(self, a: Float64, b: Float64) -> float:
        """Return the mean over the mask: 1 of the same volume, about 0 of unrelated ones.

        Parameters
        ----------
        a, b : float64, shape (n_voxels,)
            The mask's voxels in C order. All finite.
        """
        mean_a, mean_b = self._about(a), self._about(b)
        var_a = self._about(a * a) - mean_a**2
        var_b = self._about(b * b) - mean_b**2
        both = self._about(a * b) - mean_a * mean_b
        likeness = (2 * mean_a * mean_b + self._c1) * (2 * both + self._c2)
        size = (mean_a**2 + mean_b**2 + self._c1) * (var_a + var_b + self._c2)
        return float(np.mean(likeness / size))

    def _about(self, values: Float64) -> Float64:
        """Return the weighted mean about each voxel of the mask, shape (n_voxels,)."""
        laid = np.zeros(self._mask.shape)
        laid[self._mask] = values
        smooth = gaussian_filter(laid, SIGMA, mode="constant")
        return np.asarray(smooth[self._mask] / self._weight[self._mask])
