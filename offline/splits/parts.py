"""Which windows belong to which part of a split, and which seconds may be fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offline.splits.blocks import BESIDE, Blocks, Interval, Part, scattered
from rtfeedback.checkpoint import SplitKind
from rtfeedback.errors import ConfigError
from rtfeedback.signals import Bool, Float64, Int64
from rtfeedback.windows import WindowSpec

SHUFFLED = (
    "Shuffled: training and test windows share EEG and BOLD. What it scores is what it"
    " remembers; it is no claim of skill."
)


@dataclass(frozen=True, slots=True)
class Split:
    """What each run is for, each part in order of subject and recording.

    Attributes
    ----------
    train, validation, test : tuple of str
        Names of runs. None is in two of them, but where runs are cut.
    notes : tuple of str
        Sentences a report has to print: what the rule could not give.
    kind : SplitKind
    inside : tuple of Part
        Where runs are cut, what each of their blocks, or each fold of volumes, is for.
    reach : float
        Longest window and lead, in seconds, that a cut leaves room for.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    notes: tuple[str, ...] = ()
    kind: SplitKind = "run"
    inside: tuple[Part, ...] = ()
    reach: float = 0.0

    def __post_init__(self) -> None:
        names = self.train + self.validation + self.test
        if not self.cuts and len(set(names)) != len(names):
            raise ValueError("a run is in two parts of a split")

    @property
    def cuts(self) -> bool:
        """Whether runs are cut, so that each of them has windows of every part."""
        return bool(self.inside)

    def holds(
        self,
        part: Part,
        name: str,
        *,
        volumes: Int64,
        times: Float64,
        n_volumes: int,
        scanned: Interval,
        window: WindowSpec,
    ) -> Bool:
        """Tell which windows of a run belong to a part.

        Parameters
        ----------
        part : Part
        name : str
            The run's.
        volumes : int64, shape (n,)
            That the windows predict.
        times : float64, shape (n,)
            When those are, in seconds of the recording.
        n_volumes : int
            Of the whole run.
        scanned : tuple of float
            First volume's begin and last volume's end, in the same seconds.
        window : WindowSpec

        Returns
        -------
        bool, shape (n,)

        Raises
        ------
        ConfigError
            If a window reaches further back than the blocks' gaps leave room for.
        """
        if not self.cuts:
            return np.full(len(volumes), name in getattr(self, part))
        if self.kind == "shuffled":
            folds = scattered(name, n_volumes, len(self.inside))
            own = np.array([each == part for each in self.inside])
            return np.asarray(own[folds[volumes]])
        reach = window.length + window.lead
        if reach > self.reach:
            raise ConfigError(
                "The model's window reaches further back than the split leaves room for",
                found=f"{reach:g} s of window and lead, and [split] reach is {self.reach:g} s",
                do="Raise [split] reach and prepare again with it, or shorten the window",
            )
        return Blocks(self.inside).holds(part, times, scanned, reach + BESIDE)

    def training_intervals(
        self, name: str, duration: float, scanned: Interval | None = None
    ) -> tuple[Interval, ...]:
        """Return the seconds of a run that something may be fitted on.

        Parameters
        ----------
        name : str
            The run's.
        duration : float
            Of its recording, in seconds.
        scanned : tuple of float, optional
            First volume's begin and last volume's end; the whole recording without.

        Returns
        -------
        tuple of (float, float)
            All of a run where runs are held out whole, and where volumes are shuffled.
        """
        if name not in self.train:
            return ()
        if self.kind != "block":
            return ((0.0, duration),)
        found = Blocks(self.inside).intervals(
            "train", scanned or (0.0, duration), self.reach + BESIDE
        )
        cut = ((max(0.0, begin), min(duration, end)) for begin, end in found)
        return tuple((begin, end) for begin, end in cut if begin < end)


def scanned(onsets: Float64, tr: float) -> Interval:
    """Return when the first volume begins and the last one ends, of those with an onset."""
    known = onsets[np.isfinite(onsets)]
    return (float(known.min()), float(known.max()) + tr) if len(known) else (0.0, 0.0)
