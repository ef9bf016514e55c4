"""BOLD to targets: images read and cleaned, regions and volumes, scaled and judged.

    image -> smoothed, resampled -> region, localizer or whole volume -> raw course
    -> scaled -> drift, confounds and scrubbed volumes out -> target

What is fitted (`TargetMaker.fit`) is fitted on the training part alone.
"""

from offline.bold.images import read_bold
from offline.bold.rois import ROIConfig
from offline.bold.run_targets import RunTargets, TargetInfo
from offline.bold.runs import BoldRun
from offline.bold.settings import BoldConfig
from offline.bold.target_maker import TargetMaker
from offline.bold.volumes import VolumesConfig

__all__ = [
    "BoldConfig",
    "BoldRun",
    "ROIConfig",
    "RunTargets",
    "TargetInfo",
    "TargetMaker",
    "VolumesConfig",
    "read_bold",
]
