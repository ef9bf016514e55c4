"""What is done to a BOLD image before it is a target: `[bold]` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rtfeedback.config import Config

Scaling = Literal["percent", "zscore", "time_course", "none"]

NOT_DONE = (
    "Motion and slice-time correction, and registration to a template, are expected upstream:"
    " none of them is done here"
)


class BoldConfig(Config):
    """What is done to a BOLD image before it is a target."""

    smoothing: Annotated[float, Field(ge=0)] = 0.0
    """FWHM in millimetres of a Gaussian over space; 0 for none."""
    resample: Annotated[float, Field(gt=0)] | tuple[int, int, int] | None = None
    """Resolution in millimetres, or shape in voxels, that every image is laid on first."""
    detrend: bool = False
    """Take mean and linear trend out of every course, besides `high_pass`."""
    high_pass: Annotated[float, Field(ge=0)] = 128.0
    """Period in seconds, not hertz: slower drift is taken out of the targets; 0 for none."""
    confounds: tuple[str, ...] = ()
    """Columns of the confounds' table that are regressed out, `*` standing for anything, or
    groups: `motion6`, `motion24`, `global_signal`, `acompcor`."""
    scrub: Annotated[float, Field(ge=0)] = 0.0
    """Framewise displacement in millimetres (Power et al. 2012) beyond which a volume is no
    target; 0 for none. The paper has 0.5."""
    scrub_around: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = (0, 0)
    """Volumes left out before and after such a one as well; the paper has 1 and 2."""
    scaling: Scaling = "percent"
    """`percent` signal change of the run's mean; `zscore`, that by mean and sd of the
    training part; `time_course`, the share by which a value exceeds the median over the
    subject's training runs; `none`."""
    causal: bool = False
    """Scale and clean each volume by those up to it alone, as in the lab: running
    statistics, of the run so far."""
    settle: Annotated[float, Field(ge=0)] = 30.0
    """Seconds at a run's start without targets, where they are causal."""
    done: str = ""
    """What was done to the images before, in words, for the record."""

    @model_validator(mode="after")
    def _goes_together(self) -> BoldConfig:
        if 0 < self.high_pass < 20:
            raise ValueError("'high_pass' is a period in seconds: 20 or more, or 0 for none")
        if isinstance(self.resample, tuple) and min(self.resample) < 1:
            raise ValueError("'resample' is a shape of three numbers from 1 on, or millimetres")
        if self.causal and self.scrub_around[0]:
            raise ValueError(
                "What is causal cannot know that a movement is to come: 'scrub_around' is"
                " [0, n] with 'causal'"
            )
        return self
