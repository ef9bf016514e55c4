"""A model on its device, for windows of one shape: the arithmetic behind `Predictor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rtfeedback.models.monte_carlo import MonteCarlo
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.signals import Float32

WARM_UPS = 3  # passes before a capture: libraries choose their algorithms in the first ones


Pass = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""Windows in; out the targets' z, and the voxels' that they are of where there are any."""


class Inference(Protocol):
    """What answers one window at a time.

    Attributes
    ----------
    captured : bool
        Whether the model's kernels were captured as one CUDA graph.
    why_not : str
        What stood against it; empty on a CPU, which captures nothing.
    """

    captured: bool
    why_not: str

    def __call__(self, window: Float32) -> list[float]:
        """Return the targets' z for a window, shape (n_features, n_times)."""

    def voxels(self) -> Float32 | None:
        """Return the voxels' z, shape (n_voxels,), of the pass that answered the last window.

        They stay where the pass left them until they are asked for: whoever waits for the
        targets does not wait for these. None of a model of regions alone. Valid until the
        next window.
        """


def inference(model: nn.Module, shape: tuple[int, int], device: torch.device) -> Inference:
    """Return what computes a model, in its evaluation mode, on a device."""
    on = OnCUDA if device.type == "cuda" else OnCPU
    return on(model.to(device).eval(), shape, device)


def _pass(model: nn.Module) -> Pass:
    if isinstance(model, (VolumeNetwork, MonteCarlo)):
        return model.whole
    return lambda x: (model(x), None)


class OnCPU:
    """A plain pass over the window where it lies: nothing is copied."""

    captured = False
    why_not = ""

    def __init__(self, model: nn.Module, shape: tuple[int, int], device: torch.device) -> None:
        self._pass = _pass(model)
        self._voxels: Tensor | None = None

    @torch.inference_mode()
    def __call__(self, window: Float32) -> list[float]:
        """Return the targets' z for a window, shape (n_features, n_times)."""
        targets, self._voxels = self._pass(torch.from_numpy(window)[None])
        z: list[float] = targets[0].tolist()
        return z

    def voxels(self) -> Float32 | None:
        """Return the voxels' z, shape (n_voxels,), of the pass behind the last answer."""
        return None if self._voxels is None else self._voxels[0].numpy()


class OnCUDA:
    """A captured graph between two pinned buffers; the host waits once for each window.

    The window goes into page-locked memory, from where it is copied without the host
    waiting; the graph launches all of the model's kernels at once, which one by one cost
    the host more than most of these models cost the device. A model that cannot be captured,
    as it looks at its numbers to decide what to do, runs kernel by kernel instead. Voxels
    stay on the device, and come over by a copy of their own when they are asked for.

    See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.

    Parameters
    ----------
    model : nn.Module
        On the device, in its evaluation mode.
    shape : tuple of int
        Of a window, (n_features, n_times).
    device : torch.device
    """

    def __init__(self, model: nn.Module, shape: tuple[int, int], device: torch.device) -> None:
        self._pass = _pass(model)
        self._pinned = torch.zeros(1, *shape, pin_memory=True)
        self._staging = self._pinned.numpy()[0]
        self._window = torch.zeros(1, *shape, device=device)
        self._stream = _stream(device)
        self._stream.wait_stream(torch.cuda.current_stream(device))  # for the weights
        self._z, self._voxels = self._warm_up()
        self._answer = torch.zeros(self._z.shape, pin_memory=True)
        self._laid: Tensor | None = None
        if self._voxels is not None:
            self._laid = torch.zeros(self._voxels.shape, pin_memory=True)
        self.why_not = ""
        self._graph = self._capture()
        self.captured = self._graph is not None

    @torch.inference_mode()
    def _warm_up(self) -> tuple[Tensor, Tensor | None]:
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                found = self._of_window()
        self._stream.synchronize()
        return found

    def _of_window(self) -> tuple[Tensor, Tensor | None]:
        """Launch a pass over the window that lies on the device."""
        z, voxels = self._pass(self._window)
        return z[0], None if voxels is None else voxels[0]

    @torch.inference_mode()
    def _capture(self) -> torch.cuda.CUDAGraph | None:
        graph = torch.cuda.CUDAGraph()
        pool = torch.cuda.graph_pool_handle()
        # What other threads do with the device does not spoil the capture.
        capture = torch.cuda.graph(
            graph, pool, stream=self._stream, capture_error_mode="thread_local"
        )
        try:
            # A capture that fails would leave its stream the current one; this does not.
            with torch.cuda.stream(self._stream), capture:
                found = self._of_window()
        except RuntimeError as error:
            cause = error.__context__ or error  # that the capture is spoilt comes second
            self.why_not = str(cause).splitlines()[0]
            self._stream = _stream(self._window.device)
            return None
        self._z, self._voxels = found  # where each replay leaves its outcome
        return graph

    @torch.inference_mode()
    def __call__(self, window: Float32) -> list[float]:
        """Return the targets' z for a window, shape (n_features, n_times)."""
        np.copyto(self._staging, window)
        with torch.cuda.stream(self._stream):
            self._window.copy_(self._pinned, non_blocking=True)
            if self._graph is None:
                self._z, self._voxels = self._of_window()
            else:
                self._graph.replay()
            self._answer.copy_(self._z, non_blocking=True)
        self._stream.synchronize()
        z: list[float] = self._answer.tolist()
        return z

    @torch.inference_mode()
    def voxels(self) -> Float32 | None:
        """Return the voxels' z, shape (n_voxels,), of the pass behind the last answer."""
        if self._voxels is None or self._laid is None:
            return None
        with torch.cuda.stream(self._stream):
            self._laid.copy_(self._voxels, non_blocking=True)
        self._stream.synchronize()
        return self._laid.numpy()


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
