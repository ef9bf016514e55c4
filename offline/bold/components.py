"""Whole volumes in few numbers: principal components of the training part's volumes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import IncrementalPCA

from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float32, Float64


@dataclass(frozen=True, slots=True)
class LowRank:
    """A mean volume and the components about it.

    Attributes
    ----------
    mean : float32, shape (n_voxels,)
    basis : float32, shape (n_components, n_voxels)
        Orthonormal, the one that explains most first.
    explained : float64, shape (n_components,)
        Share of the training part's variance.
    """

    mean: Float32
    basis: Float32
    explained: Float64

    def courses(self, volumes: Float32) -> Float64:
        """Return the components' courses, shape (n_volumes, n_components).

        A volume that is scrubbed, and so NaN, has none and is NaN.
        """
        return np.asarray((volumes - self.mean) @ self.basis.T, dtype=np.float64)

    def volumes(self, courses: Float64) -> Float32:
        """Return the volumes that courses stand for, shape (n_volumes, n_voxels)."""
        return np.asarray(courses @ self.basis + self.mean, dtype=np.float32)


def fit_components(
    runs: Iterable[Float32],
    n_components: int,
    *,
    asked_by: str = "'[volumes] components'",
) -> LowRank:
    """Fit components to volumes, run by run (Ross et al. 2008, doi:10.1007/s11263-007-0075-7).

    Parameters
    ----------
    runs : iterable of float32, shape (n_volumes, n_voxels)
        Of the training part; rows with a NaN are passed over. Each is let go before the
        next is taken.
    n_components : int
    asked_by : str
        The setting that says how many.

    Raises
    ------
    DatasetError
        If the training part has fewer volumes than that.
    """
    pca, n_seen = IncrementalPCA(n_components), 0
    for batch in _batches(runs, n_components):
        n_seen += len(batch)
        if len(batch) >= n_components:
            pca.partial_fit(batch)
    if n_seen < n_components:
        raise DatasetError(
            f"{n_components} components take as many volumes",
            found=f"The training part has {n_seen}",
            do=f"Ask for fewer in {asked_by}",
        )
    return LowRank(
        mean=np.asarray(pca.mean_, dtype=np.float32),
        basis=np.asarray(pca.components_, dtype=np.float32),
        explained=np.asarray(pca.explained_variance_ratio_, dtype=np.float64),
    )


def _batches(runs: Iterable[Float32], least: int) -> Iterator[Float32]:
    """Yield the runs' finite rows, so many at a time at the least, if there are so many."""
    held: list[Float32] = []
    for run in runs:
        finite = run[np.isfinite(run).all(axis=1)]
        if len(finite) >= least and sum(map(len, held)) >= least:
            yield np.concatenate(held)
            held = []
        held.append(finite)
    if held:
        yield np.concatenate(held)
