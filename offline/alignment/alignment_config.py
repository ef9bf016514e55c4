"""How the volumes of a BOLD run are looked for in its EEG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from rtfeedback.config import Config
from rtfeedback.online.trclock import VOLUME_LABELS


class Anchor(Config):
    """A marker of the protocol that says when the scanner began."""

    label: str
    """Of the marker; the first of that name counts."""
    at: float
    """Seconds after the onset of the BOLD's first volume at which it came."""


class AlignmentConfig(Config):
    """How the volumes of the BOLD are found in the EEG."""

    volume_labels: tuple[str, ...] = VOLUME_LABELS
    """Markers in the EEG that begin a volume, or a slice."""
    source: Literal["auto", "markers", "events", "anchor", "stated"] = "auto"
    """What the onsets are taken from: the EEG's markers, the events.tsv beside it, an
    anchor or the onset stated for the run, and by that alone; `auto` takes the first of
    these that is there, and lets anchor and stated onset number the markers."""
    first_marker: int | None = None
    """The volume of the BOLD, from 0, that the first marker begins: negative where it began
    so many dummy volumes that the BOLD does not hold. Without it, an anchor and a stated
    onset, there have to be as many marked volumes as the BOLD has."""
    slices_per_volume: Annotated[int, Field(ge=2)] | None = None
    """Markers per volume, where slices are marked. Without it their times tell, where they
    are six or more a volume or less than 0.25 s apart."""
    anchor: tuple[Anchor, ...] = ()
    """One or several, such as {label = "S 99", at = 2.0}. The one that puts the scanner's
    start earliest counts: a marker that was lost would put it later."""
    discard: Annotated[int, Field(ge=0)] = 0
    """Volumes at the BOLD's start that are not used: they are in the file, and were scanned
    before the signal was steady, or before the protocol began."""
    offset: float = 0.0
    """Seconds added to every onset, for markers that come early (or, below 0, late). The
    daemon adds none to its own."""

    @field_validator("anchor", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, dict | Anchor) else value


@dataclass(frozen=True, slots=True)
class BoldRun:
    """What is looked for.

    Attributes
    ----------
    name : str
        The run's, for errors.
    tr : float
        As the BOLD's header states it, in seconds.
    n_volumes : int
    duration : float
        Of the EEG, in seconds.
    config : AlignmentConfig
    """

    name: str
    tr: float
    n_volumes: int
    duration: float
    config: AlignmentConfig
