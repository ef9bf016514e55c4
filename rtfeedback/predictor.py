"""Window in, Prediction out: the only road to inference, at the desk and in the lab."""

from __future__ import annotations

from math import exp
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rtfeedback.arithmetic import fix_arithmetic
from rtfeedback.checkpoint import Checkpoint, load_checkpoint
from rtfeedback.errors import CheckpointError
from rtfeedback.inference import inference
from rtfeedback.models.monte_carlo import network_of
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.signals import Float32, Int64, Prediction, ROIPrediction

# No region's course goes so many training sds from its mean: the EEG was dead, railed or
# in another unit.
LARGEST_Z = 8.0


class Predictor:
    """A checkpoint's model on one device, one window at a time.

    A batched pass rounds differently from single ones, so values that are published or
    compared all come from here.

    Parameters
    ----------
    checkpoint : Checkpoint
    device : str
        `auto` (cuda where there is one, else cpu), `cpu` or `cuda`.

    Attributes
    ----------
    shape : tuple of int
        Of a window, (n_features, n_times).
    device : torch.device
    inference : Inference
        The model on that device; `inference.captured` says whether as one CUDA graph.

    Raises
    ------
    CheckpointError
        If cuda is asked for and there is none.
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        fix_arithmetic()
        self.checkpoint = checkpoint
        self.spec = checkpoint.spec
        self.device = _device(device)
        targets = self.spec.targets
        self._names = [target.name for target in targets]
        self._gaussian = bool(getattr(checkpoint.model, "gaussian", False))
        self._statistics = [(target.mean, target.sd) for target in targets]
        self.shape = (
            self.spec.chain.n_features,
            self.spec.window.n_times(self.spec.chain.rate),
        )
        self._lay = Layout.of(network_of(checkpoint.model))
        self.inference = inference(checkpoint.model, self.shape, self.device)

    @classmethod
    def load(cls, path: Path, device: str = "auto") -> Predictor:
        """Load a checkpoint folder."""
        return cls(load_checkpoint(path), device)

    def warm_up(self) -> None:
        """Make the first predictions, which are slow, before anyone waits for one."""
        for _ in range(3):
            self(np.zeros(self.shape, dtype=np.float32))
            self.volume()

    def __call__(self, window: Float32) -> Prediction:
        """Predict every target from a window, shape (n_features, n_times)."""
        z = self.inference(window)
        sds: list[float | None] = [None] * len(self._names)
        if self._gaussian:  # log-variances come after the means
            z, log_variances = z[: len(sds)], z[len(sds) :]
            sds = [exp(0.5 * each) for each in log_variances]
        raw = [value * sd + mean for value, (mean, sd) in zip(z, self._statistics, strict=True)]
        return dict(zip(self._names, map(ROIPrediction, raw, z, sds), strict=True))

    def volume(self) -> Float32 | None:
        """Return the whole volume whose regions were predicted last, of the same pass.

        Returns
        -------
        float32, shape of `spec.volume.grid`, or None
            In `spec.volume.unit`; NaN outside the mask, where nothing is predicted. A new
            array each time. None where the checkpoint has no volume, or nothing was
            predicted yet.
        """
        z = self.inference.voxels()
        return None if z is None or self._lay is None else self._lay(z)


class Layout:
    """Voxels' z into a volume on its grid, the arithmetic of `VolumeNetwork.raw`.

    Parameters
    ----------
    grid : tuple of int
    voxels : int64, shape (n_voxels,)
        Where they stand in the grid, in C order.
    mean, sd : float32, shape (n_voxels,)
    """

    def __init__(
        self, grid: tuple[int, int, int], voxels: Int64, mean: Float32, sd: Float32
    ) -> None:
        self._voxels, self._mean, self._sd = voxels, mean, sd
        self._empty = np.full(grid, np.nan, dtype="<f4")

    @classmethod
    def of(cls, model: nn.Module) -> Layout | None:
        """Return how a model's voxels are laid out; None of a model of regions alone."""
        if not isinstance(model, VolumeNetwork):
            return None
        kept = (model.voxels, model.mean, model.sd)
        return cls(model.spec.grid, *(each.cpu().numpy().copy() for each in kept))

    def __call__(self, z: Float32) -> Float32:
        """Return a volume, shape (x, y, z), of voxels' z, shape (n_voxels,)."""
        laid = self._empty.copy()
        laid.reshape(-1)[self._voxels] = z * self._sd + self._mean
        return laid


def plausible(prediction: Prediction) -> bool:
    """Return whether every region's z is one that a brain can have."""
    return all(roi.z is None or abs(roi.z) <= LARGEST_Z for roi in prediction.values())


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise CheckpointError("There is no CUDA device here", do="Use --device cpu, or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
