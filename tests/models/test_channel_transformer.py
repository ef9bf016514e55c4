from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from rtfeedback.models.architecture import Shape
from rtfeedback.models.channel_transformer import (
    AutoregressiveTransformer,
    ChannelTransformer,
    ChannelTransformerConfig,
    DenseTransformer,
    ParallelTransformer,
    SliceTransformer,
)
from rtfeedback.models.layers.positions import Positions, sinusoids
from rtfeedback.models.layers.transformer_layers import (
    Attention,
    Decoder,
    DecoderLayer,
    Encoder,
    LayerSpec,
)
from rtfeedback.models.volume import VolumeSpec

FORMS = ("parallel", "autoregressive", "dense")
EMBEDDINGS = ("linear", "convolutional")
GRID, N_VOXELS = (5, 4, 3), 37
SMALL = {"width": 16, "heads": 4, "layers": 2, "feedforward": 24, "hidden": 12}
MILLIMETRES = ((4.0, 0.0, 0.0, 0.0), (0.0, 4.0, 0.0, 0.0), (0.0, 0.0, 4.0, 0.0))
AFFINE = (*MILLIMETRES, (0.0, 0.0, 0.0, 1.0))


def volumes(grid: tuple[int, int, int] = GRID, n_voxels: int = N_VOXELS) -> VolumeSpec:
    return VolumeSpec(grid=grid, affine=AFFINE, n_voxels=n_voxels, unit="percent")


def transformer(
    *,
    n_channels: int = 6,
    n_bands: int = 1,
    n_times: int = 250,
    n_targets: int = 2,
    rate: float = 125.0,
    seed: int = 0,
    grid: tuple[int, int, int] = GRID,
    **config: object,
) -> ChannelTransformer:
    torch.manual_seed(seed)
    shape = Shape(
        n_features=n_channels * n_bands,
        n_times=n_times,
        n_targets=n_targets,
        rate=rate,
        n_bands=n_bands,
        volume=volumes(grid),
    )
    model = ChannelTransformerConfig.model_validate({**SMALL, **config}).build(shape)
    rng = np.random.default_rng(seed)
    voxels = np.sort(rng.choice(int(np.prod(grid)), N_VOXELS, replace=False))
    model.set_volume(voxels, rng.normal(0, 1, N_VOXELS), rng.uniform(1, 2, N_VOXELS))
    regions = rng.normal(0, 1, (n_targets, N_VOXELS))
    model.set_regions(regions, rng.normal(0, 1, n_targets), rng.uniform(1, 2, n_targets))
    return model.eval()


def autoregressive(**config: object) -> AutoregressiveTransformer:
    model = transformer(decoding="autoregressive", **config)  # type: ignore[arg-type]
    assert isinstance(model, AutoregressiveTransformer)
    return model.double()


def normal(*shape: int, seed: int = 1) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, 1, shape).astype(np.float32))


def windows(n: int = 3, n_features: int = 6, n_times: int = 250) -> Tensor:
    return normal(n, n_features, n_times)


@contextmanager
def seen_by(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a layer is given first, call by call."""
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    yield seen
    hook.remove()


# ------------------------------------------------------------------------------ its outside


def test_its_docstring_counts_its_parameters() -> None:
    text = " ".join((ChannelTransformer.__doc__ or "").split())
    stated = re.search(
        r"(\d+) channels, (\d+) points and grid of (\d+) x (\d+) x (\d+), all of it predicted, "
        r"and the defaults: ([\d ]+) parameters parallel, ([\d ]+) autoregressive, "
        r"([\d ]+) dense\.",
        text,
    )
    assert stated is not None
    channels, points, x, y, z, *counts = (int(n.replace(" ", "")) for n in stated.groups())
    shape = Shape(channels, points, 2, 250.0, volume=volumes((x, y, z), x * y * z))
    assert points == ChannelTransformerConfig().length * 250.0
    for form, count in zip(FORMS, counts, strict=True):
        model = ChannelTransformerConfig.model_validate({"decoding": form}).build(shape)
        assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize(
    ("n_channels", "n_bands", "rate", "n_times", "n_targets"),
    [(3, 1, 125.0, 251, 1), (1, 1, 80.0, 70, 3), (5, 1, 1000.0, 2003, 2), (2, 3, 4.0, 24, 1)],
)
def test_any_channels_and_rate_give_one_z_per_voxel_and_target(
    form: str,
    embedding: str,
    n_channels: int,
    n_bands: int,
    rate: float,
    n_times: int,
    n_targets: int,
) -> None:
    model = transformer(
        decoding=form,
        embedding=embedding,
        n_channels=n_channels,
        n_bands=n_bands,
        rate=rate,
        n_times=n_times,
        n_targets=n_targets,
    )
    x = windows(3, n_channels * n_bands, n_times)
    z, voxels = model(x), model.volume(x)
    assert (z.shape, voxels.shape) == ((3, n_targets), (3, N_VOXELS))
    assert z.dtype == torch.float32
    assert torch.isfinite(z).all()
    assert torch.equal(z, model.of_volume(voxels))


# ------------------------------------------------------------------------- channels as tokens


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_channels_are_alike_but_for_their_places(embedding: str, positions: str) -> None:
    model = transformer(embedding=embedding, positions=positions).double()
    x, order = windows().double(), torch.tensor([3, 0, 5, 1, 4, 2])
    before = model.volume(x)
    assert not torch.allclose(model.volume(x[:, order]), before, atol=1e-6)
    with torch.no_grad():
        model.positions.table.copy_(model.positions.table[order].clone())
    assert torch.allclose(model.volume(x[:, order]), before, rtol=0, atol=1e-12)


def test_a_channels_token_is_of_all_its_bands_and_of_no_other_channel() -> None:
    model = transformer(n_channels=3, n_bands=2, n_times=30, rate=4.0)
    x = normal(1, 6, 30).requires_grad_()
    for channel in range(3):
        (seen,) = torch.autograd.grad(model.embed(x)[0, channel].sum(), x)
        own = [feature // 2 == channel for feature in range(6)]
        assert (seen[0].abs().sum(1) > 0).tolist() == own


@pytest.mark.parametrize(("rate", "pool"), [(1000.0, 4), (500.0, 2), (250.0, 1), (80.0, 1)])
def test_samples_are_averaged_to_250_hz_and_the_newest_are_in(rate: float, pool: int) -> None:
    model = transformer(rate=rate, n_times=203)
    x = normal(1, 6, 203).requires_grad_()
    left_over = 203 % pool
    model.embed(x).sum().backward()
    assert x.grad is not None
    weight = x.grad[0, 0]
    assert (weight != 0).tolist() == [False] * left_over + [True] * (203 - left_over)
    means = weight[left_over:].reshape(-1, pool)
    assert torch.equal(means, means[:, :1].expand_as(means))


# -------------------------------------------------------------------------- slices as tokens


def test_queries_are_a_set() -> None:
    model = transformer(decoding="parallel").double()
    assert isinstance(model, ParallelTransformer)
    x, order = windows().double(), torch.tensor([4, 2, 0, 3, 1])
    with seen_by(model.to_slice) as seen:
        model.volume(x)
        with torch.no_grad():
            model.queries.copy_(model.queries[order].clone())
        model.volume(x)
    assert torch.allclose(seen[0][:, order], seen[1], rtol=0, atol=1e-12)
    assert not torch.allclose(seen[0], seen[1], atol=1e-3)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_told_its_own_prediction_a_teacher_changes_nothing(
    norm_first: bool, positions: str
) -> None:
    """What is generated slice by slice, from cached keys, is what one causal pass makes."""
    model = autoregressive(norm_first=norm_first, positions=positions)
    x = windows().double()
    generated = model.volume(x)
    assert generated.std() > 0.1
    assert torch.allclose(model.teacher_forced(x, generated), generated, rtol=0, atol=1e-12)


def test_cached_is_uncached() -> None:
    model, x = autoregressive(), windows().double()
    channels, slices = model.encode(x), []
    tokens = model.start.expand(3, 1, -1)
    inside = model.slices_of(torch.ones(1, N_VOXELS).double())
    for i in range(model.n_slices):  # all of the past is read again for each slice
        seen = model.decoder.begin(channels)
        decoded = model.decoder(model.places(tokens), seen, causal=True)[:, -1:]
        slices.append(model.to_slice(decoded) * inside[:, i : i + 1])
        tokens = torch.cat([tokens, model.of_slice(slices[-1])], 1)
    uncached = model.voxels_of(torch.cat(slices, 1))
    assert torch.allclose(model.volume(x), uncached, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_slices", [5, 9])
def test_a_slice_costs_one_token_however_many_came_before(n_slices: int) -> None:
    model = autoregressive(grid=(n_slices, 4, 3))
    own = model.decoder.each()[-1].own
    read: list[tuple[int, ...]] = []
    hook = own.key_value.register_forward_hook(lambda _, given, __: read.append(given[0].shape))
    model.volume(windows(2).double())
    hook.remove()
    assert read == [(2, 1, 16)] * n_slices


def test_a_true_slice_is_told_to_those_after_it_only() -> None:
    model, x = autoregressive(), windows(1).double()
    z = normal(1, N_VOXELS).double()
    slice_of = model.voxels // (GRID[1] * GRID[2])
    told = model.teacher_forced(x, z)
    for i in range(GRID[0]):
        other = torch.where(slice_of == i, z + 1.0, z)
        changed = (model.teacher_forced(x, other) - told)[0].abs() > 1e-9
        assert sorted(set(slice_of[changed].tolist())) == list(range(i + 1, GRID[0]))


def test_training_tells_true_slices_and_predicting_does_not() -> None:
    model, x = autoregressive(), windows().double()
    z = normal(3, N_VOXELS).double()
    loss = model.loss(x, z, nn.functional.mse_loss)
    assert torch.equal(loss, nn.functional.mse_loss(model.teacher_forced(x, z), z))
    assert not torch.allclose(model.teacher_forced(x, z), model.volume(x), atol=1e-3)
    assert not hasattr(transformer(), "teacher_forced")


def test_what_lies_outside_the_mask_is_never_fed_back() -> None:
    model, x = autoregressive(), windows().double()
    inside = model.slices_of(torch.ones(1, N_VOXELS).double())[0] > 0
    with seen_by(model.of_slice) as seen:
        model.volume(x)
    for i, fed in enumerate(seen):
        assert (fed[:, 0, ~inside[i]] == 0).all()
        assert (fed[:, 0, inside[i]] != 0).all()


# ------------------------------------------------------------------------------ attention


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("norm_first", [False, True])
def test_attention_is_shared_out_among_channels(form: str, norm_first: bool) -> None:
    model = transformer(decoding=form, norm_first=norm_first, layers=3)
    maps = model.attention(windows(2))
    n_rows = 6 if form == "dense" else GRID[0]
    assert maps.shape == (2, 3, 4, n_rows, 6)
    assert (maps >= 0).all()
    assert torch.allclose(maps.sum(-1), torch.ones(2, 3, 4, n_rows))
    assert all(not layer._forward_hooks for layer in model.attending())


def test_a_map_is_what_the_slices_read_by() -> None:
    model, x = transformer(decoding="parallel").double(), windows(2).double()
    assert isinstance(model, SliceTransformer)
    across = model.attending()[0]
    with seen_by(across.out) as read:
        maps = model.attention(x)
    value = across.keys_values(model.encode(x))[1]
    assert torch.allclose((maps[:, 0] @ value).transpose(1, 2).flatten(2), read[0])


def test_a_slice_generated_attends_as_in_one_pass() -> None:
    model, x = autoregressive(), windows(2).double()
    generated, maps = model.volume(x), []
    last = model.attending()[-1]
    hook = last.register_forward_hook(lambda own, given, _: maps.append(own.weights(*given)))
    model.teacher_forced(x, generated)
    hook.remove()
    assert torch.allclose(model.attention(x)[:, -1], maps[0], rtol=0, atol=1e-12)


# ---------------------------------------------------------------- its layers are torch's own


def load_attention(own: Attention, torchs: nn.MultiheadAttention) -> None:
    weight = torch.cat([own.query.weight, own.key_value.weight])
    bias = torch.cat([own.query.bias, own.key_value.bias])
    torchs.load_state_dict(
        {
            "in_proj_weight": weight,
            "in_proj_bias": bias,
            **{f"out_proj.{name}": p for name, p in own.out.state_dict().items()},
        }
    )


def load_layer(own: nn.Module, torchs: nn.Module) -> None:
    """Give a layer of torch's the weights of ours."""
    pairs = (
        [("own", "self_attn"), ("across", "multihead_attn")]
        if isinstance(own, DecoderLayer)
        else [("attention", "self_attn")]
    )
    for ours, theirs in pairs:
        load_attention(getattr(own, ours), getattr(torchs, theirs))
    first, _, _, second = own.feedforward.children()  # type: ignore[union-attr]
    torchs.linear1.load_state_dict(first.state_dict())  # type: ignore[union-attr]
    torchs.linear2.load_state_dict(second.state_dict())  # type: ignore[union-attr]
    for i, residual in enumerate(own.residuals, 1):  # type: ignore[arg-type]
        getattr(torchs, f"norm{i}").load_state_dict(residual.norm.state_dict())


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_its_layers_are_those_of_torchs_transformer(norm_first: bool, causal: bool) -> None:
    torch.manual_seed(0)
    spec = LayerSpec(width=16, heads=4, feedforward=24, dropout=0.0, norm_first=norm_first)
    encoder, decoder = Encoder(spec, 2).double(), Decoder(spec, 2).double()
    sizes, options = (16, 4, 24, 0.0), {"batch_first": True, "norm_first": norm_first}
    encode = nn.TransformerEncoderLayer(*sizes, **options)  # type: ignore[arg-type]
    decode = nn.TransformerDecoderLayer(*sizes, **options)  # type: ignore[arg-type]
    last = nn.LayerNorm(16)
    theirs = nn.TransformerEncoder(encode, 2, last, enable_nested_tensor=False).double()
    theirs_too = nn.TransformerDecoder(decode, 2, last).double()
    for ours, torchs in ((encoder, theirs), (decoder, theirs_too)):
        for one, other in zip(ours.each(), torchs.layers, strict=True):
            load_layer(one, other)
    source, tokens = normal(3, 6, 16).double(), normal(3, 5, 16, seed=2).double()
    mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    expected = theirs_too(tokens, theirs(source), tgt_mask=mask if causal else None)
    given = decoder(tokens, decoder.begin(encoder(source)), causal=causal)
    assert torch.allclose(given, expected, rtol=0, atol=1e-12)


def test_sinusoids_are_the_papers() -> None:
    table = sinusoids(7, 6)
    for place in range(7):
        for i in range(3):
            angle = place / 10000 ** (2 * i / 6)
            pair = torch.tensor([np.sin(angle), np.cos(angle)], dtype=torch.float32)
            assert torch.allclose(table[place, 2 * i : 2 * i + 2], pair, atol=1e-6)
    assert sinusoids(4, 5).shape == (4, 5)


def test_only_learned_positions_are_learned() -> None:
    assert [name for name, _ in Positions("learned", 3, 4).named_parameters()] == ["table"]
    fixed = Positions("sinusoidal", 3, 4)
    assert list(fixed.parameters()) == []
    assert torch.equal(fixed(torch.zeros(1, 1, 4), first=2)[0, 0], fixed.table[2])


# ------------------------------------------------------------------------------ what it refuses


@pytest.mark.parametrize("rate", [125.0, 1000.0])
@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_the_shortest_window_is_long_enough_and_no_longer(rate: float, embedding: str) -> None:
    config = ChannelTransformerConfig.model_validate({"embedding": embedding})
    shape = Shape(6, config.shortest(rate), 1, rate)
    assert torch.isfinite(config.embed(shape)(windows(n_times=shape.n_times))).all()
    with pytest.warns(UserWarning, match="zero-element"):
        config.embed(replace(shape, n_times=shape.n_times - 1))


@pytest.mark.parametrize(
    "values",
    [{"width": 60}, {"heads": 0}, {"layers": 0}, {"dropout": 1.0}, {"decoding": "serial"}],
)
def test_a_senseless_setting_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ChannelTransformerConfig.model_validate(values)


def test_heads_that_do_not_share_the_width_are_told() -> None:
    with pytest.raises(ValidationError, match=r"The width, 60, cannot be shared by 8 heads"):
        ChannelTransformerConfig(width=60)


def test_each_form_is_its_own() -> None:
    forms = [type(transformer(decoding=form)) for form in FORMS]
    assert forms == [ParallelTransformer, AutoregressiveTransformer, DenseTransformer]
