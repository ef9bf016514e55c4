"""What `prepare` is asked to make of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from offline.alignment.alignment_config import AlignmentConfig
from offline.bold import BoldConfig, ROIConfig, VolumesConfig
from offline.datasets.layout import LayoutConfig
from offline.eeg.clean_eeg import EEGConfig
from offline.splits.split import SplitConfig
from rtfeedback.chain import ChainConfig
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.checkpoint import Environment
from rtfeedback.config import Config


class DatasetConfig(Config):
    """Another dataset in the same store; what it does not say is as for the first."""

    name: str = Field(pattern=r"[A-Za-z0-9]+")
    """Which its runs' and subjects' names begin with."""
    path: Path
    """Its folder, relative to the first one's."""
    task: str | None = None
    layout: LayoutConfig | None = None
    alignment: AlignmentConfig | None = None
    eeg: EEGConfig | None = None
    upstream: str | None = None


class PrepareConfig(Config):
    """What `prepare` makes of a dataset."""

    task: str | None = None
    """Only this task; all of them without."""
    channels: tuple[str, ...] = ()
    """EEG channels of the model; all that every run has, without."""
    layout: LayoutConfig = LayoutConfig()
    """Where the files of a run are."""
    alignment: AlignmentConfig = AlignmentConfig()
    """How the BOLD's volumes are found in the EEG."""
    eeg: EEGConfig = EEGConfig()
    """What is done to a run's EEG before the chain."""
    chains: dict[str, ChainConfig] = Field(
        default={
            "samples": ChainConfig(),
            "tokens": ChainConfig(band_power=BandPowerConfig()),
        },
        min_length=1,
    )
    """The chains that models may be fed by, each under its name."""
    bold: BoldConfig = BoldConfig()
    """What is done to a BOLD image before it is a target."""
    targets: tuple[ROIConfig, ...] = Field(default=(ROIConfig(),), min_length=1)
    """The regions to be predicted."""
    volumes: VolumesConfig | None = None
    """Whole volumes, or components of them, to be predicted as well."""
    split: SplitConfig = SplitConfig()
    """What is for training: what is fitted here is fitted on that alone, so it has to be
    the recipe's, or `train` refuses."""
    slice_ref: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the TR after a volume's onset to which its slices were timed."""
    environment: Environment = "scanner"
    """Where the EEG was recorded: `scanner` or `outside`."""
    upstream: str = ""
    """What was done to the EEG before, such as gradient and pulse correction."""
    datasets: tuple[DatasetConfig, ...] = ()
    """More datasets for the same store, of other caps, rates and TRs: the channels are
    those that all have, `[eeg] rate` is one that all can be brought to."""

    @model_validator(mode="after")
    def _names_differ(self) -> PrepareConfig:
        for what, names in (
            ("target", [roi.name for roi in self.targets]),
            ("dataset", [dataset.name for dataset in self.datasets]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"Each {what} needs a name of its own, not {', '.join(names)}")
        return self

    def of_dataset(self, dataset: DatasetConfig) -> PrepareConfig:
        """Return the settings that go for one of `datasets`."""
        own = ("task", "layout", "alignment", "eeg", "upstream")
        stated: dict[str, Any] = {
            key: value for key in own if (value := getattr(dataset, key)) is not None
        }
        return self.model_copy(update=stated)
