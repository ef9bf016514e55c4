"""EEGNet-8,2 with a head of values or of classes, its spatial convolution first."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from scipy import signal
from torch import Tensor, nn

from rtfeedback.errors import ConfigError
from rtfeedback.models.architecture import Architecture, Shape
from rtfeedback.models.layers.classes import Classes, Conditions, Levels
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.models.network import Loss, Network

Positive = Annotated[int, Field(gt=0)]
POOLED = 32  # samples that the two pooling layers, of 4 and of 8, make one
LOWPASS_ORDER = 10  # of the Butterworth filter on temporal filters


class EEGNetConfig(Architecture):
    """EEGNet on the samples of the last seconds."""

    name: Literal["eegnet"] = "eegnet"
    chain: str = "samples"
    """Which of the store's chains feeds it; at most 125 Hz keeps it trainable."""
    length: Annotated[float, Field(gt=0)] = 15.0
    """Seconds of samples in a window: the haemodynamic response and what came before."""
    head: Literal["value", "levels", "conditions"] = "value"
    """What is predicted: each target's value; which of some levels its value is; or, where
    targets are the task's conditions, which of them holds (`models/classes.py`)."""
    levels: Annotated[int, Field(ge=2, le=10)] = 3
    """Into how many levels each target is cut."""
    cut: Literal["quantiles", "width"] = "quantiles"
    """Where: into levels that are as frequent in the training part, or as wide, from its
    least value to its largest."""
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
    head_max_norm: Annotated[float, Field(ge=0)] = 0.0
    """Largest norm of an output's weights; 0: any."""
    lowpass: Annotated[float, Field(ge=0)] = 0.0
    """Hertz above which temporal filters are damped after each epoch; 0: none are."""

    @property
    def of_task(self) -> bool:
        """Whether targets are the task's conditions, and not regions."""
        return self.head == "conditions"

    def shortest(self, rate: float) -> int:
        """Return how many samples a window has to have."""
        return POOLED

    def build(self, shape: Shape) -> EEGNet:
        """Return the model with untrained weights."""
        if self.lowpass >= shape.rate / 2:
            raise ConfigError(
                f"Temporal filters cannot be damped above {self.lowpass:g} Hz",
                found=f"At {shape.rate:g} Hz there is nothing above {shape.rate / 2:g} Hz",
                do="Lower model.lowpass in the recipe",
            )
        return EEGNet(self, shape)


class EEGNet(Network):
    """Spatial and temporal filters, separable convolution, linear head.

    The paper filters in time, then in space. Both maps are linear and commute, so the
    same filters are applied in the other order, which costs n_channels / (f1 * depth)
    times less: a 15 s window of 64 channels at 125 Hz trains some ten times faster on a
    CPU. What goes is the batch norm between the two. Kernels of even length are padded
    explicitly, one sample more on the left. 2 096 + 929 per ROI parameters for that window.

    NeuralNetworkEEG-to-fMRI reads a region off 31 channels and 2 s at 125 Hz, by filters of
    0.512 s: 1 584 + 113 per output parameters. Its dropout is 0.5, its `head_max_norm` 0.15,
    or 0.25 where outputs are levels; a `lowpass` of 30 Hz is one of the things it tried.

    References
    ----------
    Lawhern et al. 2018, J. Neural Eng. 15 056013, doi:10.1088/1741-2552/aace8c.
    R-EEGNet: 15 s windows to a sensorimotor BOLD course, hdl.handle.net/11311/1310175.
    masal-98, NeuralNetworkEEG-to-fMRI, github.com/masal-98/NeuralNetworkEEG-to-fMRI.
    """

    def __init__(self, config: EEGNetConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.rate = config, shape.rate
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
        self.classes = _classes(config, shape.n_targets)
        n_outputs = self.classes.n_outputs if self.classes else shape.n_targets
        self.head = nn.Linear(config.f2 * (shape.n_times // POOLED), n_outputs)

    def outcome(self, x: Tensor) -> Tensor:
        """Return what the head says of windows: values' z, or the logits of classes."""
        x = self.norm1(self._filter_in_time(self.spatial(self.scaler(x))))
        x = self.dropout(F.avg_pool1d(F.elu(x), 4))
        x = self.norm2(self.pointwise(self.depthwise(_pad(x, 16))))
        x = self.dropout(F.avg_pool1d(F.elu(x), 8))
        out: Tensor = self.head(x.flatten(1))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Predict z, shape (n, n_targets), from windows (n, n_features, n_times)."""
        return self.z_of(self.outcome(x))

    def probabilities(self, x: Tensor) -> Tensor:
        """Return how likely each class is (`Classes.probabilities`), for windows."""
        assert self.classes is not None
        return self.classes.probabilities(self.outcome(x))

    def loss_of(self, outcome: Tensor, y: Tensor, measure: Loss) -> Tensor:
        """Return the recipe's loss, or the cross-entropy where outputs are of classes."""
        if self.classes:
            return self.classes.loss(outcome, y)
        return super().loss_of(outcome, y, measure)

    def z_of(self, outcome: Tensor) -> Tensor:
        """Return the targets' z: of classes, as expected by their probabilities."""
        z: Tensor = self.classes(outcome) if self.classes else outcome
        return z

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
        """Bring spatial filters and outputs back to their largest norms, after each step."""
        self.spatial.weight.copy_(torch.renorm(self.spatial.weight, 2, 0, self.config.max_norm))
        if self.config.head_max_norm:
            limit = self.config.head_max_norm
            self.head.weight.copy_(torch.renorm(self.head.weight, 2, 0, limit))

    @torch.no_grad()
    def after_epoch(self) -> None:
        """Damp temporal filters above a frequency, by a filter that runs along each.

        A causal one, as in NeuralNetworkEEG-to-fMRI. So what is left moves along the filter,
        by 27 ms an epoch at 30 Hz (of 125 Hz), and the gradient has to bring it back.
        """
        if self.config.lowpass:
            weight, fs = self.temporal.weight, self.rate
            sos = signal.butter(LOWPASS_ORDER, self.config.lowpass, output="sos", fs=fs)
            damped = signal.sosfilt(sos, weight.double().cpu().numpy(), axis=-1)
            weight.copy_(torch.from_numpy(damped))


def _classes(config: EEGNetConfig, n_targets: int) -> Classes | None:
    match config.head:
        case "levels":
            return Levels(n_targets, config.levels)
        case "conditions":
            return Conditions(n_targets)
        case "value":
            return None


def _pad(x: Tensor, kernel: int) -> Tensor:
    return F.pad(x, (kernel // 2, (kernel - 1) // 2))
