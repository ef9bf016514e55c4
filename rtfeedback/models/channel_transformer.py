"""A transformer from the EEG's channels to the slices of a volume."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from rtfeedback.models.architecture import Architecture, Shape, volume_of
from rtfeedback.models.cnn import Convolution
from rtfeedback.models.fc import Positive, Share
from rtfeedback.models.layers.channel_embedding import ChannelEmbedding
from rtfeedback.models.layers.positions import Positions
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.models.layers.transformer_layers import Attention, Decoder, Encoder, LayerSpec
from rtfeedback.models.network import Loss
from rtfeedback.models.volume import VolumeNetwork, VolumeSpec


class ChannelTransformerConfig(Architecture):
    """A transformer on the samples of the last seconds; defaults are the paper's."""

    of_volumes: ClassVar[bool] = True
    name: Literal["channel-transformer"] = "channel-transformer"
    chain: str = "samples"
    length: Annotated[float, Field(gt=0)] = 30.0
    """Seconds of samples in a window: what BOLD can still show."""
    pool_to: Annotated[float, Field(gt=0)] = 250.0
    """Hertz to which neighbouring samples are averaged first, as near as a whole number of
    them comes. Where the chain is as slow already, samples are taken as they are."""
    embedding: Literal["linear", "convolutional"] = "linear"
    """What makes a token of a channel: its samples weighted, as in the paper, or filtered
    in time first, which shows how strong a rhythm is whatever its phase."""
    convolution: Convolution = Convolution(filters=16)
    """The filters, where the embedding is convolutional."""
    decoding: Literal["parallel", "autoregressive", "dense"] = "parallel"
    """How a volume is made: all slices at once, each asked for by a query; slice after
    slice, each from those that were predicted before it; or without slices, by dense
    layers on all channels."""
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    """What tells channels apart, and slices."""
    width: Positive = 64
    """Values of a token."""
    heads: Positive = 8
    """Attentions side by side; they share the width."""
    layers: Annotated[int, Field(gt=0, le=24)] = 6
    """Of the encoder, and of the decoder of slices."""
    feedforward: Positive = 512
    """Values between the two maps that end a layer."""
    hidden: Positive = 128
    """Values between the channels and the voxels, where the decoding is dense."""
    dropout: Share = 0.5
    """Share of activations, and of attention, dropped in training."""
    norm_first: bool = False
    """Normalise before each branch of a layer, not after the sum: trains more steadily."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(
                f"The width, {self.width}, cannot be shared by {self.heads} heads; "
                "make it a multiple of them"
            )
        return self

    @property
    def layer(self) -> LayerSpec:
        """What all layers have in common."""
        return LayerSpec(
            self.width, self.heads, self.feedforward, self.dropout, self.norm_first
        )

    def pooled(self, rate: float) -> int:
        """Return how many samples are averaged to one, at a rate in hertz."""
        return max(1, round(rate / self.pool_to))

    def shortest(self, rate: float) -> int:
        """Return how many samples a window has to have."""
        pooled = self.pooled(rate)
        if self.embedding == "linear":
            return pooled
        return pooled * self.convolution.span(rate / pooled)

    def embed(self, shape: Shape) -> ChannelEmbedding:
        """Return what makes tokens of channels, untrained."""
        return ChannelEmbedding(
            self.width,
            n_channels=shape.n_channels,
            n_bands=shape.n_bands,
            n_times=shape.n_times,
            rate=shape.rate,
            pool=self.pooled(shape.rate),
            convolution=self.convolution if self.embedding == "convolutional" else None,
        )

    def build(self, shape: Shape) -> ChannelTransformer:
        """Return the model with untrained weights."""
        forms = {
            "parallel": ParallelTransformer,
            "autoregressive": AutoregressiveTransformer,
            "dense": DenseTransformer,
        }
        return forms[self.decoding](self, shape, volume_of(shape, self.name))


class ChannelTransformer(VolumeNetwork):
    """Channels are the tokens: each embedded alike, told apart by where it stands.

    Attention finds which channels go together; what becomes of them is each form's own.
    With the paper's 34 channels, 7500 points and grid of 53 x 63 x 52, all of it predicted,
    and the defaults: 1 793 356 parameters parallel, 1 999 756 autoregressive,
    23 654 908 dense.

    What differs from the paper: channels are scaled by the training part's mean and sd, not
    by each recording's range; of a volume the mask's voxels are predicted, each in its own
    sd; and no prediction is ever told a true slice. The paper's score was: each slice came
    from the true ones before it, of the very scan that was to be predicted (see
    `AutoregressiveTransformer.teacher_forced`). To decode in parallel is not the paper's.

    References
    ----------
    Bricman & Borst 2021, EEG2fMRI: Cross-Modal Synthesis for Functional Neuroimaging.
    Vaswani et al. 2017, arXiv:1706.03762: the transformer.
    Carion et al. 2020, arXiv:2005.12872: learned queries, decoded in parallel.
    """

    def __init__(
        self, config: ChannelTransformerConfig, shape: Shape, volume: VolumeSpec
    ) -> None:
        super().__init__(volume, shape.n_targets)
        self.config = config
        self.scaler = FeatureScaler(shape.n_features, shape.hold)
        self.embed = config.embed(shape)
        self.positions = Positions(config.positions, shape.n_channels, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = Encoder(config.layer, config.layers)

    def encode(self, x: Tensor) -> Tensor:
        """Return channels that know of one another, (n, n_channels, width), of windows."""
        tokens = self.embed(self.scaler(x))
        channels: Tensor = self.encoder(self.dropout(self.positions(tokens)))
        return channels

    def attention(self, x: Tensor) -> Tensor:
        """Return how much each slice attends to each channel, for windows.

        In the dense form, how much each channel does. The last axis sums to 1.

        Returns
        -------
        Tensor, shape (n, layers, heads, n_slices or n_channels, n_channels)
        """
        maps: list[Tensor] = []

        def look(layer: Attention, given: tuple[Tensor, Tensor], _: Tensor) -> None:
            maps.append(layer.weights(*given))

        attending = self.attending()
        hooks = [layer.register_forward_hook(look) for layer in attending]
        try:
            self.volume(x)
        finally:
            for hook in hooks:
                hook.remove()
        # A layer was asked once, or once a slice.
        each = [torch.cat(maps[i :: len(attending)], -2) for i in range(len(attending))]
        return torch.stack(each, 1)

    def attending(self) -> list[Attention]:
        """Return what attends to channels, in the layers' order."""
        return [layer.attention for layer in self.encoder.each()]


class DenseTransformer(ChannelTransformer):
    """All channels' tokens side by side, and dense layers to the voxels.

    The encoder-only network of the paper's code, whose layers may have been wider. What
    stands between its two dense layers is not known: an ELU here, as units that see all
    tokens at once soon die of a ReLU.
    """

    def __init__(
        self, config: ChannelTransformerConfig, shape: Shape, volume: VolumeSpec
    ) -> None:
        super().__init__(config, shape, volume)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(shape.n_channels * config.width, config.hidden),
            nn.ELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, volume.n_voxels),
        )

    def volume(self, x: Tensor) -> Tensor:
        """Predict voxels' z, shape (n, n_voxels), from windows (n, n_features, n_times)."""
        z: Tensor = self.head(self.encode(x))
        return z


class SliceTransformer(ChannelTransformer):
    """Slices along the grid's first axis are tokens of a second sequence.

    Attributes
    ----------
    n_slices : int
    """

    def __init__(
        self, config: ChannelTransformerConfig, shape: Shape, volume: VolumeSpec
    ) -> None:
        super().__init__(config, shape, volume)
        self.n_slices, height, depth = volume.grid
        self.decoder = Decoder(config.layer, config.layers)
        self.to_slice = nn.Linear(config.width, height * depth)

    def attending(self) -> list[Attention]:
        """Return what attends to channels, in the layers' order."""
        return [layer.across for layer in self.decoder.each()]

    def voxels_of(self, slices: Tensor) -> Tensor:
        """Return the mask's voxels (n, n_voxels) of slices (n, n_slices, slice's voxels)."""
        return self.of_grid(slices.reshape(-1, *self.spec.grid))

    def slices_of(self, z: Tensor) -> Tensor:
        """Return slices (n, n_slices, slice's voxels) of the mask's voxels, 0 elsewhere."""
        return self.on_grid(z).flatten(2)


class ParallelTransformer(SliceTransformer):
    """A learned query for each slice, all of them answered at once.

    Queries begin as the slices' positions. They attend to one another without a mask, so
    that neighbours can agree, which is what the paper's slices look back for.
    """

    def __init__(
        self, config: ChannelTransformerConfig, shape: Shape, volume: VolumeSpec
    ) -> None:
        super().__init__(config, shape, volume)
        places = Positions(config.positions, self.n_slices, config.width).table
        self.queries = nn.Parameter(places.detach().clone())

    def volume(self, x: Tensor) -> Tensor:
        """Predict voxels' z, shape (n, n_voxels), from windows (n, n_features, n_times)."""
        seen = self.decoder.begin(self.encode(x))
        queries = self.dropout(self.queries.expand(len(x), -1, -1))
        return self.voxels_of(self.to_slice(self.decoder(queries, seen)))


class AutoregressiveTransformer(SliceTransformer):
    """A slice after the other: the paper's form.

    Trained on the true slices before each (teacher forcing), it predicts from its own: what
    is published or judged was told nothing of the volume. The training's loss says little
    of its skill, therefore; the validation part's does.
    """

    def __init__(
        self, config: ChannelTransformerConfig, shape: Shape, volume: VolumeSpec
    ) -> None:
        super().__init__(config, shape, volume)
        self.of_slice = nn.Linear(self.to_slice.out_features, config.width)
        self.start = nn.Parameter(0.1 * torch.randn(config.width))
        self.places = Positions(config.positions, self.n_slices, config.width)

    def volume(self, x: Tensor) -> Tensor:
        """Predict voxels' z, shape (n, n_voxels), from windows (n, n_features, n_times)."""
        seen = self.decoder.begin(self.encode(x))
        inside = self.slices_of(x.new_ones(1, self.spec.n_voxels))
        token, slices = self.start.expand(len(x), 1, -1), []
        for i in range(self.n_slices):
            token = self.decoder(self.dropout(self.places(token, first=i)), seen)
            # Outside the mask nothing is learnt, and true slices are 0.
            slices.append(self.to_slice(token) * inside[:, i : i + 1])
            token = self.of_slice(slices[-1])
        return self.voxels_of(torch.cat(slices, 1))

    def teacher_forced(self, x: Tensor, z: Tensor) -> Tensor:
        """Make each slice of volumes out of the true ones before it: this is no prediction.

        It is what training brings near the truth, and what the paper's score is of. It needs
        the volume that it is about: a report shows it under this name or not at all.

        Parameters
        ----------
        x : Tensor, shape (n, n_features, n_times)
        z : Tensor, shape (n, n_voxels)
            What was measured.
        """
        before = self.of_slice(self.slices_of(z)[:, :-1])
        tokens = torch.cat([self.start.expand(len(x), 1, -1), before], 1)
        tokens = self.dropout(self.places(tokens))
        seen = self.decoder.begin(self.encode(x))
        return self.voxels_of(self.to_slice(self.decoder(tokens, seen, causal=True)))

    def loss(self, x: Tensor, y: Tensor, measure: Loss) -> Tensor:
        """Return what a training step makes smaller, true slices given."""
        return measure(self.teacher_forced(x, y), y)
