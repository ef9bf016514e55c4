"""What an architecture is told of its windows and targets, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from rtfeedback.config import Config
from rtfeedback.errors import ConfigError
from rtfeedback.models.volume import VolumeSpec


@dataclass(frozen=True, slots=True)
class Shape:
    """What goes into a model and what comes out.

    Attributes
    ----------
    n_features, n_times, n_targets : int
    rate : float
        Of a window's samples, in hertz.
    hold : int
        Samples before a masked one that are left out with it (see `FeatureScaler`).
    n_bands : int
        Features of each channel, side by side; 1 where windows are of samples.
    volume : VolumeSpec or None
        What whole volumes are, for a model of them.
    """

    n_features: int
    n_times: int
    n_targets: int
    rate: float
    hold: int = 0
    n_bands: int = 1
    volume: VolumeSpec | None = None

    @property
    def n_channels(self) -> int:
        """How many channels the features are of."""
        return self.n_features // self.n_bands


def volume_of(shape: Shape, name: str) -> VolumeSpec:
    """Return what the volumes are that a model predicts.

    Raises
    ------
    ConfigError
        If there are none.
    """
    if shape.volume is None:
        raise ConfigError(
            f"'{name}' predicts whole volumes",
            found="The targets are regions alone",
            do="Prepare the store with [volumes], or name a model of regions",
        )
    return shape.volume


class Architecture(Config):
    """The settings of a model; each architecture's own come on top."""

    chain: str
    """Which of the store's chains feeds it."""
    length: Annotated[float, Field(gt=0)]
    """Seconds of samples or tokens in a window."""
    lead: Annotated[float, Field(ge=0)] = 0.0
    """Seconds from the newest sample or token to the time that is predicted."""

    def shortest(self, rate: float) -> int:
        """Return how many samples a window has to have, at a rate in hertz."""
        return 1

    of_volumes: ClassVar[bool] = False
    """Whether it predicts whole volumes, whose regions its targets are."""

    @property
    def bound_to_tr(self) -> float | None:
        """The TR in seconds that it is for alone; None where any will do."""
        return None

    @property
    def of_task(self) -> bool:
        """Whether targets are the task's conditions, and not regions."""
        return False

    def build(self, shape: Shape) -> nn.Module:
        """Return the model with untrained weights.

        Raises
        ------
        ConfigError
            If the model does not go with the shape.
        """
        raise NotImplementedError
