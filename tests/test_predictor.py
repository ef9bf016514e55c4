from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rtfeedback.checkpoint import CheckpointSpec, load_checkpoint, save_checkpoint
from rtfeedback.errors import CheckpointError
from rtfeedback.models import EEGNetConfig, RidgeConfig
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32, Prediction

Untrained = Callable[..., tuple[CheckpointSpec, nn.Module]]
MODELS = [RidgeConfig(), EEGNetConfig()]
# Sums in another order, in float32; cuDNN may round what it multiplies to TF32, 10 bits.
GPU_TOLERANCE = 5e-3

IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
import numpy as np
from rtfeedback.predictor import Predictor
predict = Predictor.load(Path(sys.argv[1]), "cpu")
for window in np.load(sys.argv[2]):
    print(*(roi.z.hex() for roi in predict(window).values()))
"""


@pytest.fixture(params=MODELS, ids=lambda config: config.name)
def folder(request: pytest.FixtureRequest, untrained: Untrained, tmp_path: Path) -> Path:
    spec, model = untrained(request.param, channels=16)
    with torch.no_grad():  # weights of a size that tells predictions apart
        for parameter in model.parameters():
            parameter.mul_(2.0)
    save_checkpoint(tmp_path / "checkpoint", spec, model)
    return tmp_path / "checkpoint"


def windows(predict: Predictor, n: int = 12) -> Float32:
    rng = np.random.default_rng(1)
    return rng.normal(0, 1, (n, *predict.shape)).astype(np.float32)


def hexes(predictions: list[Prediction]) -> list[list[str]]:
    return [[f"{float(roi.z or 0).hex()}" for roi in each.values()] for each in predictions]


def test_a_window_gets_the_same_bits_however_often_and_in_whatever_order(folder: Path) -> None:
    predict = Predictor.load(folder, "cpu")
    given = windows(predict)
    first = hexes([predict(window) for window in given])
    again = hexes([predict(window) for window in given[::-1]])[::-1]
    predict.warm_up()
    other = Predictor.load(folder, "cpu")
    assert first == again == hexes([other(window) for window in given])
    assert len({tuple(each) for each in first}) == len(given)


def test_another_process_gets_the_same_bits(folder: Path, tmp_path: Path) -> None:
    predict = Predictor.load(folder, "cpu")
    given = windows(predict)
    np.save(tmp_path / "windows.npy", given)
    files = (str(folder), str(tmp_path / "windows.npy"))
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, *files]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    there = [line.split() for line in done.stdout.splitlines()]
    assert there == hexes([predict(window) for window in given])


def test_it_computes_on_one_thread_without_gradients(folder: Path) -> None:
    torch.set_num_threads(2)
    predict = Predictor.load(folder, "cpu")
    assert torch.get_num_threads() == 1
    predict.warm_up()
    assert all(parameter.grad is None for parameter in predict.checkpoint.model.parameters())
    assert not predict.checkpoint.model.training


def test_a_window_need_not_be_writable_or_kept(folder: Path) -> None:
    predict = Predictor.load(folder, "cpu")
    buffer = np.concatenate([window.reshape(-1) for window in windows(predict, 2)])
    size = predict.shape[0] * predict.shape[1]
    view = buffer[5 : 5 + size].reshape(predict.shape)  # as the ring gives it
    before = view.copy()
    assert hexes([predict(view)]) == hexes([predict(before)])
    assert np.array_equal(view, before)


def test_raw_is_z_in_the_targets_own_unit(folder: Path) -> None:
    predict = Predictor.load(folder, "cpu")
    prediction = predict(windows(predict, 1)[0])
    assert list(prediction) == ["motor", "visual"]
    for target in predict.spec.targets:
        roi = prediction[target.name]
        assert roi.z is not None
        assert roi.raw == roi.z * target.sd + target.mean
        assert roi.sd is None


def test_the_shape_is_the_checkpoints(folder: Path) -> None:
    predict = Predictor.load(folder, "cpu")
    spec = predict.spec
    n_times = round(spec.window.length * spec.chain.rate)
    assert predict.shape == (spec.chain.n_features, n_times)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_refused_where_there_is_none(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no CUDA device here\. Use --device cpu"):
        Predictor.load(folder, "cuda")
    assert Predictor.load(folder, "auto").device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_agrees_with_cpu(folder: Path) -> None:
    on_cpu = Predictor(load_checkpoint(folder), "cpu")
    on_gpu = Predictor(load_checkpoint(folder), "auto")
    assert on_gpu.device.type == "cuda"
    for window in windows(on_cpu):
        here, there = on_cpu(window), on_gpu(window)
        for name, roi in here.items():
            assert there[name].z == pytest.approx(roi.z, abs=GPU_TOLERANCE)
