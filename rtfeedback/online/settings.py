"""A run's own settings; what a checkpoint states cannot be stated here again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from rtfeedback.checkpoint import CheckpointSpec, Environment
from rtfeedback.config import Config
from rtfeedback.errors import CheckpointError, ConfigError
from rtfeedback.online.timeline import GAP
from rtfeedback.online.trclock import VOLUME_LABELS

Label = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]+$")]


class SessionConfig(Config):
    """Who is in front of the amplifier, and where."""

    subject: Label = "01"
    """BIDS label of the subject, without `sub-`."""
    session: Label = "01"
    """BIDS label of the session, without `ses-`."""
    run: Label | None = None
    """BIDS label of the run; the next free number without."""
    environment: Environment | None = None
    """`scanner` or `outside`; without it the checkpoint's is assumed and flagged."""


class StreamConfig(Config):
    """How the streams are read."""

    wait: Annotated[float, Field(gt=0)] = 20.0
    """Seconds to wait for the streams at the start."""
    gap: Annotated[float, Field(gt=0)] = GAP
    """Seconds; a larger jump of the stamps is a gap and begins a segment."""
    stale: Annotated[float, Field(ge=0.2)] = 0.5
    """Seconds without a sample after which feedback is stale, at least; twice the usual
    interval between chunks where that is longer."""
    volume_labels: tuple[str, ...] = VOLUME_LABELS
    """Markers that begin a volume."""
    outlet: str = "rtfeedback"
    """Name of the LSL stream that offers the feedback as numbers, for LabRecorder; `""`:
    none."""


class VolumeConfig(Config):
    """Whether whole volumes are told, where the checkpoint predicts any."""

    publish: bool = False
    """Whether valid volumes go out on the topic `volume`, each after its feedback."""
    every: Annotated[int, Field(ge=1)] = 1
    """Of so many volumes one is published: those whose number it divides."""
    record: bool = False
    """Whether the session keeps the voxels, too; their hash is kept always."""

    @model_validator(mode="after")
    def _what_is_kept_is_published(self) -> Self:
        if self.record and not self.publish:
            raise ValueError("'record' keeps volumes that are published; set publish = true")
        return self


class RunConfig(Config):
    """The TOML of a run."""

    session: SessionConfig = SessionConfig()
    stream: StreamConfig = StreamConfig()
    volume: VolumeConfig = VolumeConfig()


SAME_TR = 1e-3  # share by which two TRs may differ and be the same


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line says of a run.

    Attributes
    ----------
    stream : str
        Name of the EEG stream.
    markers : str or None
        Name of the marker stream; without it volumes are counted on the stream's stamps.
    source : str or None
        What is read in place of LSL, for the record: an address, or a recording.
    tr, hop : float or None
        Seconds.
    endpoint : str
        Where to publish.
    duration : float or None
        Seconds after which the run ends by itself.
    accept_domain_shift : bool
        Whether to run in another environment than the training's.
    """

    stream: str
    out: Path
    markers: str | None = None
    tr: float | None = None
    hop: float | None = None
    endpoint: str = "tcp://127.0.0.1:5556"
    duration: float | None = None
    accept_domain_shift: bool = False
    source: str | None = None


def run_flags(spec: CheckpointSpec, config: RunConfig, options: RunOptions) -> tuple[str, ...]:
    """Return what every message of the run has to be flagged with.

    Raises
    ------
    CheckpointError
        If the run is in another environment than the training's and that is not accepted,
        or has another TR than the one that the model is bound to, or is to publish volumes
        of a model that has none.
    ConfigError
        As `check_pace`.
    """
    check_pace(spec, hop=options.hop, tr=options.tr)
    if config.volume.publish and spec.volume is None:
        raise CheckpointError(
            "[volume] publish asks for whole volumes",
            found=f"The checkpoint's '{spec.model.name}' predicts regions only",
            do="Leave it out, or train a model of volumes, such as 'volume-lowrank'",
        )
    if reason := other_tr(spec, options.tr or spec.tr):
        raise CheckpointError(
            "The run's TR is another than the model's",
            found=reason,
            do="Set the scanner, or --tr, to the model's TR, or train for this one",
        )
    here, flags = config.session.environment, []
    if here is None:
        flags.append("environment_assumed")
    elif here != spec.environment:
        if not options.accept_domain_shift:
            raise CheckpointError(
                f"The checkpoint was trained on EEG from '{spec.environment}', and this run"
                f" is '{here}': EEG differs between the two, and so may the prediction's worth",
                do="Train on EEG from there, or accept it with --accept-domain-shift; every"
                " message is then flagged",
            )
        flags.append("domain_shift")
    if spec.training.semi_synthetic:
        flags.append("semi_synthetic")
    if spec.calibrations:
        flags.append(f"calibrated_{spec.calibrations[-1].by}")
    return tuple(flags)


def check_pace(spec: CheckpointSpec, *, hop: float | None, tr: float | None = None) -> None:
    """Refuse to answer more often than samples come.

    Raises
    ------
    ConfigError
        If hop or TR, in seconds, is shorter than a sample of the EEG.
    """
    sample = 1 / spec.chain.sfreq
    for option, seconds in (("--hop", hop), ("--tr", tr)):
        if seconds is not None and seconds < sample * (1 - 1e-9):
            raise ConfigError(
                f"{option} {seconds:g} is shorter than a sample",
                found=f"The checkpoint's EEG has one each {1000 * sample:.3g} ms",
                do=f"Lengthen {option}: nothing changes in between",
            )


def other_tr(spec: CheckpointSpec, tr: float) -> str:
    """Return why a model that is bound to a TR does not go with this one; empty if it does."""
    bound = spec.model.bound_to_tr
    if bound is None or abs(tr / bound - 1) <= SAME_TR:
        return ""
    return f"'{spec.model.name}' is bound to a TR of {bound:g} s, and this run has {tr:g} s"
