"""EEGNet-8,2 with a regression head, its spatial convolution first."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rtfeedback.models.architecture import Architecture, Shape
from rtfeedback.models.network import Network
from rtfeedback.models.scaler import FeatureScaler

Positive = Annotated[int, Field(gt=0)]
POOLED = 32  # samples that the two pooling layers, of 4 and of 8, make one


class EEGNetConfig(Architecture):
    """EEGNet on the samples of the last seconds."""

    name: Literal["eegnet"] = "eegnet"
    chain: str = "samples"
    """Which of the store's chains feeds it; at most 125 Hz keeps it trainable."""
    length: Annotated[float, Field(gt=0)] = 15.0
    """Seconds of samples in a window: the haemodynamic response and what came before."""
    f1: Positive = 8
    """Temporal filters."""
    depth: Positive = 2
    """Spatial filters for each temporal one."""
    f2: Positive = 16
    """Separable filters."""
    kernel: Annotated[float, Field(gt=0)] = 0.5
    """Seconds of a temporal filter."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of activations dropped in training: the paper's for models of many subjects."""
    max_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of a spatial filter."""

    def shortest(self, rate: float) -> int:
        """Return how many samples a window has to have."""
        return POOLED

    def build(self, shape: Shape) -> EEGNet:
        """Return the model with untrained weights."""
        return EEGNet(self, shape)


class EEGNet(Network):
    """Spatial and temporal filters, separable convolution, linear head.

    The paper filters in time, then in space. Both maps are linear and commute, so the
    same filters are applied in the other order, which costs n_channels / (f1 * depth)
    times less: a 15 s window of 64 channels at 125 Hz trains some ten times faster on a
    CPU. What goes is the batch norm between the two. Kernels of even length are padded
    explicitly, one sample more on the left. 2 096 + 929 per ROI parameters for that window.

    References
    ----------
    Lawhern et al. 2018, J. Neural Eng. 15 056013, doi:10.1088/1741-2552/aace8c.
    R-EEGNet: 15 s windows to a sensorimotor BOLD course, hdl.handle.net/11311/1310175.
    """

    def __init__(self, config: EEGNetConfig, shape: Shape) -> None:
        super().__init__()
        self.config = config
        n_maps = config.f1 * config.depth
        self.scaler = FeatureScaler(shape.n_features, shape.hold)
        self.spatial = nn.Conv1d(shape.n_features, n_maps, 1, bias=False)
        self.temporal = nn.Conv1d(
            config.f1,
            config.f1,
            max(2, round(config.kernel * shape.rate)),
            groups=config.f1,
            bias=False,
        )
        self.norm1 = nn.BatchNorm1d(n_maps)
        self.depthwise = nn.Conv1d(n_maps, n_maps, 16, groups=n_maps, bias=False)
        self.pointwise = nn.Conv1d(n_maps, config.f2, 1, bias=False)
        self.norm2 = nn.BatchNorm1d(config.f2)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.f2 * (shape.n_times // POOLED), shape.n_targets)

    def forward(self, x: Tensor) -> Tensor:
        """Predict z, shape (n, n_targets), from windows (n, n_features, n_times)."""
        x = self.norm1(self._filter_in_time(self.spatial(self.scaler(x))))
        x = self.dropout(F.avg_pool1d(F.elu(x), 4))
        x = self.norm2(self.pointwise(self.depthwise(_pad(x, 16))))
        x = self.dropout(F.avg_pool1d(F.elu(x), 8))
        out: Tensor = self.head(x.flatten(1))
        return out

    def _filter_in_time(self, x: Tensor) -> Tensor:
        # The `depth` spatial maps of one temporal filter share it: (n, f1 * depth, t).
        n, _, t = x.shape
        x = x.reshape(n, self.config.f1, self.config.depth, t).transpose(1, 2)
        x = x.reshape(n * self.config.depth, self.config.f1, t)
        x = self.temporal(_pad(x, self.temporal.kernel_size[0]))
        x = x.reshape(n, self.config.depth, self.config.f1, t).transpose(1, 2)
        return x.reshape(n, self.config.f1 * self.config.depth, t)

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring the spatial filters back to their largest norm, after each step."""
        weight = self.spatial.weight
        weight.copy_(torch.renorm(weight, 2, 0, self.config.max_norm))


def _pad(x: Tensor, kernel: int) -> Tensor:
    return F.pad(x, (kernel // 2, (kernel - 1) // 2))
