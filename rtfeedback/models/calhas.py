"""EEG spectra to whole fMRI volumes, by Calhas and Henriques."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from rtfeedback.errors import ConfigError
from rtfeedback.models.architecture import Architecture, Shape, volume_of
from rtfeedback.models.layers.fourier_features import (
    FourierKind,
    RandomFourierFeatures,
    fourier_features,
)
from rtfeedback.models.layers.latent_decoder import Style, StyleKind, decoder
from rtfeedback.models.layers.residual_encoder import Positive, ResidualEncoder, Stack
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.models.layers.spectra import Spectra, samples_of
from rtfeedback.models.layers.topographical_attention import TopographicalAttention, neglect
from rtfeedback.models.network import Loss
from rtfeedback.models.volume import VolumeNetwork, VolumeSpec

EEG = Stack(
    stated_for=(64, 134, 10),
    kernels=((7, 37, 2), (7, 7, 2)),
    strides=((3, 5, 1), (2, 2, 1)),
    pool=(2, 2, 1),
)
FMRI = Stack(
    stated_for=(64, 64, 30),
    kernels=((14, 6, 12), (6, 4, 6), (12, 47, 5)),
    strides=((2, 1, 1), (1, 1, 1), (1, 1, 1)),
    pool=(2, 2, 2),
)


class CalhasConfig(Architecture):
    """Spectra of the last TRs to the voxels of a volume."""

    of_volumes: ClassVar[bool] = True
    name: Literal["calhas"] = "calhas"
    chain: str = "samples"
    length: Annotated[float, Field(gt=0)] = 21.6
    """Seconds of samples in a window; it has to hold its columns."""
    tr: Annotated[float, Field(gt=0)] = 2.16
    """Seconds of EEG in a spectrum: the TR of the volumes."""
    columns: Positive = 10
    """Spectra, one of each of the last TRs."""
    bins: Positive = 134
    """Frequencies of a spectrum, at most, from 1 / TR hertz on in steps of as much."""
    highest: Annotated[float, Field(gt=0)] = 62.5
    """Hertz above which no bin is taken; the chain's band ends somewhere."""
    standardise: Literal["channels", "training"] = "channels"
    """What a bin's z is taken over: the channels at that time, as in the source, or the
    training part."""
    attention: bool = True
    """Whether channels are weighted by attention before they are encoded."""
    neglect: Annotated[float, Field(ge=0)] = 0.0
    """Weight in the loss of channels that no other attends to."""
    eeg: Stack = EEG
    """The encoder of the EEG: channels, bins, columns."""
    fmri: Stack = FMRI
    """The encoder of the fMRI, in training only: the grid."""
    latent: Positive = 343
    """Values of the code."""
    fourier: FourierKind = "random"
    """Fourier features of the code; `none`: a dense layer in their place."""
    style: StyleKind = "attention"
    """What the features are multiplied by: a linear map of the attention's weights, a
    learnt vector, or nothing."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of features dropped in training, and of the fMRI's code."""
    decoder: Literal["dense", "dct"] = "dense"
    """From features to each voxel at once, or to a volume of low resolution, laid on the
    grid by the discrete cosine transform."""
    resolution: tuple[Positive, Positive, Positive] = (7, 7, 7)
    """Of that volume."""
    agreement: Annotated[float, Field(ge=0)] = 1.0
    """Weight in the loss of 1 - cosine of the EEG's code and the fMRI's."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.style == "attention" and not self.attention:
            raise ValueError("without attention, style is 'prior' or 'none'")
        return self

    @property
    def bound_to_tr(self) -> float:
        """Seconds between volumes that the model was made for."""
        return self.tr

    def shortest(self, rate: float) -> int:
        """Return how many samples a window has to have."""
        return round((self.columns - 1) * self.tr * rate) + samples_of(self.tr, rate)

    def n_bins(self, rate: float) -> int:
        """Return how many frequencies a spectrum has, at a rate in hertz."""
        most = int(self.highest * self.tr + 1e-6)
        return min(self.bins, most, samples_of(self.tr, rate) // 2)

    def build(self, shape: Shape) -> Calhas:
        """Return the model with untrained weights.

        Raises
        ------
        ConfigError
            If the windows hold no samples or too few, or the volumes are too small.
        """
        volume = volume_of(shape, self.name)
        self._check_input(shape)
        self._check_resolution(volume)
        return Calhas(self, shape, volume)

    def _check_input(self, shape: Shape) -> None:
        if shape.n_bands > 1:
            raise ConfigError(
                "'calhas' makes its spectra itself, from samples",
                found=f"Chain '{self.chain}' ends in {shape.n_bands} bands of each channel",
                do="Feed it from a chain without band power",
            )
        if self.n_bins(shape.rate) < 1:
            raise ConfigError(
                "No frequency is left for 'calhas'",
                found=f"The first is {1 / self.tr:.3g} Hz, model.highest {self.highest:g} Hz",
                do="Raise model.highest",
            )
        if shape.n_features < 2 and self.standardise == "channels":
            raise ConfigError(
                "A single channel has no z over the channels",
                do="Set model.standardise to 'training'",
            )

    def _check_resolution(self, volume: VolumeSpec) -> None:
        if self.decoder != "dct":
            return
        if any(low > size for low, size in zip(self.resolution, volume.grid, strict=True)):
            raise ConfigError(
                "The volume of low resolution is larger than the grid",
                found=f"{list(self.resolution)} against {list(volume.grid)}",
                do="Lower model.resolution",
            )


class Calhas(VolumeNetwork):
    """Spectra, attention between channels, a residual encoder, Fourier features, a decoder.

    In training an encoder of the measured volume makes a code as well, and the two are
    brought to one direction: the loss is the recipe's (the paper's is MAE) plus 1 - cosine
    of each window's codes, as published; the package's code mixes the windows of a batch.

    At the paper's shapes, 64 channels at 250 Hz and 64 x 64 x 30 voxels every 2.16 s,
    44 741 047 parameters are trained, 575 255 of them of the fMRI's encoder. With what is
    not trained (random features, running statistics), the EEG's encoder has 489 503
    numbers, the path from EEG to volume 44 283 832, the fMRI's encoder 575 327: the
    package's own counts.

    Two things differ from the paper, since the whole project has them so. Each channel is
    scaled by its sd over the training part before its spectrum is taken. And a voxel's z is
    its own over the training part, where the package's is one for a whole subject, so that
    nearly all of its variance is anatomy, the same in each volume. The paper's EEG ends
    where the volume begins: with slices timed to the middle of a TR, `lead` is then half of
    one.

    References
    ----------
    Calhas & Henriques 2022, arXiv:2203.03481.
    """

    def __init__(self, config: CalhasConfig, shape: Shape, volume: VolumeSpec) -> None:
        super().__init__(volume, shape.n_targets)
        self.config = config
        channels, bins = shape.n_features, config.n_bins(shape.rate)
        self.scaler = FeatureScaler(channels, shape.hold)
        self.spectra = Spectra(
            channels,
            shape.n_times,
            rate=shape.rate,
            tr=config.tr,
            columns=config.columns,
            bins=bins,
            over=config.standardise,
        )
        self.attention: TopographicalAttention | None = None
        if config.attention:
            self.attention = TopographicalAttention(channels, bins * config.columns)
        seen = (channels, bins, config.columns)
        self.eeg_encoder = ResidualEncoder(config.eeg, seen, config.latent)
        self.features = fourier_features(config.fourier, config.latent)
        self.style = Style(config.style, config.latent, channels)
        self.dropout = nn.Dropout(config.dropout)
        low = config.resolution if config.decoder == "dct" else None
        self.decoder = decoder(config.latent, volume, low)
        self.fmri_encoder = ResidualEncoder(config.fmri, volume.grid, config.latent)

    def volume(self, x: Tensor) -> Tensor:
        """Predict voxels' z, shape (n, n_voxels), from windows (n, n_channels, n_times)."""
        return self.decode(*self.encode(x))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the EEG's codes (n, latent), and the attention's weights.

        These are of shape (n, n_channels, n_channels), or None without attention.
        """
        spectra, weights = self.spectra(self.scaler(x)), None
        if self.attention is not None:
            spectra, weights = self.attention(spectra)
        return self.eeg_encoder(spectra), weights

    def decode(self, code: Tensor, weights: Tensor | None) -> Tensor:
        """Return voxels' z, shape (n, n_voxels)."""
        features = self.dropout(self.style(self.features(code), weights))
        out: Tensor = self.decoder(features)
        return out if self.config.decoder == "dense" else self.of_grid(out)

    def loss(self, x: Tensor, y: Tensor, measure: Loss) -> Tensor:
        """Return the recipe's loss of the voxels, and how far the codes are apart."""
        code, weights = self.encode(x)
        loss = measure(self.decode(code, weights), y)
        if self.config.agreement:
            measured = self.dropout(self.fmri_encoder(self.on_grid(y)))
            apart = 1 - F.cosine_similarity(code, measured)
            loss = loss + self.config.agreement * apart.mean()
        if self.config.neglect and weights is not None:
            loss = loss + self.config.neglect * neglect(weights)
        return loss

    def constrain(self) -> None:
        """Keep the scale of the random features above zero."""
        if isinstance(self.features, RandomFourierFeatures):
            self.features.constrain()
