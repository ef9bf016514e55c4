"""What `fc` does, and what it, `siamese-fc` and `cnn` owe alike."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from rtfeedback.models.architecture import Shape
from rtfeedback.models.cnn import CNNConfig
from rtfeedback.models.fc import FC, DenseConfig, FCConfig, Means
from rtfeedback.models.siamese_fc import SiameseFCConfig
from rtfeedback.models.volume import VolumeNetwork, VolumeSpec

GRID = (4, 5, 3)
ROWS = ((3.0, 0.0, 0.0, 0.0), (0.0, 3.0, 0.0, 0.0), (0.0, 0.0, 3.0, 0.0), (0.0, 0.0, 0.0, 1.0))
SMALL = {"embedding": 6, "hidden": [12, 8]}
MAPS = {"convolution": {"filters": 4}, "refinement_maps": 2}
CONFIGS: dict[str, DenseConfig] = {
    "fc": FCConfig.model_validate(SMALL),
    "siamese-fc": SiameseFCConfig.model_validate(SMALL),
    "cnn": CNNConfig.model_validate(SMALL | MAPS),
    "cnn-shared": CNNConfig.model_validate(SMALL | MAPS | {"joint": False}),
}
each_model = pytest.mark.parametrize("name", CONFIGS)


def spec(grid: tuple[int, int, int] = GRID, n_voxels: int = 30) -> VolumeSpec:
    return VolumeSpec(grid=grid, affine=ROWS, n_voxels=n_voxels, unit="percent signal change")


def built(
    config: DenseConfig,
    *,
    n_features: int = 5,
    n_times: int = 150,
    n_targets: int = 2,
    rate: float = 125.0,
    n_bands: int = 1,
    seed: int = 0,
) -> VolumeNetwork:
    """Return a model whose mask is every other voxel, and whose regions are random."""
    torch.manual_seed(seed)
    shape = Shape(n_features, n_times, n_targets, rate, n_bands=n_bands, volume=spec())
    model = config.build(shape)
    assert isinstance(model, VolumeNetwork)
    rng = np.random.default_rng(seed)
    model.set_volume(np.arange(0, 60, 2), np.zeros(30), np.ones(30))
    model.set_regions(
        rng.normal(0, 1, (n_targets, 30)), np.zeros(n_targets), np.ones(n_targets)
    )
    return model.eval()


def windows(n: int = 3, n_features: int = 5, n_times: int = 150) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(0, 1, (n, n_features, n_times)).astype(np.float32))


def test_its_docstring_counts_its_parameters() -> None:
    text = " ".join((FC.__doc__ or "").split())
    stated = re.search(
        r"With (\d+) channels of (\d+) samples, the defaults and ([\d ]+) voxels: ([\d ]+) par",
        text,
    )
    assert stated is not None
    channels, times, voxels, count = (int(n.replace(" ", "")) for n in stated.groups())
    shape = Shape(channels, times, 1, 250.0, volume=spec((53, 63, 52), voxels))
    with torch.device("meta"):
        model = FCConfig().build(shape)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@each_model
@pytest.mark.parametrize(
    ("n_features", "n_times", "n_targets", "rate", "n_bands"),
    [
        (5, 150, 1, 125.0, 1),
        (1, 103, 3, 256 / 3, 1),
        (2, 610, 2, 1000.0, 1),
        (7, 97, 2, 250.0, 1),
        (6, 40, 2, 4.0, 3),
    ],
)
def test_windows_of_any_shape_give_voxels_and_regions(
    name: str, n_features: int, n_times: int, n_targets: int, rate: float, n_bands: int
) -> None:
    model = built(
        CONFIGS[name],
        n_features=n_features,
        n_times=n_times,
        n_targets=n_targets,
        rate=rate,
        n_bands=n_bands,
    )
    x = windows(2, n_features, n_times)
    voxels, z = model.volume(x), model(x)
    assert voxels.shape == (2, 30)
    assert z.shape == (2, n_targets)
    assert z.dtype == voxels.dtype == torch.float32
    assert torch.isfinite(voxels).all()
    assert torch.equal(z, model.of_volume(voxels))


@each_model
def test_all_of_a_window_counts_and_its_newest_sample_too(name: str) -> None:
    model = built(CONFIGS[name], n_times=152)
    x = windows(n_times=152).requires_grad_()
    model.volume(x).square().sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    seen = x.grad[0].abs().sum(dim=0) > 0
    assert seen[2:].all()


@each_model
def test_a_faster_chain_is_averaged_to_the_rate_of_a_slower_one(name: str) -> None:
    fast = built(CONFIGS[name], n_times=1203, rate=1000.0)
    slow = built(CONFIGS[name], n_times=300, rate=250.0)
    fast.load_state_dict(slow.state_dict())
    x = windows(n_times=1203)
    # The oldest three do not fill a mean of four.
    means = x[..., 3:].reshape(3, 5, 300, 4).mean(dim=-1)
    assert torch.allclose(fast.volume(x), slow.volume(means), atol=1e-5)


@pytest.mark.parametrize(
    ("rate", "size"), [(4.0, 1), (256 / 3, 1), (250.0, 1), (300.0, 1), (500.0, 2), (1e3, 4)]
)
def test_the_papers_rate_is_come_near_to_and_never_made_up(rate: float, size: int) -> None:
    config = FCConfig()
    assert config.pooled(rate) == config.shortest(rate) == size


@pytest.mark.parametrize("n_times", [8, 9, 11])
def test_means_are_of_the_newest_samples(n_times: int) -> None:
    x = torch.arange(n_times, dtype=torch.float32)[None, None]
    means = Means(4)
    expected = [n_times - 6.5, n_times - 2.5]
    assert means.n_means(n_times) == 2
    assert means(x).flatten().tolist() == expected


@pytest.mark.parametrize(
    "values",
    [
        {"pool_to": 0},
        {"embedding": 0},
        {"hidden": []},
        {"hidden": [8, 0]},
        {"dropout": 1.0},
        {"embedding_dropout": -0.1},
        {"length": 0},
    ],
)
def test_a_senseless_setting_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FCConfig.model_validate(values)
