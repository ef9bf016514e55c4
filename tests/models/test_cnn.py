"""What only `cnn` owes; the rest is in test_fc.py."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from rtfeedback.models.architecture import Shape
from rtfeedback.models.cnn import CNN, CNNConfig, ConvEmbedding, Convolution, refinement
from rtfeedback.models.volume import VolumeSpec

ROWS = ((3.0, 0.0, 0.0, 0.0), (0.0, 3.0, 0.0, 0.0), (0.0, 0.0, 3.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def cnn(
    *,
    n_features: int = 6,
    n_times: int = 100,
    rate: float = 125.0,
    grid: tuple[int, int, int] = (9, 8, 7),
    voxels: list[int] | None = None,
    **config: object,
) -> CNN:
    torch.manual_seed(0)
    n_voxels = int(np.prod(grid)) if voxels is None else len(voxels)
    volume = VolumeSpec(grid=grid, affine=ROWS, n_voxels=n_voxels, unit="z")
    model = CNNConfig.model_validate(config).build(
        Shape(n_features, n_times, 1, rate, volume=volume)
    )
    if voxels is not None:
        model.set_volume(np.array(voxels), np.zeros(n_voxels), np.ones(n_voxels))
    return model.eval()


def small(**more: object) -> CNN:
    config = {"embedding": 6, "hidden": [8], "refinement_maps": 2}
    return cnn(**config | {"convolution": {"filters": 4}} | more)  # type: ignore[arg-type]


def embedding(
    *, n_groups: int = 1, n_inputs: int = 3, n_times: int = 100, rate: float = 125.0
) -> ConvEmbedding:
    torch.manual_seed(0)
    config = Convolution(filters=4)
    shape = {"n_groups": n_groups, "n_inputs": n_inputs, "n_times": n_times}
    return ConvEmbedding(config, **shape, rate=rate).eval()


def windows(n: int = 3, n_features: int = 6, n_times: int = 100) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(0, 1, (n, n_features, n_times)).astype(np.float32))


def test_its_docstring_counts_its_parameters() -> None:
    text = " ".join((CNN.__doc__ or "").split())
    stated = re.search(
        r"With (\d+) channels of (\d+) samples, the defaults and ([\d ]+) voxels: ([\d ]+) par",
        text,
    )
    assert stated is not None
    channels, times, voxels, count = (int(n.replace(" ", "")) for n in stated.groups())
    assert voxels == 53 * 63 * 52
    with torch.device("meta"):
        model = cnn(n_features=channels, n_times=times, rate=250.0, grid=(53, 63, 52))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("rate", [125.0, 250.0, 1000.0])
def test_the_papers_kernel_is_the_same_at_rates_of_whole_numbers(rate: float) -> None:
    c = Convolution()
    assert (c.taps(rate), c.dilation(rate) / rate, c.step(rate) / rate) == (49, 0.008, 0.016)
    assert c.values(rate) == 16


def test_a_slower_rate_has_fewer_taps_over_the_same_time() -> None:
    c, rate = Convolution(), 256 / 3
    assert (c.taps(rate), c.dilation(rate), c.step(rate), c.values(rate)) == (33, 1, 1, 22)
    assert c.span(rate) / rate == pytest.approx(c.kernel, abs=1 / rate)


@pytest.mark.parametrize("n_times", [49, 50, 51, 80, 81, 112, 113, 500])
def test_a_joint_embedding_is_a_plane_of_kernels_over_channels_and_time(n_times: int) -> None:
    each, x = embedding(n_times=n_times), windows(2, 3, n_times)
    span, step = 49, 2  # samples at 125 Hz
    newest = (n_times - span) % step
    plane = F.conv2d(
        x[:, None, :, newest:], each.convolve.weight[:, None], each.convolve.bias, stride=step
    )
    maps = each.norm(F.elu(plane[:, :, 0]))
    means = torch.stack([part.mean(dim=-1) for part in maps.split(16, dim=-1)], dim=-1)
    assert each(x).shape == (2, 1, each.n_outputs)
    assert torch.allclose(each(x)[:, 0], means.flatten(1), atol=1e-6)


def test_a_shared_embedding_treats_channels_alike() -> None:
    each, x = embedding(n_groups=6, n_inputs=1), windows()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    embedded = each(x)
    assert embedded.shape == (3, 6, each.n_outputs)
    assert torch.allclose(each(x[:, order]), embedded[:, order], rtol=0, atol=1e-6)


def test_a_group_of_a_shared_embedding_is_a_channel_with_its_bands() -> None:
    each, x = embedding(n_groups=2, n_inputs=3), windows()
    alone = embedding(n_groups=1, n_inputs=3)
    assert torch.allclose(each(x)[:, 1:], alone(x[:, 3:]), atol=1e-6)


def test_shared_kernels_are_fewer_and_see_one_channel() -> None:
    joint, shared = small(), small(joint=False)
    assert joint.convolve.convolve.weight.shape == (4, 6, 49)
    assert shared.convolve.convolve.weight.shape == (4, 1, 49)
    inputs = [next(model.embed.parameters()).shape[1] for model in (joint, shared)]
    assert inputs[1] == 6 * inputs[0]


def test_a_refined_voxel_sees_those_around_it_that_lie_in_the_mask() -> None:
    # Two layers of 5 voxels reach 4 voxels: from the first to the second, not to the third.
    model = small(grid=(12, 1, 1), voxels=[0, 4, 9], refinements=2)
    z = torch.zeros(1, 3, requires_grad=True)
    seen = torch.autograd.functional.jacobian(model.refined, z)[0, :, 0] != 0  # type: ignore[no-untyped-call]
    assert seen.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


@pytest.mark.parametrize("n_layers", [0, 1, 2, 4])
def test_a_volume_keeps_its_shape_whatever_refines_it(n_layers: int) -> None:
    layers = refinement(n_layers, 3)
    assert sum(isinstance(each, torch.nn.Conv3d) for each in layers) == n_layers
    volume = torch.ones(2, 1, 5, 3, 1)
    assert layers(volume).shape == volume.shape


def test_without_refinement_the_coarse_volume_is_all() -> None:
    model, z = small(refinements=0, voxels=[3, 5, 6]), torch.ones(1, 3)
    assert torch.equal(model.refined(z), z)


@pytest.mark.parametrize(("rate", "shortest"), [(125.0, 49), (250.0, 97), (1000.0, 388)])
def test_the_shortest_window_is_one_kernel(rate: float, shortest: int) -> None:
    assert CNNConfig().shortest(rate) == shortest
    x = windows(n_times=shortest)
    assert small(n_times=shortest, rate=rate).volume(x).shape == (3, 9 * 8 * 7)


@pytest.mark.parametrize(
    "values",
    [
        {"convolution": {"filters": 0}},
        {"convolution": {"kernel": 0.0}},
        {"convolution": {"width": 3}},
        {"refinements": -1},
        {"refinement_maps": 0},
    ],
)
def test_a_senseless_setting_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CNNConfig.model_validate(values)
