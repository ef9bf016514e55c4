"""What only `siamese-fc` owes; the rest is in test_fc.py."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor

from rtfeedback.models.architecture import Shape
from rtfeedback.models.siamese_fc import SiameseFC, SiameseFCConfig
from rtfeedback.models.volume import VolumeSpec

ROWS = ((3.0, 0.0, 0.0, 0.0), (0.0, 3.0, 0.0, 0.0), (0.0, 0.0, 3.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def siamese(
    *,
    n_features: int = 6,
    n_times: int = 50,
    n_bands: int = 1,
    grid: tuple[int, int, int] = (3, 3, 3),
    **config: object,
) -> SiameseFC:
    torch.manual_seed(0)
    x, y, z = grid
    volume = VolumeSpec(grid=grid, affine=ROWS, n_voxels=x * y * z, unit="z")
    shape = Shape(n_features, n_times, 2, 125.0, n_bands=n_bands, volume=volume)
    model = SiameseFCConfig.model_validate(config).build(shape)
    return model.eval()


def small(*, n_features: int = 6, n_bands: int = 1) -> SiameseFC:
    return siamese(n_features=n_features, n_bands=n_bands, embedding=4, hidden=[8])


def windows(n: int = 3, n_features: int = 6, n_times: int = 50) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(0, 1, (n, n_features, n_times)).astype(np.float32))


def test_its_docstring_counts_its_parameters() -> None:
    text = " ".join((SiameseFC.__doc__ or "").split())
    stated = re.search(
        r"With (\d+) channels of (\d+) samples, the defaults and ([\d ]+) voxels: ([\d ]+) par",
        text,
    )
    assert stated is not None
    channels, times, voxels, count = (int(n.replace(" ", "")) for n in stated.groups())
    assert voxels == 53 * 63 * 52
    with torch.device("meta"):
        model = siamese(n_features=channels, n_times=times, grid=(53, 63, 52))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_the_embedding_treats_channels_alike() -> None:
    model, x = small(), windows()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    embedded = model.embedded(x)
    assert embedded.shape == (3, 6, 4)
    assert torch.allclose(model.embedded(x[:, order]), embedded[:, order], rtol=0, atol=1e-6)


def test_what_follows_tells_channels_apart() -> None:
    model, x = small(), windows()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert not torch.allclose(model.volume(x[:, order]), model.volume(x), atol=1e-3)


def test_a_channel_changes_its_own_embedding_alone() -> None:
    model, x = small(), windows()
    changed = x.clone()
    changed[:, 2] += 1.0
    moved = (model.embedded(changed) - model.embedded(x)).abs().amax(dim=(0, 2))
    assert moved[2] > 1e-2
    assert moved[[0, 1, 3, 4, 5]].max() < 1e-6


def test_the_bands_of_a_channel_are_embedded_together() -> None:
    model, x = small(n_bands=3), windows()
    changed = x.clone()
    changed[:, 4] += 1.0  # the second band of the second channel
    moved = (model.embedded(changed) - model.embedded(x)).abs().amax(dim=(0, 2))
    assert moved.shape == (2,)
    assert moved[1] > 1e-2 > 1e-6 > moved[0]


def test_its_first_layer_does_not_grow_with_the_channels() -> None:
    few, many = small(), small(n_features=12)
    assert [p.shape for p in few.embed.parameters()] == [
        p.shape for p in many.embed.parameters()
    ]
