"""What tells artefacts from EEG: the recipe, and the numbers that the desk fits by it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rtfeedback.config import Config

BLOCK = 0.25  # s: what is typical of a channel is fitted, and flatness judged, in such blocks
STEP = 0.005  # s over which a step is taken: an electrode pops faster, EEG moves slower
MUSCLE = (30.0, 0.1)  # Hz above which muscle outweighs EEG; s of the running power there

Times = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Volts = Annotated[float, Field(ge=0)]


class ArtefactConfig(Config):
    """Which EEG is an artefact, in multiples of what a channel typically does.

    Typical is the median over the 0.25 s blocks of the training runs: up to half of them
    may hold artefacts and the limits stay what they are. The defaults were chosen on real
    EEG by leaving out one run in turn (`bench/artefacts.py` judges them on others).
    """

    amplitude: Times = 3.0
    """Limit of the filtered signal: times the typical largest value of a block."""
    field: Times = 2.1
    """Limit of the field over all channels, beyond which all are masked: times the typical
    largest one of a block. Movements exceed it, blinks hardly."""
    step: Times = 2.8
    """Limit of a change within 5 ms, before the low-pass: times the typical largest one
    of a block. Electrode pops exceed it."""
    muscle: Times = 2.0
    """Limit of the running rms (0.1 s) above 30 Hz: times the typical largest one of a
    block."""
    flat: Times = 0.05
    """A block in which a channel stays within this times its typical range is flat. One
    that does not change at all always is."""
    hold: Annotated[float, Field(gt=0, le=5)] = 0.35
    """Seconds before and after an artefact that are masked with it: it is known for one
    only once it is large, and filters ring. A band-power token is masked if any of its
    samples is an artefact, and for so long before."""
    share: Share = 0.5
    """Largest masked share of a window, over all channels, weighted by the haemodynamic
    response; a window above it is invalid. 0.5: at least half of what it says is EEG."""
    channel_share: Share = 0.95
    """The same for any single channel: one that is dead makes the window invalid, as the
    model's skill was measured with it. 1: it costs no more than itself."""
    spare: Share = 0.2
    """A channel that was masked for more than this share of the training is spared
    `channel_share`: the model has learnt to do without it. So are the frontal channels of
    someone who blinks."""


class ArtefactLimits(Config):
    """Limits per channel, in the order of the chain's channels, in volts."""

    amplitude: tuple[Volts, ...]
    """Of the filtered signal."""
    field: Annotated[float, Field(ge=0)]
    """Of the field: the rms over channels of the filtered signal by its limit, each counted
    up to 1. It has no unit."""
    step: tuple[Volts, ...]
    """Of a change within 5 ms."""
    muscle: tuple[Volts, ...]
    """Of the running rms above 30 Hz."""
    flat: tuple[Volts, ...]
    """Of a block's range, as recorded; a block at or below it is flat."""
    typical: tuple[Volts, ...]
    """Median rms of the filtered signal over the blocks: what the EEG's size should be."""
    usual: tuple[Share, ...] = ()
    """How much of each channel was masked in the training, in time; empty: nothing was."""
    fitted_on: tuple[str, ...]
    """Names of the runs that all this was fitted on."""

    def n_channels(self) -> int:
        """Return how many channels there are limits for."""
        return len(self.amplitude)

    @model_validator(mode="after")
    def _goes_channel_by_channel(self) -> ArtefactLimits:
        parts = [self.amplitude, self.step, self.muscle, self.flat, self.typical]
        parts += [self.usual] if self.usual else []
        if len({len(part) for part in parts}) > 1:
            raise ValueError("The limits differ in their number of channels")
        return self


class EOGRegression(Config):
    """How much of each EOG channel is in each EEG channel."""

    channels: tuple[str, ...] = Field(min_length=1)
    """EOG channels, or frontal EEG ones, by name; none is a channel of the model."""
    referenced: tuple[bool, ...]
    """For each, whether it is EEG and re-referenced as such; EOG is taken as recorded."""
    coefficients: tuple[tuple[float, ...], ...]
    """For each, its share in every channel of the chain, volts per volt."""
    fitted_on: tuple[str, ...]
    """Names of the runs that the coefficients were fitted on."""

    @model_validator(mode="after")
    def _goes_channel_by_channel(self) -> EOGRegression:
        n = len(self.channels)
        if len(self.referenced) != n or len(self.coefficients) != n:
            raise ValueError("The EOG coefficients do not go with the EOG channels")
        if len({len(row) for row in self.coefficients}) > 1:
            raise ValueError("The EOG coefficients differ in their number of channels")
        return self
