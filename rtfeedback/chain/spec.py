"""What a chain is made of: settings, the channels and the rate; no signal passes here."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from rtfeedback.chain.limits import ArtefactConfig, ArtefactLimits, EOGRegression
from rtfeedback.channels import canonical
from rtfeedback.config import Config

Positive = Annotated[float, Field(gt=0)]


class BandPowerConfig(Config):
    """Log band power of the newest seconds, several times a second."""

    rate: Positive = 4.0
    """Tokens per second."""
    length: Positive = 1.0
    """Seconds of EEG that a token sums up, under a Hann window."""
    bands: tuple[tuple[Positive, Positive], ...] = (
        (2, 4), (4, 8), (8, 10), (10, 13), (13, 18), (18, 24), (24, 30), (30, 38),
    )  # fmt: skip
    """Edges in hertz, lower and upper; the upper edge is not in the band."""

    @model_validator(mode="after")
    def _bands_rise(self) -> BandPowerConfig:
        if not self.bands or any(low >= high for low, high in self.bands):
            raise ValueError("Each band is [lower, upper] in hertz, and there is at least one")
        return self

    def n_fft(self, rate: Fraction) -> int:
        """Return the number of samples under a token at a rate in hertz."""
        return round(self.length * float(rate))

    def bins(self, rate: Fraction) -> list[tuple[int, int]]:
        """Return each band's first bin of a token's transform, and the first above it."""
        per_hertz = self.n_fft(rate) / rate  # exact: in floats 8 Hz may fall below bin 24
        edges = [[ceil(Fraction(edge) * per_hertz) for edge in band] for band in self.bands]
        return [(low, high) for low, high in edges]


class ChainConfig(Config):
    """The settings of a chain, as a recipe states them."""

    reference: str = "average"
    """`average` over the chain's EEG channels, `recorded` (leave as it is), or the
    name of one channel of the stream."""
    band: tuple[Positive, Positive] | None = (1.0, 40.0)
    """Pass band in hertz: Butterworth, 2nd-order high-pass and 4th-order low-pass; `false`:
    all passes, electrodes' offsets as well."""
    notch: tuple[Positive, ...] = (50.0,)
    """Mains frequencies in hertz to take out, each with a quality factor of 30."""
    max_rate: Positive = 125.0
    """The output rate is the highest one not above this that divides the stream's
    rate by a whole number: 250 Hz gives 125 Hz, 160 Hz gives 80 Hz. The filter before it
    passes frequencies up to some 0.35 of the output rate, and none above half of it."""
    band_power: BandPowerConfig | None = None
    """With this section the chain ends in band-power tokens, without it in samples."""
    eog: tuple[str, ...] = ()
    """EOG channels, or frontal EEG ones, to regress out of the others; these are then no
    channels of the model. None: blinks are masked, as far as they are artefacts."""
    artefacts: ArtefactConfig | None = ArtefactConfig()
    """What is masked as an artefact; `false`: nothing."""

    @field_validator("artefacts", "band", mode="before")
    @classmethod
    def _none_in_toml(cls, value: object) -> object:
        return None if value is False else value

    @field_validator("eog")
    @classmethod
    def _canonical(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical(name) for name in names)

    @model_validator(mode="after")
    def _band_rises(self) -> ChainConfig:
        if self.band and self.band[0] >= self.band[1]:
            raise ValueError("The band is [lower, upper] in hertz")
        return self

    @model_validator(mode="after")
    def _judges_what_is_filtered(self) -> ChainConfig:
        if self.band is None and (self.artefacts or self.eog):
            raise ValueError(
                "Artefacts and eyes are found in a filtered signal: with band = false, set"
                " artefacts = false and eog = []"
            )
        return self


class ChainSpec(Config):
    """A chain for one kind of stream: its settings, channels and rate.

    It lies in the store and in the checkpoint, and nowhere else.
    """

    config: ChainConfig
    channels: tuple[str, ...] = Field(min_length=1)
    """EEG channels by name, in the model's order."""
    sfreq: Positive
    """Rate of the stream in hertz."""
    recorded_reference: str = ""
    """Reference of the recording, where it was stated."""
    eog: EOGRegression | None = None
    """What the EOG explains of each channel, once it was fitted."""
    artefacts: ArtefactLimits | None = None
    """What is an artefact in each channel, once it was fitted."""

    @model_validator(mode="after")
    def _names_are_distinct(self) -> ChainSpec:
        eog = self.eog.channels if self.eog else self.config.eog
        names = [*self.channels, *eog]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(
                f"{', '.join(twice)}: named twice, or as channel of the model and as EOG"
            )
        if self.config.reference in eog:
            raise ValueError(f"{self.config.reference} cannot be both reference and EOG")
        return self

    @model_validator(mode="after")
    def _reference_leaves_a_signal(self) -> ChainSpec:
        only, reference = self.channels[0], self.config.reference
        if len(self.channels) > 1:
            return self
        if reference == "average" or canonical(reference) == canonical(only):
            raise ValueError(
                f"{only} is the only channel, and less its reference ({reference}) nothing is"
                " left of it: set reference to 'recorded' or to another channel of the stream"
            )
        return self

    @model_validator(mode="after")
    def _fits_have_its_channels(self) -> ChainSpec:
        n = len(self.channels)
        if self.artefacts and self.artefacts.n_channels() != n:
            raise ValueError(f"There are not artefact limits for {n} channels")
        if self.eog and any(len(row) != n for row in self.eog.coefficients):
            raise ValueError(f"There are not EOG coefficients for {n} channels")
        return self

    @model_validator(mode="after")
    def _fits_the_rate(self) -> ChainSpec:
        nyquist = self.sfreq / 2
        edges = (*self.config.notch, *(self.config.band or ())[1:])
        too_high = [f for f in edges if f >= nyquist]
        if too_high:
            raise ValueError(
                f"{too_high[0]:g} Hz cannot be filtered in a stream of {self.sfreq:g} Hz:"
                f" choose band and notch below {nyquist:g} Hz"
            )
        if self.config.band_power:
            self._check_tokens(self.config.band_power, float(self.sample_rate))
        return self

    def _check_tokens(self, power: BandPowerConfig, rate: float) -> None:
        if max(high for _, high in power.bands) > rate / 2:
            raise ValueError(
                f"A band above {rate / 2:g} Hz does not exist after decimation to {rate:g} Hz"
            )
        if power.rate > rate:
            raise ValueError(f"{power.rate:g} tokens a second are more than {rate:g} samples")
        bins = zip(power.bands, power.bins(self.sample_rate), strict=True)
        for (low, high), (first, above) in bins:
            if first == above:
                raise ValueError(
                    f"No frequency of a token of {power.length:g} s lies in the band from"
                    f" {low:g} to {high:g} Hz: widen it, or lengthen the tokens"
                )

    @property
    def factor(self) -> int:
        """Whole number of stream samples per sample after decimation."""
        return max(1, ceil(self.sfreq / self.config.max_rate - 1e-9))

    @property
    def sample_rate(self) -> Fraction:
        """Rate after decimation, in hertz, exactly."""
        return Fraction(self.sfreq).limit_denominator(10**6) / self.factor

    @property
    def rate(self) -> float:
        """Rate of what comes out, samples or tokens, in hertz."""
        power = self.config.band_power
        return power.rate if power else float(self.sample_rate)

    @property
    def hold(self) -> int:
        """Outputs before a masked one that a model leaves out with it."""
        config = self.config.artefacts
        return round(config.hold * self.rate) if config and self.artefacts else 0

    @property
    def lends_reference(self) -> bool:
        """Whether the reference is a channel of the stream that is none of the model's."""
        return self.config.reference not in ("average", "recorded", *self.channels)

    @property
    def n_features(self) -> int:
        """Rows of a window: channels, or channels x bands."""
        return len(self.channels) * self.n_bands

    @property
    def n_bands(self) -> int:
        """Rows of each channel, side by side: 1 where windows are of samples."""
        power = self.config.band_power
        return len(power.bands) if power else 1
