from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rtfeedback.checkpoint import CheckpointSpec, save_checkpoint
from rtfeedback.errors import CheckpointError
from rtfeedback.models import EEGNetConfig, RidgeConfig, TCNConfig
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32, Prediction

Untrained = Callable[..., tuple[CheckpointSpec, nn.Module]]
MODELS = [RidgeConfig(), EEGNetConfig(), TCNConfig()]

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


def test_it_says_what_the_model_says_of_one_window(folder: Path) -> None:
    predict = Predictor.load(folder, "cpu")
    for window in windows(predict, 5):
        with torch.no_grad():
            z = predict.checkpoint.model(torch.from_numpy(window.copy())[None])[0]
        assert [roi.z for roi in predict(window).values()] == z.tolist()


def test_the_window_is_not_copied(folder: Path) -> None:
    predict = Predictor.load(folder, "cpu")
    window, seen = windows(predict, 1)[0], []
    model = predict.checkpoint.model
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0].data_ptr()))
    predict(window)
    assert seen == [window.ctypes.data]


def test_a_cpu_captures_no_graph(folder: Path) -> None:
    predict = Predictor.load(folder, "cpu")
    assert not predict.inference.captured
    assert predict.inference.why_not == ""


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
