"""What is made of one run's BOLD: courses of targets, what goes along, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offline.bold.quality import Quality, draw_quality
from rtfeedback.models.volume import VolumeSpec
from rtfeedback.signals import Float32, Float64


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What a target is.

    Attributes
    ----------
    name, unit, definition : str
    causal : bool
        Whether each of its values comes of no later volume.
    """

    name: str
    unit: str
    definition: str
    causal: bool


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """What whole volumes are.

    Attributes
    ----------
    spec : VolumeSpec
    regions : tuple of str
        The targets that are regions of them.
    """

    spec: VolumeSpec
    regions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunTargets:
    """What was made of one run.

    Attributes
    ----------
    name : str
        The run's.
    targets : tuple of TargetInfo
    courses : float64, shape (n_volumes, n_targets)
        NaN where a volume is scrubbed, or nothing causal can be said yet: no example.
    arrays : dict of str to array
        `motion`, shape (n_volumes, 6), and `global_signal`, shape (n_volumes,), where known;
        `volumes`, float32, shape (n_volumes, n_voxels), where asked for and not written.
    files : tuple of Path
        Arrays that were written already.
    quality : Quality or None
        None where there is no image.
    notes : tuple of str
        What is to be known of the run, a sentence each.
    """

    name: str
    targets: tuple[TargetInfo, ...]
    courses: Float64
    arrays: dict[str, Float32 | Float64]
    files: tuple[Path, ...]
    quality: Quality | None
    notes: tuple[str, ...]

    def draw(self, path: Path) -> None:
        """Save a figure of the run's quality and targets, where there was an image.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        if self.quality:
            names = tuple(target.name for target in self.targets)
            draw_quality(path, self.name, self.quality, self.courses, names)
