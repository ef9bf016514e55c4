"""What is done to training windows at random, so that a network learns less by heart."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from rtfeedback.config import Config

Size = Annotated[float, Field(ge=0)]


class AugmentConfig(Config):
    """How much windows are changed; targets never are. All of it is off by default.

    Bricman and Borst, *EEG2fMRI*, shift by an sd of 0.2 and add noise of 0.001, of EEG that
    they scaled to between 0 and 1 per subject and channel: of some ten sd from the least to
    the most, that is about `shift = 2.0` and `noise = 0.01` here.
    """

    shift: Size = 0.0
    """Move each feature of a window up or down as a whole: sd, in sd of the feature."""
    noise: Size = 0.0
    """Add white noise: sd, in sd of the feature."""
    scale: Size = 0.0
    """Make the EEG of a window larger or smaller, all channels alike: sd of the natural
    logarithm of the factor, so 0.1 is some 10 %. Log band power moves as the EEG's would."""
    channel_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the channels that are lost from each window, with all their bands, as one
    that is masked throughout is in the lab."""

    @property
    def does_anything(self) -> bool:
        """Whether windows are changed at all."""
        return any((self.shift, self.noise, self.scale, self.channel_dropout))


class Augment:
    """Changes windows where they lie, on their device; what is masked (NaN) stays so.

    Parameters
    ----------
    config : AugmentConfig
    sd : Tensor, shape (n_features, 1)
        Of each feature over the training part; on the windows' device.
    n_bands : int
        Features that each channel has, side by side; 1 where windows are of samples.
    log_power : bool
        Whether features are log10 of power, so that a factor is a sum.
    seed : int
        Same seed and device, same changes.

    Attributes
    ----------
    random : torch.Generator
    """

    def __init__(
        self, config: AugmentConfig, sd: Tensor, *, n_bands: int, log_power: bool, seed: int
    ) -> None:
        self._config, self._sd, self._n_bands = config, sd, n_bands
        self._log_power = log_power
        self.random = torch.Generator(sd.device).manual_seed(seed)

    def __call__(self, x: Tensor) -> Tensor:
        """Change windows, shape (n, n_features, n_times), in place; return them."""
        n, n_features, _ = x.shape
        if self._config.scale:
            self._resize(x, torch.exp(self._config.scale * self._normal(x, n, 1, 1)))
        if self._config.shift:
            x += self._config.shift * self._sd * self._normal(x, n, n_features, 1)
        if self._config.noise:
            noise = self._normal(x, *x.shape)
            x += noise.mul_(self._config.noise * self._sd)
        if self._config.channel_dropout:
            lost = self._lost(n, n_features // self._n_bands)
            x.masked_fill_(lost.repeat_interleave(self._n_bands, dim=1), torch.nan)
        return x

    def _resize(self, x: Tensor, factor: Tensor) -> None:
        if self._log_power:  # which is of squares
            x += 2 * torch.log10(factor)
        else:
            x *= factor

    def _lost(self, n: int, n_channels: int) -> Tensor:
        """Return which channels of each window are lost, never all of them."""
        shape = (n, n_channels, 1)
        drawn = torch.rand(shape, generator=self.random, device=self._sd.device)
        lost = drawn < self._config.channel_dropout
        return lost & (drawn < drawn.amax(dim=1, keepdim=True))

    def _normal(self, x: Tensor, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.random, device=x.device)
