"""A model on a GPU says what it says on a CPU, and the host waits once for each window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from offline.monte_carlo import thin, with_passes
from rtfeedback.checkpoint import CheckpointSpec, load_checkpoint, save_checkpoint
from rtfeedback.inference import OnCPU, OnCUDA, inference
from rtfeedback.models import EEGNetConfig, MeanPower, RidgeConfig, TCNConfig
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32, Prediction
from tests.volume_lab import save_volume_model, volume_spec

Untrained = Callable[..., tuple[CheckpointSpec, nn.Module]]
TOLERANCE = 1e-4  # z: sums in another order, in float32
SHAPE = (6, 2000)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
]


@pytest.fixture(
    params=[
        (RidgeConfig(), 1),
        *((c, n) for c in (EEGNetConfig(), TCNConfig()) for n in (1, 6)),
    ],
    ids=lambda given: f"{given[0].name} x {given[1]}",
)
def folder(request: pytest.FixtureRequest, untrained: Untrained, tmp_path: Path) -> Path:
    """Return a checkpoint, of a network with Monte-Carlo passes as well."""
    config, passes = request.param
    spec, model = untrained(config, channels=16)
    if passes > 1:
        spec, model = thin(spec, model, passes)
    save_checkpoint(tmp_path / "checkpoint", spec, model)
    return tmp_path / "checkpoint"


def windows(shape: tuple[int, int], n: int = 8) -> Float32:
    return np.random.default_rng(1).normal(0, 1, (n, *shape)).astype(np.float32)


def z_of(prediction: Prediction) -> list[float]:
    return [float(roi.z or 0) for roi in prediction.values()]


def mean_power() -> MeanPower:
    model = MeanPower(SHAPE[0]).eval()
    model.set(np.full(SHAPE[0], 0.9), np.full(SHAPE[0], 0.5))
    return model


def sd_of(prediction: Prediction) -> list[float]:
    return [float(roi.sd or 0) for roi in prediction.values()]


@contextmanager
def waits_counted() -> Iterator[list[str]]:
    """Note each time that the host waits on purpose, and refuse any hidden wait."""
    waits: list[str] = []

    def counted(name: str, wait: Callable[..., None]) -> Callable[..., None]:
        def call(*args: object) -> None:
            waits.append(name)
            torch.cuda.set_sync_debug_mode("default")
            wait(*args)
            torch.cuda.set_sync_debug_mode("error")

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "synchronize", counted("device", torch.cuda.synchronize))
        for kind in (torch.cuda.Stream, torch.cuda.Event):
            patch.setattr(kind, "synchronize", counted(kind.__name__, kind.synchronize))
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield waits
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_auto_takes_the_gpu_and_captures_the_model(folder: Path) -> None:
    predict = Predictor.load(folder, "auto")
    assert predict.device.type == "cuda"
    assert predict.inference.captured, predict.inference.why_not


def test_it_agrees_with_the_cpu(folder: Path) -> None:
    on_cpu = Predictor(load_checkpoint(folder), "cpu")
    on_gpu = Predictor(load_checkpoint(folder), "cuda")
    for window in windows(on_cpu.shape):
        here, there = on_gpu(window), on_cpu(window)
        assert np.allclose(z_of(here), z_of(there), rtol=0, atol=TOLERANCE)
        assert np.allclose(sd_of(here), sd_of(there), rtol=0, atol=TOLERANCE)


def test_its_masks_are_the_cpus(folder: Path) -> None:
    on_gpu, on_cpu = (Predictor.load(folder, device) for device in ("cuda", "cpu"))
    named = on_cpu.checkpoint.model.named_buffers()
    masks = {name: each for name, each in named if "mask" in name}
    assert bool(masks) == (on_cpu.spec.passes > 1)
    there = dict(on_gpu.checkpoint.model.named_buffers())
    for name, mask in masks.items():
        assert there[name].is_cuda
        assert torch.equal(there[name].cpu(), mask)


def test_what_is_masked_is_left_out_as_on_the_cpu(folder: Path) -> None:
    on_cpu = Predictor(load_checkpoint(folder), "cpu")
    on_gpu = Predictor(load_checkpoint(folder), "cuda")
    window = windows(on_cpu.shape, 1)[0]
    window[1::3, 10:30] = np.nan
    masked = z_of(on_gpu(window))
    assert np.isfinite(masked).all()
    assert np.allclose(masked, z_of(on_cpu(window)), rtol=0, atol=TOLERANCE)


def test_a_window_gets_the_same_bits_whatever_came_before_it(folder: Path) -> None:
    predict = Predictor.load(folder, "cuda")
    given = windows(predict.shape)
    first = [z_of(predict(window)) for window in given]
    predict.warm_up()
    assert [z_of(predict(window)) for window in given[::-1]][::-1] == first
    other = Predictor.load(folder, "cuda")
    assert [z_of(other(window)) for window in given] == first
    assert len({tuple(each) for each in first}) == len(given)


def test_the_host_waits_once_for_each_window(folder: Path) -> None:
    predict = Predictor.load(folder, "cuda")
    predict.warm_up()
    with waits_counted() as waits:
        for window in windows(predict.shape, 3):
            predict(window)
    assert waits == ["Stream"] * 3


def test_mean_power_is_captured_too() -> None:
    on_gpu = inference(mean_power(), SHAPE, torch.device("cuda"))
    on_cpu = inference(mean_power(), SHAPE, torch.device("cpu"))
    assert isinstance(on_gpu, OnCUDA)
    assert isinstance(on_cpu, OnCPU)
    assert on_gpu.captured, on_gpu.why_not
    for window in windows(SHAPE):
        window[2, :50] = np.nan
        window[4] = np.nan
        assert np.allclose(on_gpu(window), on_cpu(window), rtol=0, atol=TOLERANCE)


class Choosy(nn.Module):
    """A model that looks at its numbers on the host, which no graph can hold."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(-1)
        return mean if bool(mean.sum() > 0) else 2 * mean


def test_what_cannot_be_captured_runs_all_the_same() -> None:
    eager = inference(Choosy(), SHAPE, torch.device("cuda"))
    assert not eager.captured
    assert eager.why_not
    on_cpu = inference(Choosy(), SHAPE, torch.device("cpu"))
    for window in (*windows(SHAPE, 2), -windows(SHAPE, 1)[0]):
        assert np.allclose(eager(window), on_cpu(window), rtol=0, atol=TOLERANCE)
    # And what comes after it is captured.
    assert inference(mean_power(), SHAPE, torch.device("cuda")).captured


# ------------------------------------------------------------------ whole volumes


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    save_volume_model(tmp_path / "volumes", volume_spec())
    return tmp_path / "volumes"


def tokens(shape: tuple[int, int], n: int = 8) -> Float32:
    return np.float32(0.5) * windows(shape, n) - np.float32(
        11
    )  # log10 V**2, as the model's scaler has them


def test_volumes_agree_with_the_cpus_and_are_of_the_window_that_was_answered(
    volumes: Path,
) -> None:
    on_cpu = Predictor(load_checkpoint(volumes), "cpu")
    on_gpu = Predictor(load_checkpoint(volumes), "cuda")
    assert on_gpu.inference.captured, on_gpu.inference.why_not
    kept = []
    for window in tokens(on_cpu.shape):
        told = on_gpu(window)
        expected = on_cpu(window)
        here, there = on_gpu.volume(), on_cpu.volume()
        assert here is not None
        assert there is not None
        assert np.allclose(here, there, rtol=0, atol=TOLERANCE, equal_nan=True)
        assert np.allclose(z_of(told), z_of(expected), rtol=0, atol=TOLERANCE)
        kept.append(here)
    assert len({each.tobytes() for each in kept}) == len(kept)


def test_volumes_of_passes_agree_with_the_cpus(volumes: Path, tmp_path: Path) -> None:
    with_passes(load_checkpoint(volumes), tmp_path / "thinned", 6)
    on_gpu, on_cpu = (Predictor.load(tmp_path / "thinned", each) for each in ("cuda", "cpu"))
    assert on_gpu.inference.captured, on_gpu.inference.why_not
    for window in tokens(on_cpu.shape, 3):
        told, expected = on_gpu(window), on_cpu(window)
        here, there = on_gpu.volume(), on_cpu.volume()
        assert here is not None
        assert there is not None
        assert np.allclose(here, there, rtol=0, atol=TOLERANCE, equal_nan=True)
        assert np.allclose(z_of(told), z_of(expected), rtol=0, atol=TOLERANCE)
        assert np.allclose(sd_of(told), sd_of(expected), rtol=0, atol=TOLERANCE)


def test_regions_have_the_same_bits_whether_or_not_the_gpus_volume_is_asked_for(
    volumes: Path,
) -> None:
    asked, other = Predictor.load(volumes, "cuda"), Predictor.load(volumes, "cuda")
    for window in tokens(asked.shape):
        told = z_of(asked(window))
        asked.volume()
        assert told == z_of(asked(window)) == z_of(other(window))


def test_the_host_waits_for_voxels_only_when_they_are_asked_for(volumes: Path) -> None:
    predict = Predictor.load(volumes, "cuda")
    predict.warm_up()
    with waits_counted() as waits:
        for window in tokens(predict.shape, 2):
            predict(window)
        assert waits == ["Stream"] * 2
        predict.volume()
    assert waits == ["Stream"] * 3
